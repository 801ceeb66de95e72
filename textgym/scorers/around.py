"""The common part of nodes that stand around a whole expression and change how it is computed, not what it is."""

from collections.abc import Callable
from dataclasses import dataclass

from textgym.errors import ScorerError
from textgym.scorers.algebra import MAX_DEPTH, Composite
from textgym.scorers.base import Score, Scorer
from textgym.scorers.bound import BoundScorer, component_names
from textgym.types import Scores, ScoringContext, TextBatch


@dataclass(frozen=True)
class Around(Scorer):
    """A leaf made of an expression, which it binds and scores as a whole.

    Values, range and signature are those of the expression; what the scorers inside say one by one is not reported.

    Args:
        of: the expression.
    """

    of: Scorer
    positional = 1
    source = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        depth = 1 + getattr(self.of, "_depth", 0)
        if depth > MAX_DEPTH:
            raise ScorerError(f"an expression of more than {MAX_DEPTH} levels: split it, or weigh fewer scorers")
        if self.of.moving:
            raise ScorerError(f"{self}: the price of a lagrangian moves; put {self.name} around the other terms")
        object.__setattr__(self, "_depth", depth)

    def around(self, bound: BoundScorer) -> Callable[[TextBatch], Scores]:
        """What scores in place of the bound expression."""
        raise NotImplementedError

    @property
    def range(self) -> tuple[float, float]:
        """The expression's."""
        return self.of.range

    @property
    def unit(self) -> str:
        """The expression's."""
        return self.of.unit

    @property
    def higher_is_better(self) -> bool:
        """As the expression has it."""
        return self.of.higher_is_better

    @property
    def prefix_scorable(self) -> bool:
        """As the expression has it."""
        return self.of.prefix_scorable

    @property
    def needs(self) -> frozenset[str]:
        """What the expression needs."""
        return self.of.needs

    @property
    def set_level(self) -> bool:
        """As the expression has it."""
        return self.of.set_level

    @property
    def component(self) -> str:
        """That of a single scorer; else the text of the node."""
        return str(self) if isinstance(self.of, Composite) else self.of.component

    def partial_in(self, context: ScoringContext | None) -> bool:
        """As the expression has it."""
        return self.of.partial_in(context)

    def fingerprint(self, context: ScoringContext) -> str:
        """What the scorers inside take from the context."""
        prints = dict.fromkeys(leaf.fingerprint(context) for leaf in component_names(self.of))
        return " @ ".join(filter(None, prints))

    def prepare(self, context: ScoringContext | None) -> Score:
        """Binds the expression."""
        return self.around(self.of.bind(context))

    def score(self, batch: TextBatch) -> Scores:
        """Scores of B completions, where nothing inside needs a context."""
        return self.prepare(None)(batch)

    @property
    def essence(self) -> Scorer:
        """The expression's."""
        return self.of.essence

    def render(self, full: bool = False) -> str:
        """The text form; the full one is the expression's own, since the values are."""
        return self.essence.render(full=True) if full else super().render()
