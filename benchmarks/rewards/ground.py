"""What a job stands on: its task, the language model that it begins as, what is paid, and what is true.

What other jobs have made for it (`uses`) lies beside the rows, in `made/KEY`; where that is gone, it is made again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from textgym.benchmarks.rewards.job import USES, Job
from textgym.benchmarks.rewards.making import TEXTS, made

from textgym.envs.tasks import Task
from textgym.models.causal_network import CausalNetwork
from textgym.models.checkpoint import load_checkpoint
from textgym.runs.config import TrainConfig
from textgym.runs.train import open_task
from textgym.scorers.parameters import show
from textgym.scorers.reward import Reward, bind_reward


@dataclass(frozen=True, eq=False)
class Ground:
    """What a job stands on.

    Attributes:
        task: whose prompts are completed.
        start: checkpoint that the job begins as, by folder or name.
        judge: language model of the columns that ask for one.
        reward: expression of what is paid; empty for nothing.
        paid: the same, bound; None for nothing.
        gold: what is true of texts of a task whose own world does not say it, by axis.
    """

    task: Task
    start: str
    judge: str
    reward: str
    paid: Reward | None
    gold: Mapping[str, Reward]

    def network(self) -> CausalNetwork:
        """The language model that the job begins as."""
        return load_checkpoint(self.start).model.eval()


def ground_of(job: Job, folder: Path) -> Ground:
    """What a job stands on, in a folder of results."""
    paths = {name: made(other, folder) for name, other in job.get(USES, {}).items()}
    start = str(paths.get("start", job["model"]))
    task = opened(job["task"], str(paths["corpus"] / TEXTS) if "corpus" in paths else "", start)
    reward = _filled(job["reward"], paths)
    pays = job["kind"] in ("training", "best_of_n")
    gold = {axis: bind_reward(_filled(text, paths), task.context) for axis, text in job.get("gold", {}).items()}
    paid = bind_reward(reward or task.reward, task.context) if pays else None
    return Ground(task, start, job["model"] or start, reward, paid, gold)


@lru_cache(maxsize=4)
def opened(name: str, corpus: str, start: str) -> Task:
    """A task, with the tokenizer of the model that is to complete its prompts."""
    if corpus:
        return open_task(TrainConfig(corpus=corpus, model=start), None)
    return open_task(TrainConfig(task=name, model=start), None)


def _filled(expression: str, paths: Mapping[str, Path]) -> str:
    """An expression with the folders of what was learned: `preference({learned})`."""
    for name, path in paths.items():
        expression = expression.replace(f"{{{name}}}", show(str(path)))
    return expression
