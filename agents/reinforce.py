"""REINFORCE (Williams 1992): the policy gradient, as it is defined.

    grad J = E[sum_t grad log pi(a_t|s_t) R(tau)]

With reward-to-go, R(tau) gives way to what is paid from step t on, since what was paid before does not depend on a_t
(Sutton et al. 2000); a baseline that does not depend on a_t either is subtracted. Neither changes the expectation, both
lower the variance.
"""

from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, Schedule
from stable_baselines3.common.vec_env import VecEnv
from typing_extensions import Unpack

from textgym.errors import TaskError, did_you_mean
from textgym.sb3.advantages import Steps, batch_mean, discounts, leave_one_out, returns_to_go
from textgym.sb3.agent import make_agent, needs
from textgym.sb3.text_buffer import WholeTextBuffer
from textgym.sb3.whole_texts import WholeTextAlgorithm, WholeTextSettings

BASELINES = ("none", "mean", "value", "leave_one_out")


class REINFORCE(WholeTextAlgorithm):
    """REINFORCE with Stable-Baselines3's interface: one gradient step a rollout, of all of its texts.

    Args:
        policy: a `TransformerPolicy`.
        env: from `make_sb3_env(..., autoreset=False)`.
        learning_rate: of Adam.
        reward_to_go: whether a step is credited with what is paid from it on alone.
        baseline: "none"; "mean" of all texts of the rollout, step by step, which lets a text be its own baseline and so
            shrinks the gradient by 1/B; "leave_one_out", the mean of the other texts of its prompt, or, where prompts
            are not shared, of the other texts of the rollout; "value", a learned V(s).
        **settings: see `WholeTextAlgorithm`; gradients are not clipped by default, as in the definition.

    Raises:
        TaskError: an unknown baseline; see `WholeTextAlgorithm`.
    """

    def __init__(
        self,
        policy: str | type[BasePolicy],
        env: GymEnv | str,
        learning_rate: float | Schedule = 3e-4,
        reward_to_go: bool = True,
        baseline: str = "leave_one_out",
        **settings: Unpack[WholeTextSettings],
    ) -> None:
        if baseline not in BASELINES:
            raise TaskError(f"no baseline {baseline!r}. {did_you_mean(baseline, BASELINES)}")
        self.reward_to_go, self.baseline = reward_to_go, baseline
        self.critic = baseline == "value"
        settings.setdefault("max_grad_norm", None)
        super().__init__(policy, env, learning_rate, **settings)

    def advantages(self, buffer: WholeTextBuffer) -> Steps:
        """gamma^t (G_t - b_t), where G_t is the return from step t on, or that of the whole text."""
        to_go = returns_to_go(buffer.rewards, self.gamma)
        buffer.returns = to_go
        weights, whole = discounts(len(to_go), self.gamma), to_go[:1]
        found: Steps
        if self.reward_to_go:
            found = weights * (to_go - self._baseline(to_go, buffer))
        elif self.critic:  # R(tau) = sum_t gamma^t r_t is discounted from the start already, V(s_t) is not
            found = whole - weights * buffer.values
        else:
            found = np.broadcast_to(whole - self._baseline(whole, buffer), to_go.shape)
        return found

    def _baseline(self, values: Steps, buffer: WholeTextBuffer) -> Steps:
        match self.baseline:
            case "mean":
                return batch_mean(values, buffer.valid)
            case "leave_one_out":
                group = buffer.group_size if buffer.group_size > 1 else buffer.n_envs
                return leave_one_out(values, group, buffer.valid)
            case "value":
                return buffer.values
        return np.zeros_like(values)


@needs(autoreset=False)
def build(env: VecEnv, model: str | Path, **settings: Any) -> REINFORCE:
    """A REINFORCE agent that begins as the language model `model`; settings as in `textgym.sb3.agent.make_agent`."""
    return make_agent(REINFORCE, {}, env, model, **settings)
