"""Metrics of Hugging Face `evaluate` as scorers: METEOR, BERTScore, CIDEr and whatever else is computed as they are.

A metric is an object with ``compute(predictions=, references=)`` that returns a mapping of numbers. Most of them are
defined for a corpus; here each text is one.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from textgym.errors import ScoringFailure
from textgym.scorers.algebra import is_number
from textgym.scorers.callables import CallableScorer


@runtime_checkable
class Metric(Protocol):
    """What `evaluate.load` returns, as far as it is asked for here."""

    def compute(self, *, predictions: Any, references: Any) -> Any:
        """A mapping of numbers."""


def metric(module: Any, key: str | None = None, **options: Any) -> CallableScorer:
    """A scorer that computes a metric of each text with its references; not applicable where there are none.

    A single reference is handed over as text, several as a list.

    Args:
        module: what ``evaluate.load("meteor")`` returns, or anything with such a ``compute``.
        key: which of the numbers it returns; not needed where it is the only one or called as the metric is.
        options: further arguments of ``compute``, e.g. ``lang="en"`` of BERTScore.

    >>> from textgym.scorers import metric
    >>> import evaluate  # doctest: +SKIP
    >>> reward = 0.5 * metric(evaluate.load("meteor")) + 0.5  # doctest: +SKIP
    """
    name = str(getattr(module, "name", type(module).__name__))

    def compute(completion: str, references: Sequence[str]) -> float | None:
        if not references:
            return None
        given = references[0] if len(references) == 1 else list(references)
        found = module.compute(predictions=[completion], references=[given], **options)
        return _number_of(found, key or name, key is not None)

    compute.__name__ = compute.__qualname__ = name if key is None else f"{name}[{key}]"
    return CallableScorer(compute)


def is_metric(thing: object) -> bool:
    """Whether an object has a ``compute`` that takes ``predictions``."""
    compute: Callable[..., Any] | None = getattr(thing, "compute", None)
    if not callable(compute) or isinstance(thing, type):
        return False
    try:
        return "predictions" in inspect.signature(compute).parameters
    except (TypeError, ValueError):
        return False


def _number_of(found: object, key: str, chosen: bool) -> float:
    numbers = {name: _single(value) for name, value in found.items()} if isinstance(found, Mapping) else {}
    numbers = {name: value for name, value in numbers.items() if value is not None}
    if key in numbers:
        return float(numbers[key])
    if len(numbers) == 1 and not chosen:
        return float(next(iter(numbers.values())))
    there = ", ".join(map(repr, numbers)) or "no numbers"
    raise ScoringFailure(f"the metric returned {there}, and {key!r} is none of them: name one, metric(module, key=...)")


def _single(value: Any) -> Any:
    """A number, also from the list that metrics of single texts return; None for anything else."""
    if isinstance(value, list | tuple) and len(value) == 1:
        value = value[0]
    return value if is_number(value) else None
