"""Runs a plan: its jobs side by side, each with a row at its end."""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from textgym.benchmarks.rewards.design import Design
from textgym.benchmarks.rewards.fan_out import Summary, run_jobs
from textgym.benchmarks.rewards.job import Job
from textgym.benchmarks.rewards.plan import LOOKED_AT, Plan, jobs
from textgym.benchmarks.rewards.progress import shown

from textgym.reports.results import Results

WORK = "textgym.benchmarks.rewards.work:work"

TOKENS_A_SECOND = {"ppo": 900.0}
"""That a run writes and learns from on one core of two that are busy, by agent, as measured."""

USUAL_TOKENS_A_SECOND = 1300.0
FITTED_A_SECOND = 2500.0
"""Tokens of maximum likelihood."""

TEXTS_A_SECOND = 60.0
"""That are written and read for an evaluation, or for a pool."""

OTHERS_SECONDS = 5.0
"""Of jobs that neither train nor write."""


def run(
    plan: Plan,
    designs: Sequence[Design],
    folder: Path,
    *,
    workers: int | None = None,
    ray: str | None = None,
    minutes: float | None = None,
    progress: bool = True,
) -> Summary:
    """Does what a folder does not hold yet; see `run_jobs`, which says what is raised.

    Args:
        plan: how much.
        designs: of what.
        folder: of the results.
        workers: jobs at a time.
        ray: cluster, in place of processes here.
        minutes: after which no job begins; None for no limit.
        progress: whether it is shown.
    """
    with shown() if progress else nullcontext() as tell:
        limit = float("inf") if minutes is None else minutes
        return run_jobs(
            jobs(plan, designs), Results(folder), WORK, workers=workers, ray=ray, minutes=limit, progress=tell
        )


def estimate(todo: Sequence[Job], workers: int | None = None) -> str:
    """How long jobs will take on so many cores, in words; a guess before anything was run.

    Args:
        todo: the jobs.
        workers: jobs at a time; None is as many as there are cores.
    """
    from joblib import cpu_count

    at_once = max(min(workers or cpu_count(), len(todo)), 1)
    seconds = sum(map(_seconds, todo)) / at_once
    cores = f"on {at_once} core{'' if at_once == 1 else 's'}"
    if seconds < 90 * 60:
        return f"about {max(round(seconds / 60), 1)} min {cores}"
    return f"about {seconds / 3600:.1f} h {cores}"


def _seconds(job: Job) -> float:
    if job["kind"] == "fit":
        texts = job.get("prompts", 0) * job.get("texts", 0)
        return float(job.get("tokens", 0) / FITTED_A_SECOND + texts / TEXTS_A_SECOND + OTHERS_SECONDS)
    if job["kind"] in ("best_of_n", "corpus"):
        return OTHERS_SECONDS
    looked_at = 2 * job["prompts"] + LOOKED_AT * job.get("looks", 0)
    tokens = job.get("tokens", 0) / TOKENS_A_SECOND.get(job.get("agent", ""), USUAL_TOKENS_A_SECOND)
    return float(tokens + looked_at / TEXTS_A_SECOND)
