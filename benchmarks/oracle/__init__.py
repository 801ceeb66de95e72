"""Agents beside exact answers: are their gradients right, do they reach the optimum, whom do they credit?

Everything on micro worlds, which `textgym.oracle` enumerates. Three experiments:

- `estimators`: the mean of each gradient estimator over many rollouts, beside the exact policy gradient;
- `regret`: what each agent is worth after so many tokens, beside the best policy and the uniform one;
- `credit`: the advantages that each agent computes, beside the exact ones.

    python -m textgym.benchmarks.oracle regret --out proved.jsonl
    python -m textgym.benchmarks.oracle --show proved.jsonl
"""
