"""Who notices that a reward is broken? Planted faults and sound rewards, and what each detector says of them.

python -m textgym.benchmarks.detectors --out detectors.jsonl
"""
