"""RLOO (Kool et al. 2019; Ahmadian et al. 2024): REINFORCE of whole texts, each against the others of its prompt.

    grad J = 1/G sum_i (R_i - 1/(G-1) sum_(j != i) R_j) grad log pi(text_i)     (Ahmadian et al. 2024, section 3.2)

A text is one action, and R_i is its whole return, the KL penalty included where that is paid in the reward.
"""

from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv

from textgym.sb3.advantages import Steps, leave_one_out, returns_to_go
from textgym.sb3.agent import make_agent, needs
from textgym.sb3.text_buffer import WholeTextBuffer
from textgym.sb3.whole_texts import WholeTextAlgorithm


class RLOO(WholeTextAlgorithm):
    """RLOO with Stable-Baselines3's interface; arguments as in `WholeTextAlgorithm`.

    By default one gradient step a rollout, of all of its texts: the expectation is that of the policy gradient.
    """

    MIN_GROUP = 2

    def advantages(self, buffer: WholeTextBuffer) -> Steps:
        """R_i less the mean of the others of its group, the same in each step."""
        returns = returns_to_go(buffer.rewards, self.gamma)[:1]
        found = returns - leave_one_out(returns, self.group_size, buffer.valid)
        return np.broadcast_to(found, buffer.rewards.shape)


DEFAULTS: dict[str, Any] = {"learning_rate": 3e-4, "max_grad_norm": None}
"""Settings for text."""


@needs(autoreset=False, group_size=8)
def build(env: VecEnv, model: str | Path, **settings: Any) -> RLOO:
    """An RLOO agent that begins as the language model `model`; settings as in `textgym.sb3.agent.make_agent`."""
    return make_agent(RLOO, DEFAULTS, env, model, **settings)
