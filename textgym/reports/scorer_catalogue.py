"""docs/scorers.md: every scorer with its definition, made from the registry (`textgym list scorers --markdown`)."""

import inspect
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from textgym.errors import ScorerError
from textgym.scorers.algebra import OPERATORS, Composite
from textgym.scorers.around import Around
from textgym.scorers.base import Scorer, registry
from textgym.scorers.delivery import DELIVERIES
from textgym.scorers.parameters import parameters

_HEAD = """\
# Scorers

Every name that a reward expression may use. This page is made from the code: `make docs`.

Kind: a *token* scorer is causal and pays token by token; a *prefix* scorer may score an unfinished text, so that
`shaped` delivery can pay it early; a *text* scorer needs the whole text; a *set* scorer measures several texts
together, and is for `textgym score` and reports, never the reward of an episode. Kind, range, unit and needs are those
at the defaults. An *extra* is installed by `pip install 'textgym[EXTRA]'`.
"""

_NODES = """
## Algebra and delivery

Parts are written x, y; "of x" is as x has it. A delivery says when a reward is paid, not what it is: it is the
`delivery` of an environment, where Phi(s) is what those terms of the reward that can be known early say of the prefix
s, and R the reward of the finished text.
"""

_WORLDS = """
## Worlds

The exact truth about a text of the story world (`story-world.md`), for evaluation and to compare rewards with, and the
rewards of the micro worlds, which are solved exactly (`oracle.md`).
"""

_PAID = {
    "terminal": ("All at the end.", "0, at the end R", ""),
    "per_token": ("Causal terms as their tokens come.", "Phi(s') - Phi(s), at the end R - Phi(s)", ""),
    "shaped": (
        "Terms that score a prefix, as a potential.",
        "gamma Phi(s') - Phi(s), at the end R - Phi(s)",
        "Ng, Harada and Russell 1999",
    ),
}
_OPERATORS = {"constant": "2.5", "sum": "x + y", "difference": "x - y", "product": "x*y", "negative": "-x"}
_NONE = "-"


@dataclass(frozen=True)
class Entry:
    """What the catalogue says of a scorer.

    Attributes:
        name: in expressions.
        description: the first line of its docstring.
        parameters: each with its default.
        formula: the definition in one line.
        range: its ends; None where they depend on parameters or parts.
        unit: of the values; None where it depends.
        kind: ``token``, ``prefix``, ``text`` or ``set``; None where it depends.
        needs: what it takes beside the texts; None where it depends.
        source: paper and place; empty for plain arithmetic.
        extra: the extra that brings a library.
        node: whether it is made of other scorers.
        home: the module that defines it.
    """

    name: str
    description: str
    parameters: tuple[str, ...]
    formula: str
    range: tuple[float, float] | None
    unit: str | None
    kind: str | None
    needs: tuple[str, ...] | None
    source: str
    extra: str
    node: bool
    home: str


def entry(kind: type[Scorer]) -> Entry:
    """The entry of a scorer class."""
    taken = parameters(kind)
    one = _at_defaults(kind)
    said = {name: _known(one, name) for name in ("range", "unit", "needs", "set_level", "causal", "prefix_scorable")}
    needs = said["needs"]
    return Entry(
        kind.name,
        inspect.cleandoc(kind.__doc__ or "").partition("\n")[0],
        tuple(map(str, taken)),
        kind.formula,
        said["range"],
        said["unit"],
        _kind(said["set_level"], said["causal"], said["prefix_scorable"]),
        None if needs is None else tuple(sorted(needs)),
        kind.source,
        kind.extra,
        issubclass(kind, Composite | Around),
        kind.__module__,
    )


def entries(only_built_in: bool = False) -> list[Entry]:
    """The entries of all registered scorers.

    Args:
        only_built_in: whether those that users and other packages registered are left out.
    """
    found: Mapping[str, type[Scorer]] = registry()
    return [entry(kind) for kind in found.values() if not only_built_in or kind.__module__.startswith("textgym.")]


def catalogue_page() -> str:
    """The page, in Markdown."""
    known = entries(only_built_in=True)
    truths = [one for one in known if one.home.startswith("textgym.worlds")]
    nodes = [one for one in known if one.node]
    leaves = [one for one in known if one not in truths and one not in nodes]
    scorers = _table(
        ("scorer", "measures", "parameters", "formula", "range", "unit", "kind", "needs", "source"), map(_leaf, leaves)
    )
    algebra = _table(
        ("node", "gives", "parameters", "formula", "range", "unit", "source"),
        [*map(_operator, OPERATORS), *map(_node, nodes), *map(_delivery, DELIVERIES)],
    )
    worlds = _table(("scorer", "measures", "parameters", "formula", "range", "unit", "source"), map(_truth, truths))
    return "".join([_HEAD, "\n", scorers, _NODES, "\n", algebra, _WORLDS, "\n", worlds])


def _at_defaults(kind: type[Scorer]) -> Any:
    """A scorer of this class; the class itself, whose properties say nothing, if it does not do without parameters."""
    try:
        return kind if any(parameter.required for parameter in parameters(kind)) else kind()
    except ScorerError:
        return kind


def _known(one: Any, name: str) -> Any:
    """What a scorer, or a class, says of itself; None where only the objects of the class know."""
    value = getattr(one, name)
    if not isinstance(value, property):
        return value
    return getattr(Scorer(), name) if value is getattr(Scorer, name) else None


def _kind(set_level: bool | None, causal: bool | None, prefix_scorable: bool | None) -> str | None:
    if set_level:
        return "set"
    if causal:
        return "token"
    if causal is None or prefix_scorable is None:
        return None
    return "prefix" if prefix_scorable else "text"


def _leaf(one: Entry) -> Sequence[str]:
    needs = ", ".join([*(one.needs or ()), *([f"extra {one.extra}"] if one.extra else ())])
    unit = "by parameters" if one.unit is None else _text(one.unit)
    what = (_code(one.name), _text(one.description), _parameters(one), _code(one.formula))
    return (*what, _range(one.range, "by parameters"), unit, one.kind or "text", needs, _source(one))


def _node(one: Entry) -> Sequence[str]:
    unit = "of x" if one.unit is None else _text(one.unit)
    what = (_code(one.name), _text(one.description), _parameters(one), _code(one.formula))
    return (*what, _range(one.range, "by parts"), unit, _source(one))


def _operator(kind: type[Scorer]) -> Sequence[str]:
    written, description = _OPERATORS[kind.name], inspect.cleandoc(kind.__doc__ or "").partition("\n")[0]
    return (_code(written), _text(description), "", _code(kind.formula), "by parts", "", "arithmetic")


def _delivery(name: str) -> Sequence[str]:
    description, formula, source = _PAID[name]
    return (_code(f"delivery={name}"), _text(description), "", _code(formula), "", "", _text(source))


def _truth(one: Entry) -> Sequence[str]:
    parameters, range_, unit = _parameters(one), _range(one.range, "by parameters"), _text(one.unit or "")
    return (_code(one.name), _text(one.description), parameters, _code(one.formula), range_, unit, _text(one.source))


def _source(one: Entry) -> str:
    return _text(one.source) if one.source else "arithmetic"


def _parameters(one: Entry) -> str:
    """Long defaults are cut: `textgym list scorers` has them whole."""
    return _code(", ".join(text if len(text) < 40 else f"{text[:36]}..." for text in one.parameters))


def _range(ends: tuple[float, float] | None, otherwise: str) -> str:
    if ends is None:
        return otherwise
    low, high = ends
    return f"{f'[{low:.4g}' if math.isfinite(low) else '(-inf'}, {f'{high:.4g}]' if math.isfinite(high) else 'inf)'}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell or _NONE for cell in line)} |\n" for line in lines)


def _code(text: str) -> str:
    """Code in a cell: only the bar that would end the cell is escaped."""
    return f"`{text}`".replace("|", "\\|") if text else ""


def _text(text: str) -> str:
    """Prose in a cell: code in backticks stays code, whatever else Markdown would read as a mark is escaped."""
    parts = re.split(r"(``.+?``|`[^`]+`)", text)
    return "".join(
        _code(part.strip("`")) if part.startswith("`") else re.sub(r"([\\|*_<>\[\]`])", r"\\\1", part) for part in parts
    )
