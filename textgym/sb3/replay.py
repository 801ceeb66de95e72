"""`PrefixReplayBuffer`: a replay buffer that stores the prefix of a step once, and gives whole texts.

The observation after a step is the one before and the chosen token, at the end of an episode too. So it need not be
stored, and half of the memory is saved: 4 L bytes a step, where L is the length of the observations. And the last
prefix of a text holds all before it: one causal pass over it scores every step.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from jaxtyping import Bool, Float
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from torch import Tensor

from textgym.errors import SpaceError
from textgym.sb3.segments import Segments


@dataclass(frozen=True)
class TextSamples:
    """Whole texts with N steps together; steps are ordered by text, then by time.

    Attributes:
        segments: the texts as segments, from the first step that is still known of each.
        rewards: what each step was paid; NaN where that is not known.
        ended: whether a step ended its text; not so by an outside limit.
    """

    segments: Segments
    rewards: Float[Tensor, " N"]
    ended: Bool[Tensor, " N"]


class PrefixReplayBuffer(ReplayBuffer):
    """A drop-in `replay_buffer_class` for observations that are token prefixes.

    `sample` gives what that of `ReplayBuffer` would, bit for bit; `sample_texts` gives texts that have ended.

    Args:
        buffer_size: steps of all rows together; the oldest give way.
        observation_space: Box (L,) of token ids, padded with -1.
        action_space: Discrete (V).
        device: where samples go.
        n_envs: rows.
        optimize_memory_usage: is refused; Stable-Baselines3's own way of saving, which cannot tell the end of an
            episode from an outside limit.
    """

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        device: torch.device | str = "auto",
        n_envs: int = 1,
        optimize_memory_usage: bool = False,
    ) -> None:
        if optimize_memory_usage:
            raise SpaceError("PrefixReplayBuffer stores each prefix once anyway: leave optimize_memory_usage away")
        # The base class then makes no second array of observations; what else it does there is overridden below.
        super().__init__(buffer_size, observation_space, action_space, device, n_envs, True, False)
        self.optimize_memory_usage, self.handle_timeout_termination = False, True

    def add(
        self,
        obs: np.ndarray,
        next_obs: np.ndarray,
        action: np.ndarray,
        reward: np.ndarray,
        done: np.ndarray,
        infos: list[dict[str, Any]],
    ) -> None:
        """One step of all rows, as in the base class.

        Raises:
            SpaceError: an observation is not the one before and the chosen token.
        """
        action = np.asarray(action).reshape(self.n_envs)
        if not np.array_equal(extended(obs, action), next_obs):
            raise SpaceError(
                "PrefixReplayBuffer: an observation is not the one before plus the chosen token. "
                "Wrappers that change observations (frame stacks, normalisation) do not go with it"
            )
        step = self.pos
        self.observations[step], self.actions[step, :, 0] = obs, action
        self.rewards[step], self.dones[step] = reward, done
        self.timeouts[step] = [info.get("TimeLimit.truncated", False) for info in infos]
        self.full |= step + 1 == self.buffer_size
        self.pos = (step + 1) % self.buffer_size

    def _get_samples(self, batch_inds: np.ndarray, env: Any = None) -> ReplayBufferSamples:
        rows = np.random.randint(0, self.n_envs, len(batch_inds))
        observations, actions = self.observations[batch_inds, rows], self.actions[batch_inds, rows]
        ended = self.dones[batch_inds, rows] * (1 - self.timeouts[batch_inds, rows])
        rewards = self._normalize_reward(self.rewards[batch_inds, rows, None], env)
        after = extended(observations, actions[:, 0])
        return ReplayBufferSamples(*map(self.to_torch, (observations, actions, after, ended[:, None], rewards)))

    def sample_texts(self, steps: int, env: Any = None) -> TextSamples | None:
        """Texts that have ended, each as likely, with about so many steps together; None while there is none.

        Args:
            steps: the last text is the one that reaches them.
            env: a `VecNormalize`, whose rewards are normalised.
        """
        places = np.argwhere(self.dones[: self.buffer_size if self.full else self.pos])
        if not len(places):
            return None
        places = places[np.random.randint(0, len(places), steps)]
        counts = self._known_steps(places)
        texts = int(np.searchsorted(counts.cumsum(), steps)) + 1
        (last, rows), counts = places[:texts].T, counts[:texts]
        whole = extended(self.observations[last, rows], self.actions[last, rows, 0]).astype(np.int64)
        first = (whole >= 0).sum(1) - counts
        back = np.concatenate([np.arange(count)[::-1] for count in counts])
        where = (np.repeat(last, counts) - back) % self.buffer_size, np.repeat(rows, counts)
        segments = Segments(self.to_torch(whole.clip(min=0)), self.to_torch(first), self.to_torch(counts))
        ended = self.dones[where] * (1 - self.timeouts[where]) > 0
        return TextSamples(
            segments, self.to_torch(self._normalize_reward(self.rewards[where], env)), self.to_torch(ended)
        )

    def _known_steps(self, places: np.ndarray) -> np.ndarray:
        """How many steps of the texts that end at these (step, row) are there: back to the end of the one before."""
        counts = np.ones(len(places), np.int64)
        running = np.ones(len(places), bool)
        while running.any():
            step = (places[:, 0] - counts) % self.buffer_size
            kept = counts < (self.buffer_size if self.full else places[:, 0] + 1)
            if self.full:  # not past the oldest, which stands where the next one will
                kept &= (places[:, 0] - self.pos) % self.buffer_size >= counts
            running &= kept & (self.dones[step, places[:, 1]] == 0)
            counts += running
        return counts


def extended(prefixes: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Prefixes (N, L), padded with -1, with one token (N,) more."""
    longer: np.ndarray = prefixes.copy()
    longer[np.arange(len(prefixes)), (prefixes >= 0).sum(1)] = tokens
    return longer
