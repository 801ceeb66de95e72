"""Before hours are spent: does every reward fit the task, and does every agent take its settings?"""

import json
import logging
from collections.abc import Sequence
from dataclasses import replace

from textgym.benchmarks.rewards.design import Design
from textgym.benchmarks.rewards.designs import bound, fitting
from textgym.benchmarks.rewards.ground import opened
from textgym.benchmarks.rewards.job import USES, Job
from textgym.benchmarks.rewards.making import data_folder
from textgym.benchmarks.rewards.plan import Plan, jobs
from textgym.benchmarks.rewards.training import config_of

from textgym.envs.tasks import task_names
from textgym.errors import DesignError, TaskError, TextGymError
from textgym.models.folder import peek
from textgym.runs.agents import agent_builder, check_agent

PAID = ("training", "best_of_n")
"""Kinds of jobs that have a reward."""

KNOWN = {"start", "pool"}
"""What a job may build on so that its task and its reward are known beforehand."""

_log = logging.getLogger("textgym")


def prepared(
    plan: Plan, designs: Sequence[Design], *, chosen: bool, experiments_chosen: bool
) -> tuple[Plan, list[Design]]:
    """A plan and designs that can be carried out: what nobody chose and does not fit the task is left out.

    Args:
        plan: how much is measured.
        designs: of which rewards.
        chosen: whether somebody asked for these designs; then one that does not fit is an error.
        experiments_chosen: the same of the plan's experiments.

    Raises:
        TextGymError: no such task, model or agent; something chosen that does not fit the task; or settings that an
            agent does not take. The message names the design.
    """
    agent_builder(plan.agent)
    _check_model(plan)
    found = list(designs) if chosen else fitting(designs, opened(plan.task, "", plan.model))
    check(replace(plan, experiments=("designs",)), found)
    if experiments_chosen:
        check(plan, found)
        return plan, found
    return replace(plan, experiments=tuple(name for name in plan.experiments if _fits(plan, found, name))), found


def _check_model(plan: Plan) -> None:
    its_task = peek(plan.model)["metadata"].get("task")
    if its_task not in (None, plan.task) and plan.task in task_names():
        raise TaskError(
            f"model {plan.model} knows the words of task {its_task}, not of {plan.task}: make one by textgym pretrain "
            f"--task {plan.task} --out DIR, and begin with it, --model DIR"
        )


def check(plan: Plan, designs: Sequence[Design]) -> None:
    """Makes sure that the jobs of a plan can be done.

    Raises:
        TextGymError: as `prepared`, whatever was chosen.
    """
    known: set[str] = set()
    for job in jobs(plan, designs):
        if (about := _depends_on(job)) not in known:
            known.add(about)
            try:
                _check_job(job)
            except DesignError:
                raise
            except TextGymError as error:
                what = "design" if job["kind"] in PAID else "what others build on,"
                raise DesignError(f"{what} {job['design']!r}: {error}") from error


def _check_job(job: Job) -> None:
    if job.get("makes") == "texts":
        data_folder()
    reward = job["gold"] if job.get("makes") == "pairs" else job["reward"] if job["kind"] in PAID else None
    if reward is not None and KNOWN.issuperset(job.get(USES, {})):
        bound(Design(job["design"], reward), opened(job["task"], "", job["model"]))
    if job["kind"] == "training":
        check_agent(config_of(job))


def _depends_on(job: Job) -> str:
    """What decides whether a job can be done."""
    names = ("kind", "makes", "reward", "agent", "settings", "kl_in", "constraint")
    return json.dumps([sorted(job.get(USES, {})), *(job.get(name) for name in names)])


def _fits(plan: Plan, designs: Sequence[Design], experiment: str) -> bool:
    try:
        check(replace(plan, experiments=(experiment,)), designs)
    except TextGymError as error:
        _log.info("left out: experiment %s. %s", experiment, error)
        return False
    return True
