"""MaskablePPO (Huang & Ontanon 2022): sb3-contrib's own, for tasks that say which tokens may come next."""

from pathlib import Path
from typing import Any

from stable_baselines3.common.vec_env import VecEnv

from textgym.errors import MissingExtraError
from textgym.sb3.agent import make_agent

try:
    from sb3_contrib import MaskablePPO
except ImportError as error:
    raise MissingExtraError("sb3-contrib", "contrib", "MaskablePPO") from error

from textgym.sb3.maskable import MASKABLE_PPO_DEFAULTS, MaskableTransformerPolicy


def build(env: VecEnv, model: str | Path, **settings: Any) -> MaskablePPO:
    """A MaskablePPO agent that begins as the language model `model`; settings as in `textgym.sb3.agent.make_agent`.

    Rollout, log-probability, entropy and KL are those of the distribution over the tokens that the environment allows.

    Raises:
        MissingExtraError: sb3-contrib is not installed.
    """
    masked = {"policy_class": MaskableTransformerPolicy, **settings}
    return make_agent(MaskablePPO, MASKABLE_PPO_DEFAULTS, env, model, **masked)
