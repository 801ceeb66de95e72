"""What may be given as a reward: an expression, a mapping, a scorer, a function, a function in a file."""

import re
from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any

from textgym.errors import ScorerError
from textgym.scorers.algebra import OPERATORS
from textgym.scorers.around import Around
from textgym.scorers.base import Scorer
from textgym.scorers.bound import walk
from textgym.scorers.callables import CallableScorer, FileScorer
from textgym.scorers.catalogue import scorer_class, scorer_names, scorer_of_function
from textgym.scorers.grammar import parse
from textgym.scorers.metrics import Metric, is_metric, metric
from textgym.scorers.parameters import build, fit_all, list_parameters, parameters

__all__ = ["DEFAULT_REWARD", "RewardLike", "check_serialises", "parse", "resolve"]

DEFAULT_REWARD = (
    "clip(standard(fluency), -3, 2) + clip(standard(coherence), -3, 2) + clip(standard(informativeness), -3, 2)"
    " - repetition"
)
"""Total and bounded: unbounded surprisal alone would reward word salad."""

RewardLike = str | Mapping[str, Any] | Scorer | type[Scorer] | Callable[..., Any] | Metric
"""What may be given as a reward; see `resolve`."""

_FILE = re.compile(r"(?s).+\.py:[^\W\d]\w*")


def resolve(reward: RewardLike) -> Scorer:
    """The scorer that is meant by whatever was given as a reward.

    Args:
        reward: an expression; ``path/to/file.py:function``; a mapping ``{"scorer": "repetition", "n": 3}`` (where a
            parameter is a scorer, its value is anything that is allowed here; where it is several, a list of such); a
            scorer; a function; a metric of Hugging Face `evaluate`.

    Raises:
        SpecError: an expression that cannot be read.
        ScorerError: anything else that is no reward.
    """
    if isinstance(reward, Scorer):
        return reward
    if isinstance(reward, str):
        text = reward.strip()
        if _FILE.fullmatch(text):
            return FileScorer(text)
        if re.fullmatch(r"[\w./\\-]+\.py", text):
            raise ScorerError(f"{text} names no function: write {text}:FUNCTION")
        return parse(reward)
    if isinstance(reward, Mapping):
        return _from_mapping(reward)
    if isinstance(reward, type) and issubclass(reward, Scorer):
        return reward()
    if is_metric(reward):
        return metric(reward)
    if callable(reward):
        registered = scorer_of_function(reward) if getattr(reward, "__hash__", None) else None
        return registered() if registered else CallableScorer(reward)
    raise ScorerError(
        f"{reward!r} ({type(reward).__name__}) is no reward: give an expression, a mapping, a scorer, a function or "
        "'path/to/file.py:function'"
    )


def check_serialises(scorer: Scorer) -> None:
    """Raises ScorerError unless every scorer of the expression can be read back from its text form."""
    for node in walk(scorer):
        if isinstance(node, OPERATORS):
            continue
        if isinstance(node, Around):
            check_serialises(node.of)
        if node.name not in scorer_names() or scorer_class(node.name) is not type(node):
            raise ScorerError(
                f"{node} has no name that a configuration could hold: decorate it with "
                f"@textgym.scorers.register('{node.component or 'name'}'), or give it as 'path/to/file.py:function'"
            )


def _from_mapping(given: Mapping[str, Any]) -> Scorer:
    name = given.get("scorer")
    if not isinstance(name, str):
        raise ScorerError(f"{dict(given)!r} is no reward: a mapping holds the scorer's name, {{'scorer': NAME, ...}}")
    kind = scorer_class(name)
    takes_scorer = {p.name for p in parameters(kind) if p.takes_scorer}
    takes_scorers = {p.name for p in parameters(kind) if p.variadic}
    values = {key: value for key, value in given.items() if key != "scorer"}
    for key, value in values.items():
        if key in takes_scorer:
            values[key] = _part(value)
        elif key in takes_scorers and isinstance(value, list | tuple):
            values[key] = [_part(part) for part in value]
    try:
        values = fit_all(kind, values)
    except ValueError as error:
        raise ScorerError(str(error)) from None
    missing = [p.name for p in parameters(kind) if p.required and p.name not in values]
    if missing:
        raise ScorerError(f"{name} lacks {missing[0]!r}; it takes: {list_parameters(kind)}")
    return build(kind, values)


def _part(value: Any) -> Any:
    return value if isinstance(value, Real) else resolve(value)
