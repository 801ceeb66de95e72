"""Rewards as expressions: what composites have in common, constants, and ``+ - *``.

Each class is one node; `combine` is its arithmetic on the scores of its parts, and the only thing that differs.
Token contributions are passed on where they still sum to the value, that is through linear nodes, and dropped
elsewhere.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import ClassVar

import numpy as np

from textgym.errors import ScorerError
from textgym.scorers.base import ATOM, PRODUCT, SUM, UNARY, Scorer
from textgym.scorers.parameters import parameters, show
from textgym.types import Scores, ScoringContext, TextBatch

MAX_DEPTH = 50
"""Levels of an expression: far beyond any reward, far below the interpreter's own limit."""

Combine = Callable[[Sequence[Scores], int], Scores]
"""(scores of the parts, B) -> scores of the node."""


def is_number(value: object) -> bool:
    """Whether a value may stand as a constant; booleans may not."""
    return isinstance(value, Real) and not isinstance(value, bool)


def lift(value: "Scorer | float") -> Scorer:
    """A number as a `Constant`; a scorer as it is."""
    return value if isinstance(value, Scorer) else Constant(float(value))


@dataclass(frozen=True)
class Composite(Scorer):
    """A node that combines the scores of its parts: its fields of type `Scorer` and ``tuple[Scorer, ...]``."""

    def __post_init__(self) -> None:
        super().__post_init__()
        depth = 1 + max((getattr(part, "_depth", 0) for part in self.parts), default=0)
        if depth > MAX_DEPTH:
            raise ScorerError(f"an expression of more than {MAX_DEPTH} levels: split it, or weigh fewer scorers")
        object.__setattr__(self, "_depth", depth)

    @property
    def parts(self) -> tuple[Scorer, ...]:
        """The scorers that this one combines."""
        fields = (getattr(self, parameter.name) for parameter in parameters(type(self)))
        values = (value for field in fields for value in (field if isinstance(field, tuple) else (field,)))
        return tuple(value for value in values if isinstance(value, Scorer))

    def combine(self, parts: Sequence[Scores], rows: int) -> Scores:
        """Scores of the node (B = `rows`), given the scores of its parts."""
        raise NotImplementedError

    def combiner(self, context: ScoringContext | None) -> Combine:
        """`combine` with what the node takes from the context, once, at binding."""
        return self.combine

    @property
    def causal(self) -> bool:
        """Causal if all parts are."""
        return all(part.causal for part in self.parts)

    @property
    def needs(self) -> frozenset[str]:
        """What any part needs."""
        return frozenset().union(*(part.needs for part in self.parts))

    @property
    def set_level(self) -> bool:
        """True if any part is."""
        return any(part.set_level for part in self.parts)

    @property
    def moving(self) -> bool:
        """True if any part is."""
        return any(part.moving for part in self.parts)

    def partial_in(self, context: ScoringContext | None) -> bool:
        """True if any part is."""
        return any(part.partial_in(context) for part in self.parts)

    def score(self, batch: TextBatch) -> Scores:
        """Scores of B completions, where no part needs a context."""
        return self.bind(None).score(batch)


@dataclass(frozen=True)
class Constant(Composite):
    """The same number for every text."""

    value: float
    formula = "the number"
    source = ""
    name: ClassVar[str] = "constant"

    @property
    def range(self) -> tuple[float, float]:
        """The number itself."""
        return (self.value, self.value)

    @property
    def binding(self) -> int:
        """A minus sign binds as one."""
        return UNARY if self.value < 0 else ATOM

    def combine(self, parts: Sequence[Scores], rows: int) -> Scores:
        """The number in B rows."""
        return Scores(np.full(rows, self.value))

    def render(self, full: bool = False) -> str:
        """The number."""
        return show(self.value)


@dataclass(frozen=True)
class _Binary(Composite):
    """Two parts with an operator between them, evaluated from the left."""

    left: Scorer
    right: Scorer
    operator: ClassVar[str]
    level: ClassVar[int]

    @property
    def binding(self) -> int:
        """That of the operator."""
        return self.level

    def render(self, full: bool = False) -> str:
        """Left, operator, right, in parentheses only where the tree would change without them."""
        left, right = _enclosed(self.left, self.level, full), _enclosed(self.right, self.level + 1, full)
        return f"{left}{self.operator}{right}"


def _enclosed(part: Scorer, level: int, full: bool) -> str:
    part = part.essence if full else part
    text = part.render(full)
    return text if part.binding >= level else f"({text})"


@dataclass(frozen=True)
class Sum(_Binary):
    """Two parts added."""

    formula = "x + y"
    source = ""
    name: ClassVar[str] = "sum"
    operator: ClassVar[str] = " + "
    level: ClassVar[int] = SUM

    @property
    def range(self) -> tuple[float, float]:
        """Interval sum."""
        (a, b), (c, d) = self.left.range, self.right.range
        return (a + c, b + d)

    def combine(self, parts: Sequence[Scores], rows: int) -> Scores:
        """Row by row; tokens where both parts have them."""
        left, right = parts
        tokens = None if left.tokens is None or right.tokens is None else left.tokens + right.tokens
        return Scores(left.values + right.values, left.valid & right.valid, tokens)


@dataclass(frozen=True)
class Difference(_Binary):
    """One part less another."""

    formula = "x - y"
    source = ""
    name: ClassVar[str] = "difference"
    operator: ClassVar[str] = " - "
    level: ClassVar[int] = SUM

    @property
    def range(self) -> tuple[float, float]:
        """Interval difference."""
        (a, b), (c, d) = self.left.range, self.right.range
        return (a - d, b - c)

    def combine(self, parts: Sequence[Scores], rows: int) -> Scores:
        """Row by row; tokens where both parts have them."""
        left, right = parts
        tokens = None if left.tokens is None or right.tokens is None else left.tokens - right.tokens
        return Scores(left.values - right.values, left.valid & right.valid, tokens)


@dataclass(frozen=True)
class Product(_Binary):
    """One part times another; a weight where one of them is a number."""

    formula = "x * y"
    source = ""
    name: ClassVar[str] = "product"
    operator: ClassVar[str] = "*"
    level: ClassVar[int] = PRODUCT

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.left, Constant) and isinstance(self.right, Constant):
            raise ScorerError(f"{self} is a number times a number: write the product")

    @property
    def range(self) -> tuple[float, float]:
        """Interval product."""
        left, right = self.left.range, self.right.range
        corners = [_times(x, y) for x in left for y in right]
        return (min(corners), max(corners))

    def combine(self, parts: Sequence[Scores], rows: int) -> Scores:
        """Row by row; tokens where one side is a number."""
        left, right = parts
        tokens = None
        if isinstance(self.left, Constant) and right.tokens is not None:
            tokens = self.left.value * right.tokens
        elif isinstance(self.right, Constant) and left.tokens is not None:
            tokens = left.tokens * self.right.value
        return Scores(left.values * right.values, left.valid & right.valid, tokens)


def _times(x: float, y: float) -> float:
    return 0.0 if x == 0 or y == 0 else x * y  # an end of a range: 0 * inf is 0


@dataclass(frozen=True)
class Negative(Composite):
    """A part with its sign turned."""

    of: Scorer
    formula = "-x"
    source = ""
    name: ClassVar[str] = "negative"

    @property
    def range(self) -> tuple[float, float]:
        """The part's, turned round."""
        low, high = self.of.range
        return (-high, -low)

    @property
    def binding(self) -> int:
        """That of the sign."""
        return UNARY

    def combine(self, parts: Sequence[Scores], rows: int) -> Scores:
        """Row by row, tokens too."""
        (part,) = parts
        return Scores(-part.values, part.valid, None if part.tokens is None else -part.tokens)

    def render(self, full: bool = False) -> str:
        """A sign before the part; ``-(3)`` is the negative of 3, ``-3`` a number."""
        part = self.of.essence if full else self.of
        return f"-{_enclosed(part, ATOM + 1 if isinstance(part, Constant) else UNARY, full)}"


OPERATORS = (Constant, Sum, Difference, Product, Negative)
"""The nodes that are written without a name."""
