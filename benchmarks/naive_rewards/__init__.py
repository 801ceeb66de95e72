"""What each naive reward does to stories, by best-of-n: the truth of the texts that a reward likes best.

One pool of n completions for each held-out brief, sampled from a maximum-likelihood model, is shared by all rewards;
each picks its favourite. The truth of the favourites stands beside that of the whole pool, of the model's greedy
stories, of the corpus and of clean stories. Best-of-n moves at most log n - (n - 1) / n nats away from the model
(3.2 for n = 64): what a reward does to a trained policy, it does here in small.

    python -m textgym.benchmarks.naive_rewards --out naive.jsonl
"""
