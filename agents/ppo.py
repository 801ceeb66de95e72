"""PPO (Schulman et al. 2017): Stable-Baselines3's own, with settings that suit text."""

from pathlib import Path
from typing import Any

from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecEnv

from textgym.sb3 import PPO_DEFAULTS
from textgym.sb3.agent import make_agent


def build(env: VecEnv, model: str | Path, **settings: Any) -> PPO:
    """A PPO agent that begins as the language model `model`; settings as in `textgym.sb3.agent.make_agent`."""
    return make_agent(PPO, PPO_DEFAULTS, env, model, **settings)
