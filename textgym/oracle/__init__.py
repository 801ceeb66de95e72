"""Exact answers on small tasks: optimal, soft-optimal and given policies, and what best-of-n does.

solution = textgym.oracle.solve(textgym.micro("bigram", vocab_size=3, horizon=4), beta=0.5)
solution.value, solution.optimal_text, solution.kl, solution.regret(policy), solution.draw()
"""

from textgym.oracle.best_of_n import BestOfN
from textgym.oracle.keeping import Verdict, keeps_optimum
from textgym.oracle.policies import Policy, Prefixes, conditioned, language_model, tabular, uniform
from textgym.oracle.prefixes import PrefixTree
from textgym.oracle.size import LIMIT
from textgym.oracle.solution import Evaluation, SoftSolution, Solution
from textgym.oracle.solve import solve

__all__ = [
    "LIMIT",
    "BestOfN",
    "Evaluation",
    "Policy",
    "PrefixTree",
    "Prefixes",
    "SoftSolution",
    "Solution",
    "Verdict",
    "conditioned",
    "keeps_optimum",
    "language_model",
    "solve",
    "tabular",
    "uniform",
]
