"""Is this reward to be trusted? `check_reward` asks the usual questions of it, `attack` looks for ways to cheat it."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from textgym.audit.arena import Arena as Arena
    from textgym.audit.arena import arena_of_rollouts as arena_of_rollouts
    from textgym.audit.arena import arena_of_task as arena_of_task
    from textgym.audit.check import check_reward as check_reward
    from textgym.audit.exploits import Attack as Attack
    from textgym.audit.exploits import Exploit as Exploit
    from textgym.audit.exploits import attack as attack
    from textgym.audit.findings import Finding as Finding
    from textgym.audit.findings import Report as Report

_HOMES = {
    "Arena": "arena",
    "Attack": "exploits",
    "Exploit": "exploits",
    "Finding": "findings",
    "Report": "findings",
    "arena_of_rollouts": "arena",
    "arena_of_task": "arena",
    "attack": "exploits",
    "check_reward": "check",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    """The public name from the file that defines it."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
