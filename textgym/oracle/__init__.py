"""Exact answers on small tasks: optimal, soft-optimal and given policies, and what best-of-n does."""
