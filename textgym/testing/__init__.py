"""Conformance checks: the ones that our own tests run, for what you plug in. Each loads only what it checks."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from textgym.testing.envs import check_env, check_vector_env
    from textgym.testing.models import check_language_model
    from textgym.testing.networks import check_network
    from textgym.testing.scorers import check_scorer
    from textgym.testing.tasks import check_task
    from textgym.testing.tokenizers import check_tokenizer

__all__ = [
    "check_env",
    "check_language_model",
    "check_network",
    "check_scorer",
    "check_task",
    "check_tokenizer",
    "check_vector_env",
]

_HOMES = {
    "check_env": "envs",
    "check_language_model": "models",
    "check_network": "networks",
    "check_scorer": "scorers",
    "check_task": "tasks",
    "check_tokenizer": "tokenizers",
    "check_vector_env": "envs",
}


def __getattr__(name: str) -> Any:
    """Loads a check when it is first asked for (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'textgym.testing' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"textgym.testing.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
