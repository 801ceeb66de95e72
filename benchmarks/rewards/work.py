"""Does a job: what its row holds. A function of the job alone, called in a process of its own.

What jobs leave for others (language models, pools) lies beside the rows, in `made/KEY`, and is made again where it is
gone.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from textgym.benchmarks.rewards.columns import batch_of, columns, places_of, written
from textgym.benchmarks.rewards.pinned import pinned
from textgym.benchmarks.rewards.plan import Job
from textgym.benchmarks.rewards.pool import best, pool_folder
from textgym.benchmarks.rewards.training import learned
from textgym.benchmarks.rewards.writers import Writer, fitted, language_model, task_of, writings

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


def _reference(job: Job, folder: Path) -> Found:
    """What runs begin as."""
    network = language_model(job, folder)
    return writings(Writer(network, network), job, None)


def _corpus(job: Job, folder: Path) -> Found:
    """The texts that the task itself has for the held-out prompts; nothing where it has none."""
    task = task_of(job)
    places = places_of(task, job["prompts"])
    if not all(task.heldout.references(place, task.tokenizer) for place in places):
        return _found()
    ids = [task.heldout.reference(place) for place in places]
    values = columns(task, job["model"], batch_of(task, places, ids))
    shown = [pinned(task, place, ids[i], "corpus", None) for i, place in enumerate(places[: job["pinned"]])]
    return _found({"tokens": 0, "way": "sampled", "final": True, "values": written(values)}, texts=shown)


def _fit(job: Job, folder: Path) -> Found:
    """A language model, or a pool of texts."""
    made = pool_folder(job, folder) if "pool" in job else fitted(job, folder)
    return _found(facts={"made": made.name})


def _found(*evaluations: Found, texts: list[Found] | None = None, facts: Found | None = None) -> Found:
    return {"evaluations": [*evaluations], "curve": [], "texts": texts or [], "facts": facts or {}}


KINDS: Mapping[str, Callable[[Job, Path], Found]] = {
    "reference": _reference,
    "corpus": _corpus,
    "fit": _fit,
    "best_of_n": best,
    "training": learned,
}
"""By the kind of a job."""
