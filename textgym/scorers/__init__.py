"""Scorers: what a text is worth, and how such measures are put together.

Every registered scorer is an attribute of this package: ``from textgym import scorers as s; s.fluency(lm="ngram:4")``.
"""

import importlib
from typing import Any

from textgym.errors import UnknownNameError
from textgym.scorers.base import Scorer, register, registry
from textgym.scorers.catalogue import scorer_class, scorer_names

_LAZY = {
    "BoundScorer": "bound",
    "DEFAULT_REWARD": "spec",
    "Reward": "reward",
    "batch_of_texts": "plain",
    "bind_reward": "reward",
    "metric": "metrics",
    "parse": "spec",
    "resolve": "spec",
}  # public name -> the module that holds it

__all__ = ["Scorer", "register", "registry", "scorer_names", *_LAZY]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return scorer_class(name)
    except UnknownNameError as error:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}: {error}") from None


def __dir__() -> list[str]:
    return sorted({*__all__, *scorer_names()})
