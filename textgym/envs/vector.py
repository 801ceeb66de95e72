"""TextGen-v0 for many rows at once: one batched transition a step, Python work only for rows that end or begin.

Row i equals a `TextGenEnv` that was reset with seed + i: observations, rewards, flags and infos, in all three autoreset
modes, bit for bit.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from jaxtyping import Bool, Float64, Int8, Int32, Int64

from textgym.envs import dynamics
from textgym.envs.dynamics import LIVE
from textgym.envs.episodes import RENDER_FPS, RENDER_MODES, Outcome, checked_options, open_episodes, outside
from textgym.envs.infos import add_columns
from textgym.envs.render import Ending, ansi
from textgym.envs.spec import TextGenSpec, checked_render_mode
from textgym.envs.tasks import Task, TaskSettings
from textgym.errors import EpisodeError, SpaceError, TaskError
from textgym.scorers.reward import Reward

Observations = Int32[np.ndarray, "B L"]
Infos = dict[str, Any]
Rows = Int64[np.ndarray, " N"]


class TextGenVectorEnv(VectorEnv[Observations, Int64[np.ndarray, " B"], np.ndarray]):
    """B texts at a time; `gym.make_vec("TextGen-v0", num_envs=B)` makes this.

    Spaces, infos and reset options are those of `TextGenEnv`, batched as Gymnasium batches them: an info key holds an
    array over the rows, `_key` says which rows it speaks of. Beside them: the option `prompt` takes a list, one for
    each row (None draws one), or one text for all; `prompt_index` a list or one index for all; `reset_mask` a bool
    array (B,) of the rows to reset.

    Args:
        num_envs: B.
        task: see `TextGenEnv`, as for all that is not listed here.
        corpus: file to make a task from, in place of `task`.
        field: column or field of a CSV, JSON or JSONL corpus.
        tokenizer: "auto", "char", "word", "bpe", or a tokenizer.json.
        vocab_size: V at most, for tokenizers that are trained; None for 2,048 (bpe), 4,096 (word) or 8,192 (char).
        max_new_tokens: budget of a completion, EOS included.
        max_prompt_tokens: longest prompt.
        on_long_prompt: "skip", "truncate" or "error".
        split: "train" or "heldout".
        reward: spec, mapping, Scorer, callable or "file.py:function".
        on_failure: "raise" or "mask".
        gamma: discount that shaped delivery is computed with.
        mask_in_info: put `action_mask` into every info, int8 (B, V).
        render_mode: "ansi", "human" or None.
        cache_dir: where fitted arrays are kept.
        autoreset_mode: an `AutoresetMode` or its value.
        max_episode_steps: steps after which an episode is truncated, as TimeLimit does it; None for never.
        disable_env_checker: accepted because `gym.make_vec` may hand it in; there is no checker here.
    """

    def __init__(
        self,
        num_envs: int = 1,
        *,
        task: str | Task | None = None,
        corpus: str | None = None,
        field: str | None = None,
        tokenizer: str = "auto",
        vocab_size: int | None = None,
        max_new_tokens: int = 64,
        max_prompt_tokens: int = 32,
        on_long_prompt: str = "skip",
        split: str = "train",
        reward: Any = None,
        on_failure: str = "raise",
        gamma: float = 1.0,
        mask_in_info: bool = False,
        render_mode: str | None = None,
        cache_dir: str | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        max_episode_steps: int | None = None,
        disable_env_checker: bool | None = None,
    ) -> None:
        settings = TaskSettings(
            task, corpus, field, tokenizer, vocab_size, max_new_tokens, max_prompt_tokens, on_long_prompt, cache_dir
        )
        if num_envs < 1:
            raise TaskError(f"num_envs={num_envs}: at least 1 row is needed")
        if max_episode_steps is not None and max_episode_steps < 1:
            raise TaskError(f"max_episode_steps={max_episode_steps}: at least 1, or None for no limit")
        self.autoreset_mode = _checked_mode(autoreset_mode)
        self.render_mode = checked_render_mode(render_mode)
        self.metadata = {
            "render_modes": list(RENDER_MODES),
            "render_fps": RENDER_FPS,
            "autoreset_mode": self.autoreset_mode,
        }
        self.episodes = open_episodes(
            settings, split=split, reward=reward, on_failure=on_failure, gamma=gamma, mask_in_info=mask_in_info
        )
        self.gamma, self.num_envs, self.max_episode_steps = gamma, num_envs, max_episode_steps
        self.single_observation_space = self.episodes.observation_space()
        self.single_action_space = self.episodes.action_space()
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._rules = self.episodes.rules
        self._rngs: list[np.random.Generator | None] = [None] * num_envs
        self._seeds: list[int | None] = [None] * num_envs
        self._tokens = np.full((num_envs, self._rules.observation_length), dynamics.PADDING, np.int32)
        self._lengths, self._starts, self._indices = (np.zeros(num_envs, np.int64) for _ in range(3))
        self._begun = False
        self._terminated, self._over = np.zeros(num_envs, bool), np.zeros(num_envs, bool)
        self._endings: list[Ending | None] = [None] * num_envs

    @property
    def task(self) -> Task:
        """The task: tokenizer, prompts, budget."""
        return self.episodes.task

    @property
    def reward(self) -> Reward:
        """The bound reward."""
        return self.episodes.reward

    @property
    def spec(self) -> EnvSpec | None:
        """What `gym.make_vec` made this from."""
        return self._spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        self._spec = None if spec is None else TextGenSpec.of(spec)

    _spec: EnvSpec | None = None

    @property  # type: ignore[misc]
    def np_random(self) -> tuple[np.random.Generator, ...]:  # type: ignore[override]
        """The generator of each row."""
        return tuple(self._rng(row) for row in range(self.num_envs))

    @property
    def np_random_seed(self) -> tuple[int | None, ...]:  # type: ignore[override]
        """The seed of each row."""
        return tuple(self._seeds[row] for row in range(self.num_envs) if self._rng(row))

    def _rng(self, row: int) -> np.random.Generator:
        rng = self._rngs[row]
        if rng is None:
            rng, self._seeds[row] = seeding.np_random()
            self._rngs[row] = rng
        return rng

    # --- reset -------------------------------------------------------------------------------------------------------

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[Observations, Infos]:
        """Begins an episode in every row, or in the rows of the option `reset_mask`.

        Args:
            seed: row i gets seed + i; or a list, one for each row; None goes on with the rows' generators.
            options: see the class; they are read, never changed.

        Raises:
            TaskError: an unknown option, or one that does not fit.
            EpisodeError: a reset_mask in the very first reset that leaves a row out.
        """
        chosen = checked_options(options, ("prompt", "prompt_index", "reset_mask"))
        rows = self._rows_to_reset(chosen.get("reset_mask"))
        seeds = self._checked_seeds(seed)
        prompts = self._one_each("prompt", chosen.get("prompt"), str)
        indices = self._one_each("prompt_index", chosen.get("prompt_index"), (int, np.integer))
        for row in rows.tolist():
            if seeds[row] is not None:
                self._rngs[row], self._seeds[row] = seeding.np_random(seeds[row])
        starts = [self.episodes.begin(self._rng(row), prompts[row], indices[row]) for row in rows.tolist()]
        for row, start in zip(rows.tolist(), starts, strict=True):
            self._tokens[row], self._starts[row], self._indices[row] = start.tokens, start.start, start.index
            self._endings[row] = None
        self._lengths[rows] = self._starts[rows]
        self._terminated[rows] = self._over[rows] = False
        self._begun = True
        return self._told(rows)

    def _rows_to_reset(self, mask: Any) -> Rows:
        if mask is None:
            return np.arange(self.num_envs)
        if not (
            isinstance(mask, np.ndarray) and mask.shape == (self.num_envs,) and mask.dtype == np.bool_ and mask.any()
        ):
            raise TaskError(
                f"reset option 'reset_mask' is a bool array of shape ({self.num_envs},) with a True in it, not {mask!r}"
            )
        if not (self._begun or mask.all()):
            raise EpisodeError("the first reset begins every row: leave 'reset_mask' out")
        return np.flatnonzero(mask)

    def _checked_seeds(self, seed: Any) -> list[int | None]:
        if seed is None:
            return [None] * self.num_envs
        if isinstance(seed, (int, np.integer)):
            return [int(seed) + row for row in range(self.num_envs)]
        if len(seed) != self.num_envs:
            raise TaskError(f"{len(seed)} seeds for {self.num_envs} rows: give one for each, or one integer")
        return [None if value is None else int(value) for value in seed]

    def _one_each(self, name: str, value: Any, single: type | tuple[type, ...]) -> list[Any]:
        if value is None or isinstance(value, single):
            return [value] * self.num_envs
        if not isinstance(value, (list, tuple, np.ndarray)) or len(value) != self.num_envs:
            raise TaskError(f"reset option {name!r} is a list of {self.num_envs}, one for each row, not {value!r}")
        return list(value)

    def _begin_drawn(self, rows: Rows) -> None:
        """New episodes in rows of the state's own arrays, which nobody outside holds."""
        indices = np.array([self.episodes.draw(self._rng(row)) for row in rows.tolist()])
        self._tokens[rows], self._starts[rows] = self.episodes.openings(indices)
        self._indices[rows], self._lengths[rows] = indices, self._starts[rows]
        if self.render_mode is not None:
            for row in rows.tolist():
                self._endings[row] = None

    # --- step --------------------------------------------------------------------------------------------------------

    def step(
        self, actions: Any
    ) -> tuple[Observations, Float64[np.ndarray, " B"], Bool[np.ndarray, " B"], Bool[np.ndarray, " B"], Infos]:
        """Appends one token to every live row; what a finished row does is the autoreset mode's affair.

        Raises:
            EpisodeError: before reset; in mode DISABLED also with a finished row.
            SpaceError: an action outside 0..V-1.
            ScoringFailure: a scorer failed; the step has then not been taken.
        """
        if not self._begun:
            raise EpisodeError("step before the first reset: call reset()")
        waiting = np.flatnonzero(self._over)
        if len(waiting) and self.autoreset_mode is AutoresetMode.DISABLED:
            raise EpisodeError(f"step with finished rows {waiting.tolist()}: reset(options={{'reset_mask': ...}}) them")
        ids = self._checked(actions, waiting)
        # A waiting row has no room left: its token goes where the restart below overwrites it.
        lengths = np.where(self._over, self._starts, self._lengths) if len(waiting) else self._lengths
        tokens, lengths, reason = dynamics.step(self._rules, self._tokens, lengths, self._starts, ids)
        reason[waiting] = LIVE
        ended = np.flatnonzero(reason)
        rewards = np.zeros(self.num_envs)
        outcome = None
        if len(ended):
            outcome = self._finish(tokens, lengths, reason, ended)
            rewards[ended] = outcome.rewards
        # Up to here nothing has changed: a scorer may raise, and the step is then as if never made.
        self._tokens, self._lengths = tokens, lengths
        if len(waiting):
            self._begin_drawn(waiting)
        terminated = reason != LIVE
        truncated = np.zeros(self.num_envs, bool)
        if self.max_episode_steps is not None:
            truncated = self._lengths - self._starts >= self.max_episode_steps
        if outcome is not None and self.render_mode is not None:
            for j, row in enumerate(ended.tolist()):
                self._endings[row] = outcome.ending(j)
        self._terminated, self._over = terminated.copy(), terminated | truncated
        observations, infos = self._after(ended, outcome)
        return observations, rewards, terminated, truncated, infos

    def _checked(self, actions: Any, waiting: Rows) -> Int64[np.ndarray, " B"]:
        ids = np.asarray(actions)
        if ids.shape != (self.num_envs,) or ids.dtype.kind not in "iu":
            raise SpaceError(
                f"actions are {self.num_envs} integers, shape ({self.num_envs},); "
                f"given: shape {ids.shape}, dtype {ids.dtype}"
            )
        if len(waiting):
            ids = ids.copy()
            ids[waiting] = 0
        if ids.min() < 0 or ids.max() >= self._rules.vocab_size:
            raise outside(self._rules, ids[(ids < 0) | (ids >= self._rules.vocab_size)][0])
        return ids.astype(np.int64, copy=False)

    def _finish(
        self,
        tokens: Observations,
        lengths: Int64[np.ndarray, " B"],
        reason: Int8[np.ndarray, " B"],
        rows: Rows,
    ) -> Outcome:
        return self.episodes.finish(tokens[rows], lengths[rows], self._starts[rows], self._indices[rows], reason[rows])

    def _after(self, ended: Rows, outcome: Outcome | None) -> tuple[Observations, Infos]:
        """Observations and infos of a step; in mode SAME_STEP finished rows begin anew in between."""
        everywhere = np.arange(self.num_envs)
        over = np.flatnonzero(self._over)
        if self.autoreset_mode is not AutoresetMode.SAME_STEP or not len(over):
            observations, infos = self._told(everywhere)
            if outcome is not None:
                add_columns(infos, self.num_envs, ended, outcome.columns)
            return observations, infos
        final = self._info(over)
        if outcome is not None:
            add_columns(final, self.num_envs, ended, outcome.columns)
        last: dict[str, Any] = {"final_obs": [self._tokens[row].copy() for row in over.tolist()]}
        self._begin_drawn(over)
        self._terminated[over] = self._over[over] = False
        observations, infos = self._told(everywhere)
        add_columns(infos, self.num_envs, over, last)
        infos["final_info"], infos["_final_info"] = final, infos["_final_obs"].copy()
        return observations, infos

    # --- what the outside gets to see -------------------------------------------------------------------------------

    def _told(self, rows: Rows) -> tuple[Observations, Infos]:
        """All observations, and the infos of some rows: copies, since clients keep and change them."""
        if self.render_mode == "human":
            self.render()
        return self._tokens.copy(), self._info(rows)

    def _info(self, rows: Rows) -> Infos:
        """What every info holds, for some rows."""
        infos: Infos = {}
        add_columns(infos, self.num_envs, rows, {"length": (self._lengths - self._starts)[rows]})
        if self.episodes.mask_in_info:
            add_columns(infos, self.num_envs, rows, {"action_mask": self._masks(rows).astype(np.int8)})
        return infos

    def _masks(self, rows: Rows) -> Bool[np.ndarray, "N V"]:
        return self.episodes.masks(self._tokens[rows], self._lengths[rows], self._starts[rows], self._terminated[rows])

    def action_masks(self) -> Bool[np.ndarray, "B V"]:
        """Which tokens may come next, (B, V). A token that may not is executed all the same, and counted.

        Raises:
            EpisodeError: before reset.
            TaskError: a live row in which no token may come next.
        """
        if not self._begun:
            raise EpisodeError("action_masks before the first reset: call reset()")
        return self._masks(np.arange(self.num_envs))

    def render(self) -> tuple[str, ...] | None:
        """The texts so far, one a row: returned in mode "ansi", printed in mode "human"."""
        if self.render_mode is None:
            gym.logger.warn(f"render() without a render mode: give render_mode, one of {RENDER_MODES}")
            return None
        if not self._begun:
            raise EpisodeError("render before the first reset: call reset()")
        frames = tuple(
            ansi(self.task.tokenizer, tokens[: start - 1], tokens[start:length], ending)
            for tokens, start, length, ending in zip(
                self._tokens, self._starts, self._lengths, self._endings, strict=True
            )
        )
        if self.render_mode == "ansi":
            return frames
        print("\n".join(frames), flush=True)
        return None


def _checked_mode(mode: Any) -> AutoresetMode:
    try:
        return AutoresetMode(mode)
    except ValueError:
        allowed = ", ".join(repr(m.value) for m in AutoresetMode)
        raise TaskError(f"autoreset_mode={mode!r}: allowed are {allowed}") from None
