"""Rewards out to other libraries, and their environments' manners: one file a library, one reward behind them all.

    from textgym.interop import to_trl
    trainer = GRPOTrainer(model, reward_funcs=to_trl("fluency - repetition", task="docstrings"), ...)

Names are imported when they are first used; none of the libraries is needed to make an export.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from textgym.interop.export import export_source
    from textgym.interop.openrlhf import OpenRLHFReward
    from textgym.interop.portable_reward import PortableReward, portable
    from textgym.interop.reasoning_gym import ReasoningGym
    from textgym.interop.service import reward_server
    from textgym.interop.spans import move
    from textgym.interop.trl import TRLReward, to_trl
    from textgym.interop.verifiers import VerifiersReward, to_verifiers
    from textgym.interop.verl import VerlReward, VerlRewardManager

_HOMES = {
    "OpenRLHFReward": "openrlhf",
    "PortableReward": "portable_reward",
    "ReasoningGym": "reasoning_gym",
    "TRLReward": "trl",
    "VerifiersReward": "verifiers",
    "VerlReward": "verl",
    "VerlRewardManager": "verl",
    "export_source": "export",
    "move": "spans",
    "portable": "portable_reward",
    "reward_server": "service",
    "to_trl": "trl",
    "to_verifiers": "verifiers",
}

__all__ = [
    "OpenRLHFReward",
    "PortableReward",
    "ReasoningGym",
    "TRLReward",
    "VerifiersReward",
    "VerlReward",
    "VerlRewardManager",
    "export_source",
    "move",
    "portable",
    "reward_server",
    "to_trl",
    "to_verifiers",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
