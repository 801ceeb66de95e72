"""A whole completion as one action: for agents and libraries that write a text at a time, and for baselines."""

from typing import Any, SupportsFloat

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Text

from textgym.envs.dynamics import PADDING
from textgym.errors import EpisodeError, SpaceError, TaskError


class SequenceActionWrapper(gym.Wrapper[str, str, Any, np.int64]):
    """`TextGen-v0` with an episode of a single step: the observation is the prompt, the action the completion.

    The text is encoded with the task's tokenizer and stepped through token by token, EOS behind it, so that the reward
    is the return that the environment pays for it; what is over the budget of tokens is cut off, and a text of the full
    budget ends without EOS. The observation after the step is prompt and completion. Text that the tokenizer does not
    know becomes <unk>, which `info["illegal_actions"]` counts.

    verifiers, GEM and OpenEnv take environments of this kind.

    Args:
        env: `gym.make("TextGen-v0", ...)`.

    Raises:
        TaskError: an environment without a task.
    """

    def __init__(self, env: gym.Env[Any, np.int64]) -> None:
        wrapped: Any = env  # Gymnasium's annotation asks for an environment of the wrapper's own types
        super().__init__(wrapped)
        task = getattr(env.unwrapped, "task", None)
        if task is None:
            raise TaskError(f"{env} has no task: SequenceActionWrapper wraps TextGen-v0")
        self.tokenizer, self.max_new_tokens = task.tokenizer, task.max_new_tokens
        pieces = [self._piece(token) for token in range(self.tokenizer.vocab_size)]
        characters, longest = frozenset("".join(pieces)), max(map(len, pieces))
        self.action_space = Text(longest * self.max_new_tokens, min_length=0, charset=characters)
        self.observation_space = Text(longest * task.observation_length, min_length=0, charset=characters)
        self._prompt: str | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Begins an episode; see `TextGenEnv.reset`.

        Returns:
            The prompt, and the environment's info.
        """
        observation, info = self.env.reset(seed=seed, options=options)
        self._prompt = self._text(observation)
        return self._prompt, info

    def step(self, action: str) -> tuple[str, SupportsFloat, bool, bool, dict[str, Any]]:
        """Writes the whole completion.

        Returns:
            Prompt and completion, the return of the text, True, whether an outside limit ended it, and the info of the
            end.

        Raises:
            EpisodeError: before reset or after the end.
            SpaceError: something else than text.
            ScoringFailure: a scorer failed.
        """
        if self._prompt is None:
            raise EpisodeError("step before a reset: an episode is one step, call reset() before each")
        if not isinstance(action, str):
            raise SpaceError(f"the action is a completion, a text, not {type(action).__name__}")
        ids = self.tokenizer.encode(action)[: self.max_new_tokens].tolist()
        total = 0.0
        for token in [*ids, self.tokenizer.eos_id]:
            observation, reward, terminated, truncated, info = self.env.step(np.int64(token))
            total += float(reward)
            if terminated or truncated:
                break
        self._prompt = None
        return self._text(observation), total, terminated, truncated, info

    def _text(self, observation: Any) -> str:
        tokens = observation["tokens"] if isinstance(observation, dict) else observation
        ids = np.asarray(tokens)[np.asarray(tokens) != PADDING].astype(np.int32)
        return str(self.tokenizer.decode(ids))

    def _piece(self, token: int) -> str:
        return str(self.tokenizer.decode(np.array([token], dtype=np.int32)))
