"""Speed and memory: PPO end to end beside the obvious way and TRL, and where the time goes.

    python -m textgym.benchmarks.speed --out speed.jsonl            # measures; goes on where an earlier run stopped
    python -m textgym.benchmarks.speed --out speed.jsonl --only race --quick
    python -m textgym.benchmarks.speed --show speed.jsonl           # tables and speed.png, from the saved rows alone

All sides of a comparison take turns in one process, so that ratios hold on a machine whose speed drifts; quote
medians. Run it on an idle machine: each row holds the load average that it was measured under. All of it takes about
half an hour on two cores, and 12 GiB of memory. TRL comes with `pip install 'textgym[peers]'` and is left out without.

Experiments:
    race: PPO of 64 rows at setting A beside the obvious way, TRL's GRPOTrainer, and the rate of matrix products.
    agents: every agent that learns while it writes, at setting A, and GRPO beside TRL's.
    lengths: the ratio to the obvious way, and our cost a token, at completions of 32 to 256 tokens.
    environment: environments alone.
    reward: what the default reward adds to a rollout.
    memory: one PPO update at V = 50,257, and rollouts of growing length, each in a process of its own.
    profile: where the time goes.
    gpu: the shape of GPT-2 (124 M) in bfloat16, where there is a CUDA device.

Arithmetic. A weight that multiplies costs 2 FLOP a position forward and 4 backward, so with N such weights a token
costs 2N in the rollout and 4 epochs x (2N + 4N) = 24N in training, together 26N. Prompt positions pass through the
network too: a completion of T tokens behind a prompt of P takes P + T - 1 positions. N counts the matrices of the
blocks and the tied output head, neither embeddings that are looked up nor biases nor norms; attention itself is left
out. The share of the limit is 26N (P + T - 1) / T FLOP a token times tokens a second over FLOP a second of matrix
products, measured in the same process: once at the best of the shapes that the network uses, once at a large square.
"""
