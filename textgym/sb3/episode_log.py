"""`EpisodeLog`: the texts that a policy wrote while it was trained, so that another reward can be tried on them."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback

from textgym.errors import TaskError
from textgym.sb3.callbacks import COMPONENT, append_lines, batch_of
from textgym.sb3.defaults import attribute_of


class EpisodeLog(BaseCallback):
    """Appends the episodes that ended in a rollout to a JSON Lines file, whole rows or none.

    A row is {"prompt", "completion", "reward", "components", "finish_reason", "phase": "train", "step"}, as
    `textgym rescore` and `textgym.text.rollouts` read them. The reward is the return that the environment paid, which
    needs a Monitor (`make_sb3_env` has one); without one it is null.

    Args:
        path: the file; made if absent, gone on with if there.
        every: one episode of so many is written.
        verbose: as in Stable-Baselines3.

    Raises:
        TaskError: `every` below 1; or, in training, an environment without a task, or a file that cannot be written.
    """

    def __init__(self, path: str | Path, *, every: int = 1, verbose: int = 0) -> None:
        super().__init__(verbose)
        if every < 1:
            raise TaskError(f"every={every}: one episode of at least 1 is written")
        self.path, self.every = Path(path), every
        self._seen = 0
        self._ends: list[dict[str, Any]] = []

    def _on_training_start(self) -> None:
        if attribute_of(self.training_env, "task", None) is None:
            raise TaskError("EpisodeLog writes texts, and this environment has no task that could decode them")

    def _on_step(self) -> bool:
        for row in np.flatnonzero(self.locals["dones"]).tolist():
            info = self.locals["infos"][row]
            if "completion" not in info or "terminal_observation" not in info:
                continue  # an outside limit ended it
            if self._seen % self.every == 0:
                self._ends.append(info)
            self._seen += 1
        return True

    def _on_rollout_end(self) -> None:
        if not self._ends:
            return
        task = attribute_of(self.training_env, "task", None)
        batch = batch_of(self._ends, task.tokenizer)
        rows = [
            {
                "prompt": prompt,
                "completion": completion,
                "reward": _number(end["episode"]["r"]) if "episode" in end else None,
                "components": {
                    k.removeprefix(COMPONENT): _number(v) for k, v in end.items() if k.startswith(COMPONENT)
                },
                "finish_reason": end.get("finish_reason"),
                "phase": "train",
                "step": self.num_timesteps,
            }
            for prompt, completion, end in zip(batch.prompt_texts, batch.completion_texts, self._ends, strict=True)
        ]
        self._ends = []
        try:
            append_lines(self.path, "".join(json.dumps(row) + "\n" for row in rows).encode())
        except OSError as error:
            raise TaskError(f"{self.path} cannot be written: {error.strerror}") from error


def _number(value: Any) -> float | None:
    """A figure as JSON knows it: NaN as null."""
    return None if math.isnan(float(value)) else float(value)
