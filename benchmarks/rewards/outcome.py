"""What comes of a job: what it found out, a failure, or nothing, because its worker died."""

import sys
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from textgym.errors import TaskError, TextGymError
from textgym.reports.results import Row, to_json

Job = Mapping[str, Any]

LIBRARIES = ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "RAYON")
ONE_THREAD = {
    **{f"{library}_NUM_THREADS": "1" for library in LIBRARIES},
    "VECLIB_MAXIMUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
"""Environment of a worker: libraries read it when they are loaded, so it must be set before."""

LONGEST_FAILURE = 2000
"""Characters of a message that a row keeps."""


@dataclass(frozen=True)
class Ended:
    """A job that runs no longer.

    Attributes:
        slot: where it ran.
        found: what it found out; None where it did not.
        failure: what it raised.
        lost: how its worker died, which says nothing about the job.
    """

    slot: int
    found: Row | None = None
    failure: str = ""
    lost: str = ""


class Workers(Protocol):
    """Where jobs run."""

    @property
    def slots(self) -> int:
        """How many may run at once, numbered from 0."""

    def start(self, slot: int, job: Job) -> None:
        """Begins a job in a slot that is free."""

    def wait(self, seconds: float) -> list[Ended]:
        """Those that have ended, as soon as there is one, or none after so long."""

    def stop(self) -> None:
        """Ends whatever runs, at once."""


def perform(work: str, job: Job, folder: Path) -> bytes:
    """Does a job, in the process of a worker.

    Args:
        work: "module:function"; called with job and folder, it returns what a row is to hold.
        job: JSON-able values by name.
        folder: of the results.

    Returns:
        JSON: {"found": row} or {"failure": message}. The traceback of a failure goes to stderr.
    """
    begun = time.perf_counter()
    try:
        module, _, name = work.partition(":")
        found = getattr(import_module(module), name)(job, folder)
        return to_json({"found": {"seconds": round(time.perf_counter() - begun, 3), **found}}, "what a job found out")
    except Exception as error:  # one job that fails is a row; the others go on
        sys.stderr.write(f"{label(job)}:\n{traceback.format_exc()}\n")  # at once: other workers write there too
        message = str(error) if isinstance(error, TextGymError) else f"{type(error).__name__}: {error}"
        return to_json({"failure": message[:LONGEST_FAILURE] or type(error).__name__}, "a failure")


def check_name(work: str) -> None:
    """Raises TaskError where a function is not named as "module:function"."""
    module, _, name = work.partition(":")
    if not (name.isidentifier() and all(part.isidentifier() for part in module.split("."))):
        raise TaskError(f"work {work!r}: name a function that workers can import, as module:function")


def label(job: Job) -> str:
    """What messages call a job: its kind or design, what is varied, checkpoint and seed."""
    kind = job.get("kind", "training")
    parts = [str(job.get("design", "")), "" if kind in ("training", job.get("design")) else str(kind).replace("_", " ")]
    parts += [f"{name} {value}" for name, value in dict(job.get("variant", {})).items()]
    parts += [f"{name} {job[name]}" for name in ("checkpoint", "seed") if name in job]
    return ", ".join(filter(None, parts))
