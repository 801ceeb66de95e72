"""Checkpoints of a training: written at the start of a rollout, gone on from exactly, also after `kill -9`.

    agent.learn(200_000, callback=[RewardLog("metrics.jsonl"), TrainingCheckpoint("checkpoints")])

and later, in another process, with an agent made by the same lines:

    left = resume(agent, "checkpoints", metrics="metrics.jsonl")
    agent.learn(left, callback=[...the same...], reset_num_timesteps=False)

ends with the same parameters and rows as if nothing had come between; bit for bit on one thread.

Each is one file that is written beside its place and moved there when it is whole (see `state_file`), so that whenever
the process dies, the one before is there.
"""

import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback

from textgym.errors import CheckpointError
from textgym.sb3.callbacks import cut_rows
from textgym.sb3.state_file import SUFFIX, State, read_state, remove_partial, write_state
from textgym.sb3.training_state import (
    callback_states,
    load_callback_states,
    load_log,
    load_training_state,
    require_savable,
    settings_of,
    training_state,
)

__all__ = ["TrainingCheckpoint", "remove_checkpoints", "resume", "saved_tokens"]

_log = logging.getLogger("textgym")


class TrainingCheckpoint(BaseCallback):
    """Saves the state of a training at the start of its rollouts, and at its end; `resume` goes on from there.

    Works with PPO, A2C and every other on-policy algorithm, and with DQN and QR-DQN, in an environment from
    `make_sb3_env`. The two newest files are kept. Of other callbacks, the state of those is saved that have
    `state_dict()` and `load_state_dict(state)`: it is given back when training begins, and once more when the first
    rollout does. `RewardLog` needs none if it is given its `reference`, `EvalCallback` begins anew.

    What it costs: three times the parameters, with Adam's moments, a file. Off-policy it holds the replay buffer too:
    8 L + 20 bytes a step, 4 L less with `PrefixReplayBuffer`, up to `buffer_size` steps.

    Args:
        path: a folder for nothing else; made where it is missing.
        every: rollouts from one checkpoint to the next. Off-policy, where a rollout may be a single step, it counts
            eighths of the replay buffer: so each step is written to the disk eight times at most.
        verbose: as in Stable-Baselines3.

    Raises:
        CheckpointError: when training begins, where the algorithm or environment cannot be saved whole, or `path` holds
            the checkpoints of another training; later, where a file cannot be written.
    """

    def __init__(self, path: str | Path, *, every: int = 1, verbose: int = 0) -> None:
        super().__init__(verbose)
        if every < 1:
            raise CheckpointError(f"every={every} counts rollouts and must be at least 1")
        self.path, self.every = Path(path), every
        self._rollouts = 0
        self._saved: int | None = None
        self._restored: State | None = None
        self._seconds, self._begun = 0.0, 0.0

    @property
    def seconds(self) -> float:
        """How long the training has taken, in all the processes that it went on in."""
        return self._seconds + time.perf_counter() - self._begun

    def _init_callback(self) -> None:
        require_savable(self.model)

    def _on_training_start(self) -> None:
        self._rollouts, self._saved, self._restored = 0, None, None
        self._seconds, self._begun = 0.0, time.perf_counter()
        newest, tokens = saved_tokens(self.path), self.model.num_timesteps
        if newest is not None and newest > tokens:
            raise CheckpointError(
                f"{self.path} holds a checkpoint at {newest:,} tokens, this training is at {tokens:,}: go on from it "
                "with resume(agent, path), or give another folder"
            )
        if newest == tokens and tokens > 0:  # the logger is made anew by every `learn`, so `resume` could not fill it
            saved = read_state(_file(self.path, tokens))
            load_log(self.logger, saved["state"]["log"])
            self._saved, self._seconds = tokens, saved["seconds"]
            self._restored = saved.get("callbacks", {})
            load_callback_states(self._together, self._restored)

    def _on_rollout_start(self) -> None:
        if self._restored is not None:  # again: those behind this one have begun since, those before it did so twice
            load_callback_states(self._together, self._restored)
            self._restored = None
        if self._due():
            self._save()
        self._rollouts += 1

    @property
    def _together(self) -> BaseCallback:
        """All callbacks of this training."""
        together: BaseCallback = self.locals.get("callback") or self
        return together

    def _due(self) -> bool:
        replay = getattr(self.model, "replay_buffer", None)
        if replay is None or self._saved is None:
            return self._rollouts % self.every == 0
        steps: int = replay.buffer_size * replay.n_envs
        return (self.num_timesteps - self._saved) * 8 >= self.every * steps

    def _on_step(self) -> bool:
        return True

    def _on_training_end(self) -> None:
        self._save()

    def _save(self) -> None:
        tokens = self.model.num_timesteps
        if tokens == self._saved:
            return
        state = {"settings": settings_of(self.model), "state": training_state(self.model), "seconds": self.seconds}
        state["callbacks"] = callback_states(self._together)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            _prune(self.path, keep=1)
            write_state(_file(self.path, tokens), state)
        except OSError as error:
            before = saved_tokens(self.path)
            kept = "There is none yet" if before is None else f"The one at {before:,} tokens is whole"
            raise CheckpointError(
                f"the checkpoint at {tokens:,} tokens cannot be written in {self.path}: {error.strerror}. {kept}"
            ) from error
        self._saved = tokens


def resume(agent: BaseAlgorithm, path: str | Path, *, metrics: str | Path | None = None) -> int:
    """Brings an agent to where the newest checkpoint was taken.

    The random generators of torch, numpy and Python are set too. `time/iterations` counts from 1 again.

    Args:
        agent: made as the one that was saved: algorithm, settings, environment, starting model.
        path: the folder of `TrainingCheckpoint`.
        metrics: the file of `RewardLog`; rows that were written after the checkpoint are cut off.

    Returns:
        How many steps are left: `agent.learn(left, ..., reset_num_timesteps=False)`.

    Raises:
        CheckpointError: no checkpoint is there, none is whole, or it is of a training with another setting.
    """
    require_savable(agent)
    folder = Path(path)
    tokens, saved = _newest_whole(folder)
    _require_same(saved["settings"], settings_of(agent), folder)
    load_training_state(agent, saved["state"])
    for newer in _all(folder):
        if newer > tokens:
            _file(folder, newer).unlink()
    if metrics is not None:
        cut_rows(Path(metrics), tokens)
    return max(agent._total_timesteps - tokens, 0)


def remove_checkpoints(path: str | Path) -> None:
    """Removes the checkpoints in a folder, and the folder if nothing else is in it."""
    folder = Path(path)
    for tokens in _all(folder):
        _file(folder, tokens).unlink()
    remove_partial(folder)
    with suppress(OSError):
        folder.rmdir()


def saved_tokens(path: str | Path) -> int | None:
    """At how many tokens the newest checkpoint in a folder was taken; None where there is none."""
    found = _all(Path(path))
    return found[-1] if found else None


def _all(folder: Path) -> list[int]:
    stems = (file.name.removesuffix(SUFFIX) for file in folder.glob(f"*{SUFFIX}"))
    return sorted(int(stem) for stem in stems if stem.isdecimal())


def _file(folder: Path, tokens: int) -> Path:
    return folder / f"{tokens:012d}{SUFFIX}"


def _prune(folder: Path, keep: int) -> None:
    """Removes all but the newest, and what a process that was killed had half written."""
    for tokens in _all(folder)[:-keep]:
        _file(folder, tokens).unlink()
    remove_partial(folder)


def _newest_whole(folder: Path) -> tuple[int, State]:
    found = _all(folder)
    if not found:
        raise CheckpointError(f"{folder} holds no checkpoint of a training: there is nothing to go on from")
    *older, newest = found
    try:
        return newest, read_state(_file(folder, newest))
    except CheckpointError as error:
        if not older:
            raise
        _log.warning("%s: going on from the one before", error)
        return older[-1], read_state(_file(folder, older[-1]))


def _require_same(saved: Mapping[str, Any], own: Mapping[str, Any], folder: Path) -> None:
    for name in dict.fromkeys([*saved, *own]):
        if saved.get(name) != own.get(name):
            raise CheckpointError(
                f"{folder} is of a training with {name} {saved.get(name)}, this agent has {own.get(name)}. "
                "Make the agent and its environment as they were, or give another folder"
            )
