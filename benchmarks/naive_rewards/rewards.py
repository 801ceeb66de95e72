"""The rewards whose taste is looked at."""

REWARDS = {
    "sum of log p": "fluency(lm='{model}', form='sum')",
    "mean log p": "fluency(lm='{model}')",
    "mean log p, n-gram": "fluency",
    "adjacent cosine": "default(coherence, 0)",
    "mean surprisal": "informativeness",
    "keyword coverage": "keywords",
    "distinct-2": "distinct",
    "default reward": "",
    "gold quality": "gold.quality",
}
"""Naive rewards by what they are called, as expressions; empty is the task's own."""
