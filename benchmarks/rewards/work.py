"""Does a job: what its row holds. A function of the job alone, called in a process of its own."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from textgym.benchmarks.rewards.best_of_n import best
from textgym.benchmarks.rewards.job import Job
from textgym.benchmarks.rewards.making import facts_of
from textgym.benchmarks.rewards.training import learned
from textgym.benchmarks.rewards.writings import corpus, reference

Found = dict[str, Any]
"""Evaluations, curve, texts, facts."""


def work(job: Job, folder: Path) -> Found:
    """What a job found out.

    Args:
        job: one of `textgym.benchmarks.rewards.plan.jobs`.
        folder: of the results.
    """
    begun = time.perf_counter()
    found = KINDS[job["kind"]](job, Path(folder))
    return {"seconds": round(time.perf_counter() - begun, 2)} | found


def _fit(job: Job, folder: Path) -> Found:
    """Something for others to build on."""
    return {"evaluations": [], "curve": [], "texts": [], "facts": facts_of(job, folder)}


KINDS: Mapping[str, Callable[[Job, Path], Found]] = {
    "reference": reference,
    "corpus": corpus,
    "fit": _fit,
    "best_of_n": best,
    "training": learned,
}
"""By the kind of a job."""
