"""TextGen-v0: the state is the token prefix, an action is the next token, a scorer pays."""

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces import Box
from jaxtyping import Bool, Int32, UInt8

from textgym.envs.dynamics import LIVE, step_row
from textgym.envs.episodes import RENDER_FPS, RENDER_MODES, checked_action, checked_options, open_episodes
from textgym.envs.render import Ending, draw
from textgym.envs.spec import TextGenSpec, checked_render_mode
from textgym.envs.tasks import Task, TaskSettings
from textgym.errors import EpisodeError, TaskError
from textgym.scorers.reward import Reward

Observation = Int32[np.ndarray, " L"]
Observed = Observation | Any
"""What the outside gets to see: an `Observation`, or what a twin makes of it."""

_ROW = np.zeros(1, np.int64)
"""The only row there is."""


class TextGenEnv(gym.Env[Observed, np.int64]):
    """One text at a time.

    An observation is the prefix, shape (L,), int32: prompt, separator, completion so far, then -1. An action is a token
    id in 0..V-1. EOS, the task's stop rule and the budget end an episode (`terminated`); the reward is paid there, and
    is 0.0 before, unless `delivery` says otherwise. `truncated` comes only from an outside TimeLimit.

    Every info holds `length`, the tokens of the completion so far. At the end it holds `finish_reason` ("stop",
    "length" or "rule"), `completion` (a tuple of ids: vector environments could not stack arrays of unequal length),
    `text`, `illegal_actions` (how many actions the mask had forbidden), `reward_components/<name>`, and `is_success`
    where the task defines one.

    Reset options: `prompt` (text or ids) or `prompt_index` (of the split); otherwise a prompt is drawn.

    Args:
        task: name of a task or a `Task`; None for the default, "story".
        corpus: file to make a task from, in place of `task`.
        field: its column or field; of a prompt file "PROMPT:REFERENCE", by default "prompt:references".
        prompts: JSON Lines, JSON or CSV file of prompts with references and metadata, in place of `task`; see
            `textgym.text.prompt_files`.
        tokenizer: "auto", "char", "word", "bpe", a tokenizer file, or a folder or hub name of Hugging Face's.
        vocab_size: V at most, for tokenizers that are trained; None for 8,192 (bpe, char) or 4,096 (word).
        max_new_tokens: budget of a completion, EOS included; None for 64, or for the longest story of a story world.
        max_prompt_tokens: longest prompt; None for 32, or for 512 where `prompts` is given.
        on_long_prompt: "skip", "truncate" or "error".
        split: "train" or "heldout": which prompts are drawn.
        reward: spec, mapping, Scorer, callable or "file.py:function"; None for the task's default.
        delivery: when the reward is paid: "terminal", "per_token" or "shaped"; see `textgym.scorers.delivery`.
        on_failure: "raise", or "mask": a failed row is paid NaN and `info["reward_failed"]` says so; only for
            buffers that drop such episodes. A stream that fails before the end is an error all the same.
        constraint: which tokens may come next, as a mask: a mapping such as `{"min_new_tokens": 8,
            "no_repeat_ngram": 3, "banned": ["foo"]}` (see `textgym.envs.constraints`), or a `types.Constraint`. It
            binds agents that look at masks, which plain PPO does not; for others see `illegal_actions`.
        group_size: 1; only rows of a vector environment form groups.
        gamma: discount that shaped delivery is computed with; terminal delivery does not use it.
        mask_in_info: put `action_mask` (int8, as `Discrete.sample` takes it) into every info.
        render_mode: "ansi", "human", "rgb_array" or None.
        cache_dir: where fitted arrays are kept; None for TEXTGYM_CACHE or the user's cache folder.
    """

    metadata: dict[str, Any] = {"render_modes": list(RENDER_MODES), "render_fps": RENDER_FPS}  # noqa: RUF012

    def __init__(
        self,
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
        if group_size != 1:
            raise TaskError(
                f"group_size={group_size}: one environment is no group. Rows of a vector environment share their "
                f"prompts: gym.make_vec(..., group_size={group_size})"
            )
        self.render_mode = checked_render_mode(render_mode)
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
        self.gamma = gamma
        self.observation_space = self._space(self.episodes.observation_space())
        self.action_space = self.episodes.action_space()
        self._rules = self.episodes.rules
        self._tokens: Observation | None = None
        self._length = self._start = self._index = 0
        self._over = False
        self._ending: Ending | None = None
        self._payments = self.episodes.delivery.payments(1)

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
        """What `gym.make` made this from."""
        return self._spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        self._spec = None if spec is None else TextGenSpec.of(spec)

    _spec: EnvSpec | None = None

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[Observed, dict[str, Any]]:
        """Begins an episode on a drawn or a chosen prompt.

        Raises:
            TaskError: an unknown option or a prompt that does not fit.
        """
        chosen = checked_options(options, ("prompt", "prompt_index"))
        super().reset(seed=seed)
        start = self.episodes.begin(self.np_random, chosen.get("prompt"), chosen.get("prompt_index"))
        self._tokens, self._start, self._index = start.tokens, start.start, start.index
        self._length, self._over, self._ending = start.start, False, None
        if self._payments is not None:
            self._payments.begin(_ROW, [start.tokens[: start.start - 1]])
        return self._told()

    def step(self, action: Any) -> tuple[Observed, float, bool, bool, dict[str, Any]]:
        """Appends one token.

        Raises:
            EpisodeError: before reset or after the end.
            SpaceError: an action outside 0..V-1.
            ScoringFailure: a scorer failed; the step has then not been taken.
        """
        if self._tokens is None or self._over:
            raise EpisodeError(
                f"step {'before the first reset' if self._tokens is None else 'after the end'}: call reset()"
            )
        token = checked_action(self._rules, action)
        tokens, length, reason = step_row(self._rules, self._tokens, self._length, self._start, token)
        if reason == LIVE:
            reward = self._pay(token)
            self._tokens, self._length = tokens, length
            observation, info = self._told()
            return observation, reward, False, False, info
        outcome = self.episodes.finish(
            tokens[None],
            np.array([length]),
            np.array([self._start]),
            np.array([self._index]),
            np.array([reason], np.int8),
        )
        self._tokens, self._length, self._over, self._ending = tokens, length, True, outcome.ending(0)
        rewards = outcome.rewards if self._payments is None else self._payments.rest(_ROW, outcome.rewards)
        observation, info = self._told()
        return observation, float(rewards[0]), True, False, info | outcome.info(0)

    def _pay(self, token: int) -> float:
        """What a token that does not end the text earns."""
        if self._payments is None:
            return 0.0
        assert self._tokens is not None
        try:
            return float(self._payments.pay(_ROW, np.array([token]))[0])
        except Exception:
            prompt, completion = self._tokens[: self._start - 1], self._tokens[self._start : self._length]
            self._payments.rebuild(_ROW, [prompt], [completion])
            raise

    def _told(self) -> tuple[Observed, dict[str, Any]]:
        """What the outside gets to see of the state: copies, since clients keep and change them."""
        assert self._tokens is not None
        info: dict[str, Any] = {"length": self._length - self._start}
        if self.episodes.mask_in_info:
            info["action_mask"] = self.action_masks().astype(np.int8)
        if self.render_mode == "human":
            self.render()
        return self._observed(self._tokens, self.action_masks), info

    def _space(self, tokens: Box) -> gym.Space[Any]:
        """The space of what `_observed` gives, for token ids in this one; twins override both (see twins.py)."""
        return tokens

    def _observed(self, tokens: Observation, masks: Callable[[], Bool[np.ndarray, " V"]]) -> Observed:
        """A prefix as the outside gets to see it: a copy."""
        return tokens.copy()

    def action_masks(self) -> Bool[np.ndarray, " V"]:
        """Which tokens may come next, (V,). A token that may not is executed all the same, and counted.

        Raises:
            EpisodeError: before reset.
            TaskError: no token may come next.
        """
        if self._tokens is None:
            raise EpisodeError("action_masks before the first reset: call reset()")
        masks = self.episodes.masks(
            self._tokens[None], np.array([self._length]), np.array([self._start]), np.array([self._over])
        )
        row: Bool[np.ndarray, " V"] = masks[0]
        return row

    def render(self) -> str | UInt8[np.ndarray, "H W 3"] | None:
        """The text so far: as escape codes in mode "ansi", as a picture (H, W, 3) of fixed size in mode "rgb_array".

        In mode "human" it is printed, as each reset and step does, and None comes back.
        """
        if self.render_mode is None:
            gym.logger.warn(
                f"render() without a render mode: gym.make('TextGen-v0', render_mode=...), one of {RENDER_MODES}"
            )
            return None
        if self._tokens is None:
            raise EpisodeError("render before the first reset: call reset()")
        frame = draw(self.render_mode, self.task.tokenizer, self._tokens, self._start, self._length, self._ending)
        if self.render_mode != "human":
            return frame
        print(frame, flush=True)
        return None
