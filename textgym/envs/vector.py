"""TextGen-v0 for many rows at once: one batched transition a step, Python work only for rows that end or begin.

Row i equals a `TextGenEnv` that was reset with seed + i (of groups: with the seed of the group's first row):
observations, rewards, flags and infos, in all three autoreset modes, bit for bit.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces import Box
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space, iterate
from jaxtyping import Bool, Float64, Int8, Int32, Int64, UInt8

from textgym.envs import dynamics
from textgym.envs.dynamics import LIVE
from textgym.envs.episodes import RENDER_FPS, RENDER_MODES, Outcome, checked_options, open_episodes, outside
from textgym.envs.infos import add_columns
from textgym.envs.render import Ending, draw
from textgym.envs.spec import TextGenSpec, checked_render_mode
from textgym.envs.tasks import Task, TaskSettings
from textgym.errors import EpisodeError, SpaceError, TaskError
from textgym.scorers.constrained import load_multiplier_state, multiplier_state
from textgym.scorers.reward import Reward
from textgym.types import TokenIds

Observations = Int32[np.ndarray, "B L"]
Observed = Observations | Any
"""What the outside gets to see: `Observations`, or what a twin makes of them."""
Infos = dict[str, Any]
Rows = Int64[np.ndarray, " N"]

_STATE = ("tokens", "lengths", "starts", "indices", "terminated", "over")
"""The arrays, one element or line a row, that change from step to step."""


class TextGenVectorEnv(VectorEnv[Observed, Int64[np.ndarray, " B"], np.ndarray]):
    """B texts at a time; `gym.make_vec("TextGen-v0", num_envs=B)` makes this.

    Spaces, infos and reset options are those of `TextGenEnv`, batched as Gymnasium batches them: an info key holds an
    array over the rows, `_key` says which rows it speaks of. Beside them: the option `prompt` takes a list, one for
    each row (None draws one), or one text for all; `prompt_index` a list or one index for all; `reset_mask` a bool
    array (B,) of the rows to reset.

    Args:
        num_envs: B.
        task: see `TextGenEnv`, as for all that is not listed here.
        corpus: file to make a task from, in place of `task`.
        field: its column or field; of a prompt file "PROMPT:REFERENCE".
        prompts: file of prompts with references and metadata, in place of `task`.
        tokenizer: "auto", "char", "word", "bpe", a tokenizer file, or a folder or hub name of Hugging Face's.
        vocab_size: V at most, for tokenizers that are trained; None for 8,192 (bpe, char) or 4,096 (word).
        max_new_tokens: budget of a completion, EOS included; None for 64, or for the longest story of a story world.
        max_prompt_tokens: longest prompt; None for 32, or for 512 where `prompts` is given.
        on_long_prompt: "skip", "truncate" or "error".
        split: "train" or "heldout".
        reward: spec, mapping, Scorer, callable or "file.py:function".
        delivery: when the reward is paid: "terminal", "per_token" or "shaped".
        on_failure: "raise" or "mask".
        constraint: which tokens may come next, as a mask.
        group_size: G neighbouring rows share their prompts, for agents that compare completions of one prompt: the
            k-th prompt that is drawn in a row is the same in all rows of a group, whenever their episodes end.
        gamma: discount that shaped delivery is computed with.
        mask_in_info: put `action_mask` into every info, int8 (B, V).
        render_mode: "ansi", "human", "rgb_array" or None.
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
        prompts: str | None = None,
        tokenizer: str = "auto",
        vocab_size: int | None = None,
        max_new_tokens: int | None = None,
        max_prompt_tokens: int | None = None,
        on_long_prompt: str = "skip",
        split: str = "train",
        reward: Any = None,
        delivery: str = "terminal",
        on_failure: str = "raise",
        constraint: Any = None,
        group_size: int = 1,
        gamma: float = 1.0,
        mask_in_info: bool = False,
        render_mode: str | None = None,
        cache_dir: str | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        max_episode_steps: int | None = None,
        disable_env_checker: bool | None = None,
    ) -> None:
        settings = TaskSettings(
            task,
            corpus,
            field,
            tokenizer,
            vocab_size,
            max_new_tokens,
            max_prompt_tokens,
            on_long_prompt,
            cache_dir,
            prompts,
        )
        if num_envs < 1:
            raise TaskError(f"num_envs={num_envs}: at least 1 row is needed")
        if isinstance(group_size, bool) or group_size < 1 or num_envs % group_size:
            raise TaskError(
                f"group_size={group_size}: groups are of equal size, so it is a divisor of the number of rows, "
                f"num_envs={num_envs}"
            )
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
            settings,
            split=split,
            reward=reward,
            delivery=delivery,
            on_failure=on_failure,
            gamma=gamma,
            mask_in_info=mask_in_info,
            constraint=constraint,
        )
        self.gamma, self.num_envs, self.max_episode_steps = gamma, num_envs, max_episode_steps
        self.group_size = group_size
        self.single_observation_space = self._space(self.episodes.observation_space())
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
        self._payments = self.episodes.delivery.payments(num_envs)

    @property
    def task(self) -> Task:
        """The task: tokenizer, prompts, budget."""
        return self.episodes.task

    @property
    def budget(self) -> int:
        """Tokens that a completion may have, EOS included: the task's, or fewer, where a curriculum has set it so.

        Observations keep their shape; a text that is as long already ends with its next token.
        """
        return self._rules.budget

    @budget.setter
    def budget(self, tokens: int) -> None:
        if isinstance(tokens, bool) or not 1 <= tokens <= self.episodes.rules.budget:
            raise TaskError(f"budget={tokens}: from 1 to {self.episodes.rules.budget}, the task's max_new_tokens")
        self._rules = replace(self._rules, budget=int(tokens))

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
            first = self._first(row)
            if first != row:
                self._rng(first)  # which draws a seed, if there is none yet
            rng, self._seeds[row] = seeding.np_random(None if first == row else self._seeds[first])
            self._rngs[row] = rng
        return rng

    def _first(self, row: int) -> int:
        """The first row of a row's group."""
        return row - row % self.group_size

    # --- reset -------------------------------------------------------------------------------------------------------

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[Observed, Infos]:
        """Begins an episode in every row, or in the rows of the option `reset_mask`.

        Args:
            seed: row i gets seed + i; or a list, one for each row; None goes on with the rows' generators. In groups
                that of the first row holds for all: row i equals a single environment that is reset with the seed
                seed + i - i % group_size.
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
            if seeds[self._first(row)] is not None:
                self._rngs[row], self._seeds[row] = seeding.np_random(seeds[self._first(row)])
        starts = [self.episodes.begin(self._rng(row), prompts[row], indices[row]) for row in rows.tolist()]
        for row, start in zip(rows.tolist(), starts, strict=True):
            self._tokens[row], self._starts[row], self._indices[row] = start.tokens, start.start, start.index
            self._endings[row] = None
        self._lengths[rows] = self._starts[rows]
        self._terminated[rows] = self._over[rows] = False
        self._begun = True
        self._begin_payments(rows)
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
        self._begin_payments(rows)

    def _begin_payments(self, rows: Rows) -> None:
        if self._payments is not None:
            self._payments.begin(rows, self._prompts(rows))

    def _prompts(self, rows: Rows) -> list[TokenIds]:
        """Copies: the state's own arrays are written over."""
        return [self._tokens[row, : self._starts[row] - 1].copy() for row in rows.tolist()]

    # --- step --------------------------------------------------------------------------------------------------------

    def step(
        self, actions: Any
    ) -> tuple[Observed, Float64[np.ndarray, " B"], Bool[np.ndarray, " B"], Bool[np.ndarray, " B"], Infos]:
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
        return self._step(actions, waiting, rest=False)

    def step_live(
        self, actions: Any
    ) -> tuple[Observed, Float64[np.ndarray, " B"], Bool[np.ndarray, " B"], Bool[np.ndarray, " B"], Infos]:
        """`step` in mode DISABLED of the rows that live; the others rest.

        A finished row keeps its observation, is paid 0, has both flags False and no info, and its action is not looked
        at. So every row writes one whole text, whatever their lengths.

        Raises:
            EpisodeError: another mode, before reset, or no row is live.
            SpaceError: an action outside 0..V-1 in a live row.
            ScoringFailure: a scorer failed; the step has then not been taken.
        """
        if not self._begun or self.autoreset_mode is not AutoresetMode.DISABLED:
            raise EpisodeError(f"step_live after reset, in mode DISABLED; this is {self.autoreset_mode}")
        resting = np.flatnonzero(self._over)
        if len(resting) == self.num_envs:
            raise EpisodeError("step_live, and every row is finished: call reset()")
        return self._step(actions, resting, rest=True)

    def _step(
        self, actions: Any, waiting: Rows, *, rest: bool
    ) -> tuple[Observed, Float64[np.ndarray, " B"], Bool[np.ndarray, " B"], Bool[np.ndarray, " B"], Infos]:
        """A step in which finished rows begin anew, or rest."""
        ids = self._checked(actions, waiting)
        # A waiting row has no room left: its token goes where the restart below, or the old text, overwrites it.
        lengths = np.where(self._over, self._starts, self._lengths) if len(waiting) else self._lengths
        tokens, lengths, reason = dynamics.step(self._rules, self._tokens, lengths, self._starts, ids)
        reason[waiting] = LIVE
        ended = np.flatnonzero(reason)
        rewards = np.zeros(self.num_envs)
        outcome = None
        if len(ended):
            outcome = self._finish(tokens, lengths, reason, ended)
            rewards[ended] = outcome.rewards
        if self._payments is not None:
            rewards = self._delivered(rewards, ids, reason)
        # Up to here nothing has changed: a scorer may raise, and the step is then as if never made.
        if rest:
            tokens[waiting], lengths[waiting] = self._tokens[waiting], self._lengths[waiting]
        self._tokens, self._lengths = tokens, lengths
        if len(waiting) and not rest:
            self._begin_drawn(waiting)
        terminated = reason != LIVE
        truncated = np.zeros(self.num_envs, bool)
        if self.max_episode_steps is not None:
            truncated = self._lengths - self._starts >= self.max_episode_steps
        if rest:
            truncated[waiting] = False
        if outcome is not None and self.render_mode is not None:
            for j, row in enumerate(ended.tolist()):
                self._endings[row] = outcome.ending(j)
        ended_before = self._terminated[waiting]
        self._terminated, self._over = terminated.copy(), terminated | truncated
        if rest:
            self._terminated[waiting], self._over[waiting] = ended_before, True
        observations, infos = self._after(ended, outcome, waiting if rest else waiting[:0])
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

    def _delivered(
        self, rewards: Float64[np.ndarray, " B"], ids: Int64[np.ndarray, " B"], reason: Int8[np.ndarray, " B"]
    ) -> Float64[np.ndarray, " B"]:
        """What each row is paid now, given the rewards of those that end."""
        assert self._payments is not None
        live, ended = np.flatnonzero(~self._over & (reason == LIVE)), np.flatnonzero(reason)
        try:
            rewards[live] = self._payments.pay(live, ids[live])
        except Exception:
            self._rebuild_payments(np.flatnonzero(~self._over))
            raise
        rewards[ended] = self._payments.rest(ended, rewards[ended])
        return rewards

    def _rebuild_payments(self, rows: Rows) -> None:
        """What is paid follows from the prefixes."""
        if self._payments is not None:
            completions = [self._tokens[row, self._starts[row] : self._lengths[row]] for row in rows.tolist()]
            self._payments.rebuild(rows, self._prompts(rows), completions)

    def _finish(
        self,
        tokens: Observations,
        lengths: Int64[np.ndarray, " B"],
        reason: Int8[np.ndarray, " B"],
        rows: Rows,
    ) -> Outcome:
        return self.episodes.finish(tokens[rows], lengths[rows], self._starts[rows], self._indices[rows], reason[rows])

    def _after(self, ended: Rows, outcome: Outcome | None, resting: Int64[np.ndarray, " R"]) -> tuple[Observed, Infos]:
        """Observations and infos of a step; in mode SAME_STEP finished rows begin anew in between."""
        everywhere = np.arange(self.num_envs)
        if len(resting):
            everywhere = np.delete(everywhere, resting)
        over = np.flatnonzero(self._over)
        if self.autoreset_mode is not AutoresetMode.SAME_STEP or not len(over):
            observations, infos = self._told(everywhere)
            if outcome is not None:
                add_columns(infos, self.num_envs, ended, outcome.columns)
            return observations, infos
        final = self._info(over)
        if outcome is not None:
            add_columns(final, self.num_envs, ended, outcome.columns)
        seen = self._observed(self._tokens[over], lambda: self._masks(over))
        last: dict[str, Any] = {"final_obs": list(iterate(self.observation_space, seen))}
        self._begin_drawn(over)
        self._terminated[over] = self._over[over] = False
        observations, infos = self._told(everywhere)
        add_columns(infos, self.num_envs, over, last)
        infos["final_info"], infos["_final_info"] = final, infos["_final_obs"].copy()
        return observations, infos

    # --- saving ------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """All that decides what comes next, as arrays and JSON values: prefixes, and the generator of each row."""
        arrays = {name: getattr(self, f"_{name}").copy() for name in _STATE}
        generators = [None if rng is None else rng.bit_generator.state for rng in self._rngs]
        prices = multiplier_state(self.reward.bound)
        known = {"begun": self._begun, "generators": generators, "seeds": list(self._seeds)}
        return {**arrays, **known, **({"multipliers": prices} if prices else {})}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from where another environment of the same settings gave its `state_dict`.

        How a row that is over has ended is forgotten, where that was to be rendered.

        Raises:
            TaskError: a state of other shapes.
        """
        for name in _STATE:
            own, given = getattr(self, f"_{name}"), np.asarray(state[name])
            if given.shape != own.shape:
                raise TaskError(f"this state has {name} of shape {given.shape}, the environment {own.shape}")
            setattr(self, f"_{name}", given.astype(own.dtype))
        self._begun, self._seeds = bool(state["begun"]), list(state["seeds"])
        self._rngs = [None if generator is None else _generator(generator) for generator in state["generators"]]
        load_multiplier_state(self.reward.bound, state.get("multipliers", {}))
        self._endings = [None] * self.num_envs
        self._rebuild_payments(np.flatnonzero(~self._over) if self._begun else np.arange(0))

    # --- what the outside gets to see -------------------------------------------------------------------------------

    def _told(self, rows: Rows) -> tuple[Observed, Infos]:
        """All observations, and the infos of some rows: copies, since clients keep and change them."""
        if self.render_mode == "human":
            self.render()
        return self._observed(self._tokens, self.action_masks), self._info(rows)

    def _space(self, tokens: Box) -> gym.Space[Any]:
        """The space of a row of what `_observed` gives, for ids in this one; twins override both (see twins.py)."""
        return tokens

    def _observed(self, tokens: Int32[np.ndarray, "N L"], masks: Callable[[], Bool[np.ndarray, "N V"]]) -> Observed:
        """Prefixes of some rows as the outside gets to see them: copies."""
        return tokens.copy()

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

    def render(self) -> tuple[str | UInt8[np.ndarray, "H W 3"], ...] | None:
        """The texts so far, one a row, as `TextGenEnv.render` gives them; printed in mode "human"."""
        if self.render_mode is None:
            gym.logger.warn(f"render() without a render mode: give render_mode, one of {RENDER_MODES}")
            return None
        if not self._begun:
            raise EpisodeError("render before the first reset: call reset()")
        frames = tuple(
            draw(self.render_mode, self.task.tokenizer, tokens, int(start), int(length), ending)
            for tokens, start, length, ending in zip(
                self._tokens, self._starts, self._lengths, self._endings, strict=True
            )
        )
        if self.render_mode != "human":
            return frames
        print(*frames, sep="\n", flush=True)
        return None


def _generator(state: Mapping[str, Any]) -> np.random.Generator:
    generator, _ = seeding.np_random(0)
    generator.bit_generator.state = state
    return generator


def _checked_mode(mode: Any) -> AutoresetMode:
    try:
        return AutoresetMode(mode)
    except ValueError:
        allowed = ", ".join(repr(m.value) for m in AutoresetMode)
        raise TaskError(f"autoreset_mode={mode!r}: allowed are {allowed}") from None
