"""Speed: tokens a second of PPO end to end, against the obvious way to put a Transformer into Stable-Baselines3.

Run it as `python -m textgym.benchmarks.speed --out rows.jsonl`. The two sides take turns in one process, so that the
ratio holds on a machine whose speed drifts; quote medians.
"""
