"""MaskablePPO of sb3-contrib on a language model whose task says which tokens may come next.

    MaskablePPO(MaskableTransformerPolicy, make_sb3_env(...), policy_kwargs={"model": ...}, **MASKABLE_PPO_DEFAULTS)

Huang & Ontanon 2022 ("A Closer Look at Invalid Action Masking in Policy Gradient Algorithms"): the policy is the
distribution over the allowed tokens, in the rollout as in the update. Its own buffer holds masks as float32, 823 MB for
64 rows of 64 steps at V = 50,257; here they are bits, 26 MB, and are unpacked a chunk of steps at a time.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from textgym.errors import MissingExtraError, TaskError
from textgym.models.masks import PackedMasks, pack
from textgym.sb3.buffers import EpisodeRolloutBuffer
from textgym.sb3.defaults import PPO_DEFAULTS
from textgym.sb3.policies import TransformerActorCritic

try:
    from sb3_contrib.common.maskable.buffers import MaskableRolloutBuffer, MaskableRolloutBufferSamples
    from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
except ImportError as error:
    raise MissingExtraError("sb3-contrib", "contrib", "MaskablePPO") from error


class MaskableTransformerPolicy(TransformerActorCritic, MaskableActorCriticPolicy):
    """`TransformerPolicy` for MaskablePPO: the same arguments, network, caches and saved files.

    `predict(observation, action_masks=...)` takes masks (V,) or (B, V) of bools; without them every token may come
    that the model does not ban itself. A mask that allows only tokens that the model bans is obeyed all the same.
    """


class MaskableEpisodeRolloutBuffer(EpisodeRolloutBuffer, MaskableRolloutBuffer):  # type: ignore[misc]
    """`EpisodeRolloutBuffer` for MaskablePPO, with the same arguments: a bit for each step and token beside it.

    The reference of the KL penalty is masked too: log pi(a | allowed) - log pi_ref(a | allowed). So an agent that is
    still its reference pays nothing, and in every state the expected penalty is a KL divergence, never below 0. An
    unmasked reference would take -beta log pi_ref(allowed) off every step, whatever the agent chooses there, and so
    reward states in which the constraint forbids little.

    Attributes:
        masks: (steps, rows, W) the bits, see `textgym.models.masks`; None while no step had a mask.
    """

    masks: np.ndarray | None

    def reset(self) -> None:
        """Makes room for a rollout.

        Raises:
            TaskError: a rollout of a single step.
        """
        super().reset()
        if self.buffer_size * self.n_envs < 2:
            raise TaskError(
                "a rollout of one step has no standard deviation, which MaskablePPO divides its advantages by: "
                "n_steps x n_envs must be at least 2"
            )
        self.masks = None

    def add(self, *args: Any, action_masks: np.ndarray | None = None, **kwargs: Any) -> None:
        """One step of all rows; `action_masks` (B, V) says which tokens were allowed, None that all were."""
        step = self.pos
        super().add(*args, **kwargs)
        if action_masks is None:
            return
        bits = pack(np.asarray(action_masks, bool).reshape(self.n_envs, -1))
        if self.masks is None:
            self.masks = np.full((self.buffer_size, *bits.shape), 255, np.uint8)
        self.masks[step] = bits

    def _masks(self, steps: tuple[np.ndarray, np.ndarray]) -> PackedMasks | None:
        if self.masks is None:
            return None
        return PackedMasks(torch.as_tensor(self.masks[steps], device=self.device), int(self.action_space.n))  # type: ignore[attr-defined]

    def _batches(self, order: np.ndarray, batch_size: int) -> list[list[int]]:
        """As in the base class; a single step, should no more be left, stands twice: see `reset`."""
        batches = super()._batches(order, batch_size)
        return [[*order, *order]] if len(order) == 1 and self._spans[order[0]][1] == 1 else batches

    def _sample(self, indices: Sequence[int]) -> MaskableRolloutBufferSamples:  # type: ignore[override]
        masks: Any = self._masks(self._steps(indices))  # MaskablePPO hands them on without a look
        return MaskableRolloutBufferSamples(*super()._sample(indices), masks)


MASKABLE_PPO_DEFAULTS: dict[str, Any] = {**PPO_DEFAULTS, "rollout_buffer_class": MaskableEpisodeRolloutBuffer}
"""Keyword arguments for MaskablePPO: those of PPO, with the buffer that holds masks."""
