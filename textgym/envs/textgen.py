"""TextGen-v0: the state is the token prefix, an action is the next token, a scorer pays at the end."""

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from jaxtyping import Bool, Int32

from textgym.envs.dynamics import LIVE, step_row
from textgym.envs.episodes import RENDER_FPS, RENDER_MODES, checked_action, checked_options, open_episodes
from textgym.envs.render import Ending, ansi
from textgym.envs.spec import TextGenSpec, checked_render_mode
from textgym.envs.tasks import Task, TaskSettings
from textgym.errors import EpisodeError
from textgym.scorers.reward import Reward

Observation = Int32[np.ndarray, " L"]


class TextGenEnv(gym.Env[Observation, np.int64]):
    """One text at a time.

    An observation is the prefix, shape (L,), int32: prompt, separator, completion so far, then -1. An action is a token
    id in 0..V-1. EOS, the task's stop rule and the budget end an episode (`terminated`); the reward is paid there, and
    is 0.0 before. `truncated` comes only from an outside TimeLimit.

    Every info holds `length`, the tokens of the completion so far. At the end it holds `finish_reason` ("stop",
    "length" or "rule"), `completion` (a tuple of ids: vector environments could not stack arrays of unequal length),
    `text`, `illegal_actions` (how many actions the mask had forbidden), `reward_components/<name>`, and `is_success`
    where the task defines one.

    Reset options: `prompt` (text or ids) or `prompt_index` (of the split); otherwise a prompt is drawn.

    Args:
        task: name of a task or a `Task`; None for the default ("docstrings" while v0 is provisional).
        corpus: file to make a task from, in place of `task`.
        field: column or field of a CSV, JSON or JSONL corpus.
        tokenizer: "auto", "char", "word", "bpe", or a tokenizer.json.
        vocab_size: V at most, for tokenizers that are trained; None for 2,048 (bpe), 4,096 (word) or 8,192 (char).
        max_new_tokens: budget of a completion, EOS included.
        max_prompt_tokens: longest prompt.
        on_long_prompt: "skip", "truncate" or "error".
        split: "train" or "heldout": which prompts are drawn.
        reward: spec, mapping, Scorer, callable or "file.py:function"; None for the task's default.
        on_failure: "raise", or "mask": a failed row is paid NaN and `info["reward_failed"]` says so; only for
            buffers that drop such episodes.
        gamma: discount that shaped delivery is computed with; terminal delivery does not use it.
        mask_in_info: put `action_mask` (int8, as `Discrete.sample` takes it) into every info.
        render_mode: "ansi", "human" or None.
        cache_dir: where fitted arrays are kept; None for TEXTGYM_CACHE or the user's cache folder.
    """

    metadata: dict[str, Any] = {"render_modes": list(RENDER_MODES), "render_fps": RENDER_FPS}  # noqa: RUF012

    def __init__(
        self,
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
    ) -> None:
        settings = TaskSettings(
            task, corpus, field, tokenizer, vocab_size, max_new_tokens, max_prompt_tokens, on_long_prompt, cache_dir
        )
        self.render_mode = checked_render_mode(render_mode)
        self.episodes = open_episodes(
            settings, split=split, reward=reward, on_failure=on_failure, gamma=gamma, mask_in_info=mask_in_info
        )
        self.gamma = gamma
        self.observation_space = self.episodes.observation_space()
        self.action_space = self.episodes.action_space()
        self._rules = self.episodes.rules
        self._tokens: Observation | None = None
        self._length = self._start = self._index = 0
        self._over = False
        self._ending: Ending | None = None

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
    ) -> tuple[Observation, dict[str, Any]]:
        """Begins an episode on a drawn or a chosen prompt.

        Raises:
            TaskError: an unknown option or a prompt that does not fit.
        """
        chosen = checked_options(options, ("prompt", "prompt_index"))
        super().reset(seed=seed)
        start = self.episodes.begin(self.np_random, chosen.get("prompt"), chosen.get("prompt_index"))
        self._tokens, self._start, self._index = start.tokens, start.start, start.index
        self._length, self._over, self._ending = start.start, False, None
        return self._told()

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
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
            self._tokens, self._length = tokens, length
            observation, info = self._told()
            return observation, 0.0, False, False, info
        outcome = self.episodes.finish(
            tokens[None],
            np.array([length]),
            np.array([self._start]),
            np.array([self._index]),
            np.array([reason], np.int8),
        )
        self._tokens, self._length, self._over, self._ending = tokens, length, True, outcome.ending(0)
        observation, info = self._told()
        return observation, float(outcome.rewards[0]), True, False, info | outcome.info(0)

    def _told(self) -> tuple[Observation, dict[str, Any]]:
        """What the outside gets to see of the state: copies, since clients keep and change them."""
        assert self._tokens is not None
        info: dict[str, Any] = {"length": self._length - self._start}
        if self.episodes.mask_in_info:
            info["action_mask"] = self.action_masks().astype(np.int8)
        if self.render_mode == "human":
            self.render()
        return self._tokens.copy(), info

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

    def render(self) -> str | None:
        """The text so far: returned in mode "ansi", printed in mode "human", as each reset and step does."""
        if self.render_mode is None:
            gym.logger.warn(
                f"render() without a render mode: gym.make('TextGen-v0', render_mode=...), one of {RENDER_MODES}"
            )
            return None
        if self._tokens is None:
            raise EpisodeError("render before the first reset: call reset()")
        prompt, completion = self._tokens[: self._start - 1], self._tokens[self._start : self._length]
        frame = ansi(self.task.tokenizer, prompt, completion, self._ending)
        if self.render_mode == "ansi":
            return frame
        print(frame, flush=True)
        return None
