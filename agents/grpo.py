"""GRPO (Shao et al. 2024, section 4.1): a clipped ratio as in PPO, and the group's mean in the critic's place.

    A_i = (R_i - mean R) / std R                                                          (section 4.1.2)
    J = 1/G sum_i 1/|o_i| sum_t [min(r_it A_i, clip(r_it, 1 - eps, 1 + eps) A_i) - beta KL_it]      (eq. 3)

with the ratio r_it = pi(a_it|s_it) / pi_old(a_it|s_it), and the KL by k3 in the loss (eq. 4). Variants: without the
standard deviation, and tokens summed, not averaged over each text (Dr. GRPO, Liu et al. 2025); tokens averaged over all
texts alike, and a clip range that is wider above (DAPO, Yu et al. 2025).
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, RolloutBufferSamples, Schedule
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor
from typing_extensions import Unpack

from textgym.errors import TaskError
from textgym.sb3.advantages import Steps, group_standardised, returns_to_go
from textgym.sb3.agent import make_agent, needs
from textgym.sb3.text_buffer import WholeTextBuffer
from textgym.sb3.whole_texts import WholeTextAlgorithm, WholeTextSettings


class GRPO(WholeTextAlgorithm):
    """GRPO with Stable-Baselines3's interface.

    Args:
        policy: a `TransformerPolicy`.
        env: from `make_sb3_env(..., autoreset=False, group_size=8)`.
        learning_rate: of Adam.
        clip_range: eps.
        clip_range_high: eps above 1, where it is another; None for the same.
        scale_advantages: whether advantages are divided by the group's standard deviation. It makes a prompt whose
            texts differ little count as much as any other, and the gradient that of another objective.
        aggregate: "sequence_mean", the paper's, by which a token of a long text counts less; "token_mean" (DAPO);
            "token_sum" (Dr. GRPO), which alone has no bias of length.
        **settings: see `WholeTextAlgorithm`.

    Raises:
        TaskError: groups of one, a clip range that is none; see `WholeTextAlgorithm`.
    """

    MIN_GROUP = 2

    def __init__(
        self,
        policy: str | type[BasePolicy],
        env: GymEnv | str,
        learning_rate: float | Schedule = 1e-4,
        clip_range: float = 0.2,
        clip_range_high: float | None = None,
        scale_advantages: bool = True,
        aggregate: str = "sequence_mean",
        **settings: Unpack[WholeTextSettings],
    ) -> None:
        high = clip_range if clip_range_high is None else clip_range_high
        if not (0 < clip_range < 1 and high > 0):
            raise TaskError(f"clip_range={clip_range}, clip_range_high={high}: both above 0, the first one below 1")
        self.clip_range, self.clip_range_high, self.scale_advantages = clip_range, high, scale_advantages
        super().__init__(policy, env, learning_rate, aggregate=aggregate, **settings)

    def advantages(self, buffer: WholeTextBuffer) -> Steps:
        """The text's return in units of its group, the same in each step."""
        returns = returns_to_go(buffer.rewards, self.gamma)[:1]
        found = group_standardised(returns, self.group_size, buffer.valid, std=self.scale_advantages)
        return np.broadcast_to(found, buffer.rewards.shape)

    def surrogate(self, logprobs: Float[Tensor, " N"], sample: RolloutBufferSamples) -> Float[Tensor, " N"]:
        """The clipped ratio times the advantage (Schulman et al. 2017, eq. 7)."""
        ratio = (logprobs - sample.old_log_prob).exp()
        clipped = ratio.clamp(1 - self.clip_range, 1 + self.clip_range_high)
        return torch.minimum(ratio * sample.advantages, clipped * sample.advantages)


DEFAULTS: dict[str, Any] = {"kl_in": "loss", "kl_estimator": "k3", "n_epochs": 4, "batch_size": 1024}
"""Settings for text: the paper's KL; four passes over a rollout, as PPO's here: else there is nothing to clip."""


@needs(autoreset=False, group_size=8)
def build(env: VecEnv, model: str | Path, **settings: Any) -> GRPO:
    """A GRPO agent that begins as the language model `model`; settings as in `textgym.sb3.agent.make_agent`."""
    return make_agent(GRPO, DEFAULTS, env, model, **settings)
