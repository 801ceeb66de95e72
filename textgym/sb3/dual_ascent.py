"""`DualAscent`: finds the price of each constraint of a reward while an agent learns."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback

from textgym.errors import TaskError
from textgym.sb3.callbacks import COMPONENT, STDOUT_WIDTH
from textgym.sb3.defaults import attribute_of
from textgym.scorers.bound import BoundScorer
from textgym.scorers.constrained import Multiplier, multipliers
from textgym.types import Scores

PREFIX = "lagrangian/"
"""Begins the names under which it logs."""


class DualAscent(BaseCallback):
    """Moves the multiplier of each `lagrangian` term of the reward, once a rollout, by the episodes that ended in it.

    Logs, for each term, the multiplier that the rollout was paid with (`lagrangian/<constraint>`) and the constraint's
    mean (`lagrangian/<constraint> mean`). Give it before `RewardLog`, whose rows then hold both. The multipliers belong
    to the environment: a `TrainingCheckpoint` saves them with it.

    Args:
        verbose: as in Stable-Baselines3.

    Raises:
        TaskError: when training begins, where the reward has no such term, or the environment is in another process.
    """

    def __init__(self, verbose: int = 0) -> None:
        super().__init__(verbose)
        self._bounds: list[BoundScorer] = []
        self._ends: list[Mapping[str, Any]] = []

    def _on_training_start(self) -> None:
        self._ends, self._bounds = [], bound_rewards(self.training_env)
        if not any(map(multipliers, self._bounds)):
            raise TaskError("DualAscent: the reward has no lagrangian(constraint, target=...) whose price could move")
        if any(one is not other for one, other in zip(self._bounds, bound_rewards(self.training_env), strict=True)):
            raise TaskError(
                "DualAscent: the environment is in another process, where its multipliers cannot be reached: make it "
                "with make_sb3_env(...), or DummyVecEnv"
            )
        for bound in self._bounds:
            for multiplier in multipliers(bound).values():
                multiplier.steered = True

    def _on_step(self) -> bool:
        infos = self.locals["infos"]
        self._ends += [infos[row] for row in np.flatnonzero(self.locals["dones"]).tolist()]
        return True

    def _on_rollout_end(self) -> None:
        means = {name: self._mean(one) for name, one in multipliers(self._bounds[0]).items()}
        self._ends = []
        for bound in self._bounds:
            for name, multiplier in multipliers(bound).items():
                if bound is self._bounds[0]:
                    self._log(multiplier, means[name])
                mean = means[name]
                if mean is not None:
                    multiplier.ascend(mean)

    def _mean(self, multiplier: Multiplier) -> float | None:
        """The constraint's mean over the episodes that ended, from what they say of its leaves; None without any."""
        bound, ends = self._bounds[0], [end for end in self._ends if any(key.startswith(COMPONENT) for key in end)]
        columns = {name: np.array([end[COMPONENT + name] for end in ends], np.float64) for name in bound.leaves}
        scores = {name: Scores(np.nan_to_num(column), ~np.isnan(column)) for name, column in columns.items()}
        found = bound.evaluate(multiplier.node.of, scores, len(ends))
        values = found.values[found.valid]
        return float(values.mean()) if len(values) else None

    def _log(self, multiplier: Multiplier, mean: float | None) -> None:
        name = f"{PREFIX}{multiplier.node.of}"
        figures = {name: multiplier.value} | ({} if mean is None else {f"{name} mean": mean})
        for key, value in figures.items():
            self.logger.record(key, value, exclude="stdout" if len(key) > STDOUT_WIDTH else None)


def bound_rewards(env: Any) -> list[BoundScorer]:
    """The distinct bound rewards of an environment's rows: one of a native vector environment, else one a row."""
    if attribute_of(env, "reward", None) is None:
        return []
    return list({id(reward): reward.bound for reward in env.get_attr("reward")}.values())
