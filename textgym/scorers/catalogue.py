"""Which scorers there are: the built-in ones, those that users register, and those that other packages bring."""

import importlib
import inspect
import warnings
from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, TypeVar, cast

from textgym.errors import ScorerError, UnknownNameError
from textgym.scorers.plugins import blamed, only

if TYPE_CHECKING:
    from textgym.scorers.base import Scorer

ENTRY_POINTS = "textgym.scorers"
RESERVED = ("true", "false", "none")

_BUILTIN = {
    "acceptability": "labels",
    "arithmetic": "equations",
    "bleu": "overlap",
    "brevity": "lengths",
    "cache": "caching",
    "call": "callables",
    "choice": "multiple_choice",
    "chrf": "overlap",
    "classifier": "trained",
    "clip": "transforms",
    "coherence": "cohesion",
    "compression_ratio": "diversity",
    "content_words": "function_words",
    "default": "transforms",
    "distinct": "ngrams",
    "ead": "ngrams",
    "ensemble": "several",
    "entity_grid": "ordering",
    "exact_match": "matching",
    "f1": "matching",
    "fluency": "likelihood",
    "gate": "conditions",
    "informativeness": "likelihood",
    "json": "json_text",
    "json_schema": "json_text",
    "judge": "judging",
    "keywords": "coverage",
    "lagrangian": "constrained",
    "length": "lengths",
    "lexicographic": "several",
    "numeric": "final_answer",
    "order": "ordering",
    "penalty": "conditions",
    "pmi": "likelihood_ratios",
    "preference": "trained",
    "product": "several",
    "pseudo_fluency": "pseudo_likelihood",
    "rank": "transforms",
    "regex": "patterns",
    "relevance": "likeness",
    "repetition": "ngrams",
    "rouge": "overlap",
    "self_bleu": "diversity",
    "sentiment": "labels",
    "slor": "likelihood_ratios",
    "slots": "meaning",
    "standard": "transforms",
    "ter": "overlap",
    "toxicity": "labels",
    "timeout": "time_limit",
    "unit": "quantities",
}  # name -> the module of this package that registers it; loaded on first use

_REGISTERED: "dict[str, type[Scorer]]" = {}
_FUNCTIONS: "dict[Callable[..., Any], type[Scorer]]" = {}

Registrable = TypeVar("Registrable", bound=Callable[..., Any])


def register(name: str) -> Callable[[Registrable], Registrable]:
    """Decorator that gives a scorer class, or a plain function, a name in reward expressions.

    A function is called as any reward function is (see `textgym.scorers.callables`); its keyword-only parameters
    become parameters of the scorer. What is decorated is returned unchanged.

    Args:
        name: an identifier, or some joined by dots, that no built-in scorer has. A name of your own may be registered
            again.

    Raises:
        ScorerError: the name cannot stand in an expression, or a built-in scorer has it, or this is no scorer.
    """

    def decorate(scorer: Registrable) -> Registrable:
        _keep(name, scorer)
        return scorer

    return decorate


def scorer_class(name: str) -> "type[Scorer]":
    """The class that is registered under a name.

    Raises:
        UnknownNameError: no such scorer; the nearest name is offered.
        ScorerError: another package brings it, and cannot be loaded.
    """
    if name not in _REGISTERED:
        if name in _BUILTIN:
            importlib.import_module(f"{__package__}.{_BUILTIN[name]}")
        elif name in _plugins():
            point = only("scorer", _plugins()[name], ScorerError)
            with blamed("scorer", point, ScorerError):
                found = point.load()
                if name not in _REGISTERED:  # a plug-in may also call `register` itself
                    _keep(name, found)
        else:
            raise UnknownNameError("scorer", name, scorer_names())
    return _REGISTERED[name]


def scorer_of_function(function: Callable[..., Any]) -> "type[Scorer] | None":
    """The scorer class that `register` made of a function; None if it was never registered."""
    return _FUNCTIONS.get(function)


def scorer_names() -> list[str]:
    """All names, sorted; loads no scorer."""
    return sorted({*_BUILTIN, *_REGISTERED, *_plugins()})


def registry() -> "Mapping[str, type[Scorer]]":
    """All scorer classes by name, sorted; loads the files that hold them.

    What another package brings and cannot be loaded is left out, with a RuntimeWarning.
    """
    found = {name: _class_or_warning(name) for name in scorer_names()}
    return {name: kind for name, kind in found.items() if kind is not None}


def _class_or_warning(name: str) -> "type[Scorer] | None":
    try:
        return scorer_class(name)
    except ScorerError as error:
        warnings.warn(str(error), RuntimeWarning, stacklevel=4)
        return None


@lru_cache(maxsize=1)
def _plugins() -> Mapping[str, list[EntryPoint]]:
    found: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=ENTRY_POINTS):
        found.setdefault(point.name, []).append(point)
    return found


def _keep(name: str, scorer: Any) -> None:
    """Puts a scorer into the catalogue, if it is one."""
    if not all(part.isidentifier() for part in name.split(".")) or name.lower() in RESERVED:
        raise ScorerError(
            f"register({name!r}): a scorer's name is an identifier, or some joined by dots, and none of "
            f"{', '.join(RESERVED)}"
        )
    _check_kind(name, scorer)
    home = _BUILTIN.get(name)
    if home is not None and scorer.__module__ != f"{__package__}.{home}":
        raise ScorerError(f"register({name!r}): a built-in scorer has this name; choose another")
    if inspect.isclass(scorer):
        kind = cast("type[Scorer]", scorer)
    else:
        from textgym.scorers.callables import scorer_class_of

        kind = _FUNCTIONS[scorer] = scorer_class_of(scorer, name)
    kind.name = name
    _REGISTERED[name] = kind


def _check_kind(name: str, scorer: Any) -> None:
    from textgym.scorers.base import Scorer

    if not callable(scorer) or (inspect.isclass(scorer) and not issubclass(scorer, Scorer)):
        raise ScorerError(
            f"register({name!r}): {scorer!r} is no scorer: a function, or a class that extends textgym.scorers.Scorer"
        )
    own = inspect.get_annotations(scorer) if inspect.isclass(scorer) else {}
    lost = [field for field, hint in own.items() if "ClassVar" not in str(hint)]
    if lost and "__dataclass_fields__" not in vars(scorer):
        raise ScorerError(
            f"register({name!r}): {', '.join(lost)} would be lost: write @dataclass(frozen=True) below @register"
        )
