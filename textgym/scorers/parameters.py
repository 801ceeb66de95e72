"""What a scorer's parameters are: read from its dataclass fields, checked by their annotations, printed as text."""

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

if TYPE_CHECKING:
    from textgym.scorers.base import Scorer


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One field of a scorer: its name, its annotation and its default (`dataclasses.MISSING` if it has none)."""

    name: str
    hint: Any
    default: Any

    @property
    def required(self) -> bool:
        """Whether there is no default."""
        return self.default is dataclasses.MISSING

    @property
    def takes_scorer(self) -> bool:
        """Whether the value is a scorer itself, as the first argument of ``clip`` is."""
        return any(_is_scorer_type(option) for option in _options(self.hint))

    @property
    def variadic(self) -> bool:
        """Whether it holds any number of scorers, as in ``ensemble``: they are given by position, not by name."""
        return _is_variadic(self.hint)

    @property
    def one(self) -> "Parameter":
        """What one of the scorers of a variadic parameter is fitted to."""
        return dataclasses.replace(self, hint=get_args(self.hint)[0])

    @property
    def takes_text(self) -> bool:
        """Whether the value is a string."""
        return any(option is str or get_origin(option) is Literal for option in _options(self.hint))

    def fit(self, value: object) -> Any:
        """The value as it is kept: a number for a float field as float, for a scorer field as a constant.

        Raises:
            ValueError: the value is not of the annotated type; the message says what the parameter takes.
        """
        for option in _options(self.hint):
            fits, kept = _fit(value, option)
            if fits:
                return kept
        raise ValueError(f"{self.name} takes {' or '.join(map(_describe, _options(self.hint)))}, not {value!r}")

    def __str__(self) -> str:
        if self.variadic:
            return f"*{self.name}"
        return self.name if self.required else f"{self.name}={show(self.default)}"


_KNOWN: dict[type, tuple[Parameter, ...]] = {}


def parameters(kind: type) -> tuple[Parameter, ...]:
    """The parameters of a scorer class, in the order in which they may be given by position."""
    if kind not in _KNOWN:
        hints = typing.get_type_hints(kind)
        fields = [field for field in dataclasses.fields(kind) if field.init]
        _KNOWN[kind] = tuple(Parameter(field.name, hints[field.name], field.default) for field in fields)
    return _KNOWN[kind]


def list_parameters(kind: "type[Scorer]") -> str:
    """The parameters of a scorer as a phrase for messages, e.g. ``n=4``; ``none`` if it has none."""
    return ", ".join(map(str, parameters(kind))) or "no parameters"


def fit_all(kind: "type[Scorer]", values: Mapping[str, object]) -> dict[str, Any]:
    """The values as they are kept, by name.

    Raises:
        ValueError: a name that is no parameter, or a value of another type.
    """
    known = {p.name: p for p in parameters(kind)}
    for name in values:
        if name not in known:
            raise ValueError(f"{kind.name} has no parameter {name!r}; it has: {list_parameters(kind)}")
    return {name: known[name].fit(value) for name, value in values.items()}


def build(kind: "type[Scorer]", values: Mapping[str, Any]) -> "Scorer":
    """The scorer with these values by name.

    Raises:
        ScorerError: the scorer refuses them.
    """
    by_name = dict(values)
    by_position = [part for p in parameters(kind) if p.variadic for part in by_name.pop(p.name, ())]
    return kind(*by_position, **by_name)


def show(value: object, full: bool = False) -> str:
    """A parameter's value as it stands in the text form; `full` is passed on to scorers."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "none"
    if isinstance(value, str):
        return _quote(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e16:
        return str(int(value))
    if isinstance(value, tuple) and value and all(hasattr(part, "render") for part in value):
        listed = ", ".join(show(part, full) for part in value)
        return f"({listed})" if full else listed
    if hasattr(value, "render"):
        return str(value.render(full=full))
    return repr(value)


_ESCAPES = str.maketrans({"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\f": "\\f", "\v": "\\v"})


def _quote(text: str) -> str:
    return f"'{text.translate(_ESCAPES)}'"


def _options(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (typing.Union, types.UnionType) else (hint,)


def _is_scorer_type(option: Any) -> bool:
    from textgym.scorers.base import Scorer

    return isinstance(option, type) and issubclass(option, Scorer)


def _is_variadic(option: Any) -> bool:
    kind, of = get_origin(option), get_args(option)
    return kind is tuple and len(of) == 2 and of[1] is Ellipsis and _is_scorer_type(of[0])


def _is_number(value: object, kind: type = Real) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def _fit(value: Any, option: Any) -> tuple[bool, Any]:
    """Whether a value fits one annotation, and what it is kept as."""
    if get_origin(option) is Literal:
        return value in get_args(option), value
    if option is type(None):
        return value is None, None
    if option is bool:
        return isinstance(value, bool), value
    if option is int:
        return (True, int(value)) if _is_number(value, Integral) else (False, None)
    if option is float:
        # + 0.0 turns -0.0 into 0.0: equal values have equal texts.
        return (True, float(value) + 0.0) if _is_number(value) and math.isfinite(value) else (False, None)
    if _is_scorer_type(option):
        from textgym.scorers.algebra import lift

        return (True, lift(value)) if isinstance(value, option) or _is_number(value) else (False, None)
    if _is_variadic(option):
        if not isinstance(value, tuple | list):
            return False, None
        fitted = [_fit(part, get_args(option)[0]) for part in value]
        return all(fits for fits, _ in fitted), tuple(kept for _, kept in fitted)
    return (isinstance(value, option), value) if isinstance(option, type) else (True, value)


_PHRASES = {bool: "true or false", int: "a whole number", float: "a finite number", str: "text in quotes"}


def _describe(option: Any) -> str:
    if get_origin(option) is Literal:
        return " or ".join(map(show, get_args(option)))
    if option is type(None):
        return "none"
    if _is_scorer_type(option):
        return "a scorer"
    if _is_variadic(option):
        return "scorers"
    return _PHRASES.get(option, getattr(option, "__name__", str(option)))
