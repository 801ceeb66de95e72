"""Stable-Baselines3 on text: a Transformer policy, episode buffers, a native VecEnv, settings and callbacks.

    PPO(TransformerPolicy, make_sb3_env("TextGen-v0", n_envs=64), policy_kwargs={"model": NAME_OR_DIR}, **PPO_DEFAULTS)

Names are imported when they are first used: whoever needs the environment alone does not load torch's network.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from textgym.sb3.buffers import EpisodeRolloutBuffer
    from textgym.sb3.callbacks import RewardLog
    from textgym.sb3.checkpoints import TrainingCheckpoint, resume
    from textgym.sb3.curriculum import BudgetCurriculum
    from textgym.sb3.defaults import A2C_DEFAULTS, PPO_DEFAULTS
    from textgym.sb3.dual_ascent import DualAscent
    from textgym.sb3.episode_log import EpisodeLog
    from textgym.sb3.extractor import TransformerExtractor
    from textgym.sb3.kl_control import RefreshReference
    from textgym.sb3.maskable import MASKABLE_PPO_DEFAULTS as MASKABLE_PPO_DEFAULTS
    from textgym.sb3.maskable import MaskableEpisodeRolloutBuffer as MaskableEpisodeRolloutBuffer
    from textgym.sb3.maskable import MaskableTransformerPolicy as MaskableTransformerPolicy
    from textgym.sb3.policies import TransformerPolicy
    from textgym.sb3.replay import PrefixReplayBuffer
    from textgym.sb3.text_buffer import WholeTextBuffer
    from textgym.sb3.vec_env import TextGenVecEnv, make_sb3_env
    from textgym.sb3.whole_texts import WholeTextAlgorithm

_HOMES = {
    "A2C_DEFAULTS": "defaults",
    "BudgetCurriculum": "curriculum",
    "DualAscent": "dual_ascent",
    "EpisodeLog": "episode_log",
    "EpisodeRolloutBuffer": "buffers",
    "MASKABLE_PPO_DEFAULTS": "maskable",
    "MaskableEpisodeRolloutBuffer": "maskable",
    "MaskableTransformerPolicy": "maskable",
    "PPO_DEFAULTS": "defaults",
    "RefreshReference": "kl_control",
    "PrefixReplayBuffer": "replay",
    "RewardLog": "callbacks",
    "TextGenVecEnv": "vec_env",
    "TrainingCheckpoint": "checkpoints",
    "TransformerExtractor": "extractor",
    "TransformerPolicy": "policies",
    "WholeTextAlgorithm": "whole_texts",
    "WholeTextBuffer": "text_buffer",
    "make_sb3_env": "vec_env",
    "resume": "checkpoints",
}

# Without what needs sb3-contrib: a star import works where that is not installed.
__all__ = [
    "A2C_DEFAULTS",
    "PPO_DEFAULTS",
    "BudgetCurriculum",
    "DualAscent",
    "EpisodeLog",
    "EpisodeRolloutBuffer",
    "PrefixReplayBuffer",
    "RefreshReference",
    "RewardLog",
    "TextGenVecEnv",
    "TrainingCheckpoint",
    "TransformerExtractor",
    "TransformerPolicy",
    "WholeTextAlgorithm",
    "WholeTextBuffer",
    "make_sb3_env",
    "resume",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(_HOMES)
