"""A2C (Mnih et al. 2016): Stable-Baselines3's own, with settings that suit text."""

from pathlib import Path
from typing import Any

from stable_baselines3 import A2C
from stable_baselines3.common.vec_env import VecEnv

from textgym.sb3 import A2C_DEFAULTS
from textgym.sb3.agent import make_agent


def build(env: VecEnv, model: str | Path, **settings: Any) -> A2C:
    """An A2C agent that begins as the language model `model`; settings as in `textgym.sb3.agent.make_agent`."""
    return make_agent(A2C, A2C_DEFAULTS, env, model, **settings)
