"""Does a job: what it found out, as a row. A function of the job alone, called in a process of its own.

What jobs leave for others (language models, pools) lies beside the rows, in `made/KEY`.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from textgym.benchmarks.rewards.columns import batch_of, columns, places_of, written
from textgym.benchmarks.rewards.pinned import pinned
from textgym.benchmarks.rewards.plan import Job, key_of
from textgym.benchmarks.rewards.pool import best, fill
from textgym.benchmarks.rewards.training import learned
from textgym.benchmarks.rewards.writers import Writer, language_model, pretrain, task_of, writings

from textgym.reports.results import AFTER, FORMAT, Row
from textgym.runs.config import versions


def work(job: Job, folder: Path) -> Row:
    """The row of a job.

    Args:
        job: one of `textgym.benchmarks.rewards.plan.jobs`.
        folder: of the results.
    """
    begun = time.perf_counter()
    found = KINDS[job["kind"]](job, Path(folder))
    told = {name: value for name, value in job.items() if name != AFTER}
    row = {"format": FORMAT, "key": key_of(job), "job": told, "versions": versions()}
    return row | {"seconds": round(time.perf_counter() - begun, 2)} | found


def _reference(job: Job, folder: Path) -> dict[str, Any]:
    """What runs begin as."""
    network = language_model(job, folder)
    return writings(Writer(network, network), job, None)


def _corpus(job: Job, folder: Path) -> dict[str, Any]:
    """The texts that the task itself has for the held-out prompts; nothing where it has none."""
    task = task_of(job)
    places = places_of(task, job["prompts"])
    texts = [task.heldout.references(place, task.tokenizer) for place in places]
    if not all(texts):
        return {"evaluations": [], "texts": []}
    ids = [task.heldout.reference(place) for place in places]
    values = columns(task, job["model"], batch_of(task, places, ids))
    shown = [pinned(task, place, ids[i], "corpus", None) for i, place in enumerate(places[: job["pinned"]])]
    evaluation = {"tokens": 0, "way": "sampled", "final": True, "values": written(values)}
    return {"evaluations": [evaluation], "curve": [], "texts": shown, "facts": {}}


def _fit(job: Job, folder: Path) -> dict[str, Any]:
    """A language model, or a pool of texts."""
    made = folder / "made" / key_of(job)
    facts = fill(job, folder, made) if "pool" in job else pretrain(job, made)
    return {"evaluations": [], "curve": [], "texts": [], "facts": facts}


def _best_of_n(job: Job, folder: Path) -> dict[str, Any]:
    """The best of n by a reward."""
    return best(job, folder)


def _training(job: Job, folder: Path) -> dict[str, Any]:
    """A run."""
    return learned(job, folder)


KINDS: Mapping[str, Callable[[Job, Path], dict[str, Any]]] = {
    "reference": _reference,
    "corpus": _corpus,
    "fit": _fit,
    "best_of_n": _best_of_n,
    "training": _training,
}
"""By the kind of a job."""
