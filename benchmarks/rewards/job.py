"""Jobs: JSON-able, each found again by its hash, and each with all that its result depends on."""

from collections.abc import Mapping
from typing import Any

from textgym.reports.results import job_key
from textgym.runs.config import versions

Job = dict[str, Any]

USES = "uses"
"""Of a job, by name, the jobs whose work it builds on: they are done before it, and part of what it is."""

SHARED = ("start", "corpus")
"""Those of them that say which language model completes which prompts."""


def key_of(job: Job) -> str:
    """What a job's row is found again by."""
    return job_key(job, versions())


def a_job(kind: str, experiment: str, design: str, on: Mapping[str, Any], **known: Any) -> Job:
    """What every job says.

    Args:
        kind: "reference", "corpus", "training", "best_of_n" or "fit".
        experiment: that it belongs to.
        design: what tables call it.
        on: what it stands on: task, model, checkpoint, and `uses` where it builds on other jobs.
        **known: what else it depends on.
    """
    told = {"kind": kind, "experiment": experiment, "design": design, "reward": "", "variant": {}}
    return told | dict(on) | known


def making(makes: str, name: str, on: Mapping[str, Any], experiment: str = "designs", **known: Any) -> Job:
    """A job that makes what others build on; it knows nothing but what it depends on, so that many can share it.

    Args:
        makes: what, see `textgym.benchmarks.rewards.making`.
        name: what it is called.
        on: what it stands on.
        experiment: that it belongs to.
        **known: what else it depends on.
    """
    return a_job("fit", experiment, name, on, makes=makes, **known)


def pool(on: Mapping[str, Any], prompts: int, texts: int) -> Job:
    """Writes so many texts of every prompt, for best-of-n."""
    shared = {name: used for name, used in on.get(USES, {}).items() if name in SHARED}
    known = {name: on[name] for name in ("task", "model", "checkpoint")}
    return making("pool", "pool", known | ({USES: shared} if shared else {}), prompts=prompts, texts=texts)
