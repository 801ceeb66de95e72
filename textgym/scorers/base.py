"""What a scorer is: an immutable node of an expression, whose parameters are its dataclass fields.

A leaf measures texts; a composite (`textgym.scorers.algebra`) combines what its parts measured. A leaf that needs
nothing but the texts overrides `score`; one that needs a model overrides `prepare`. Everything else is inherited:
arithmetic, the text form, the signature, binding.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, cast, runtime_checkable

import numpy as np
from jaxtyping import Float64, Int64

from textgym.errors import ScorerError
from textgym.scorers.catalogue import register, registry
from textgym.scorers.parameters import parameters, show
from textgym.types import Scores, ScoringContext, TextBatch, TokenIds

if TYPE_CHECKING:
    from textgym.scorers.bound import BoundScorer

__all__ = ["Score", "Scorer", "Stream", "register", "registry"]

Score = Callable[[TextBatch], Scores]
"""What `prepare` returns: scores of a batch, with every model already in hand."""


@runtime_checkable
class Stream(Protocol):
    """Running scores of texts that grow token by token, at a cost that does not grow with them.

    The law: what it says after each token is what `score` says of the completion so far; NaN for "not applicable".
    """

    def begin(self, rows: Int64[np.ndarray, " N"], prompts: Sequence[TokenIds]) -> Float64[np.ndarray, " N"]:
        """Empties the completions in these rows of the stream; scores of the empty ones (N,)."""

    def advance(self, rows: Int64[np.ndarray, " N"], tokens: Int64[np.ndarray, " N"]) -> Float64[np.ndarray, " N"]:
        """Adds one token in each of these rows; scores (N,)."""


SUM, PRODUCT, UNARY, ATOM = range(4)
"""How tightly the text of a node binds: a part that binds less than its place asks for stands in parentheses."""


@dataclass(frozen=True)
class Scorer:
    """A measure of completions: B texts in, B numbers out.

    Class attributes (override by plain assignment in the class body):
        name: what `register` set; the name in expressions.
        version: raise it when results change; it is part of the signature.
        positional: how many leading parameters the text form writes without their names.
        formula: the definition in one line of plain text, for the catalogue.
        source: where the definition comes from: paper, section or equation.
        extra: the extra of textgym that brings a library it needs.
    """

    name: ClassVar[str] = ""
    version: ClassVar[int] = 1
    positional: ClassVar[int] = 0
    formula: ClassVar[str] = ""
    source: ClassVar[str] = ""
    extra: ClassVar[str] = ""
    __array_ufunc__ = None  # numpy scalars leave `np.float64(2) * scorer` to us

    def __post_init__(self) -> None:
        for parameter in parameters(type(self)):
            try:
                value = parameter.fit(getattr(self, parameter.name))
            except ValueError as error:
                raise ScorerError(f"{self.name or type(self).__name__}: {error}") from None
            object.__setattr__(self, parameter.name, value)

    @property
    def range(self) -> tuple[float, float]:
        """Lowest and highest value that any text can have."""
        return (-float("inf"), float("inf"))

    @property
    def unit(self) -> str:
        """Unit of the values, e.g. ``nats per token``; empty for plain numbers."""
        return ""

    @property
    def higher_is_better(self) -> bool:
        """Whether more of it is what a writer would want."""
        return True

    @property
    def causal(self) -> bool:
        """Whether what a token contributes depends on nothing after it."""
        return False

    @property
    def prefix_scorable(self) -> bool:
        """Whether the score of an unfinished text means something, so that shaped delivery may score each prefix."""
        return self.causal

    @property
    def needs(self) -> frozenset[str]:
        """What it takes beside the texts: ``references``, or from a context ``language model``, ``embedding``, ..."""
        return frozenset()

    @property
    def set_level(self) -> bool:
        """Whether a value belongs to a set of texts, so that it cannot be an episode's reward."""
        return False

    @property
    def essence(self) -> "Scorer":
        """The expression whose values, and so whose signature, these are: itself, but for a cache and its like."""
        return self

    @property
    def moving(self) -> bool:
        """Whether the value of a text changes while a policy is trained, so that nothing may keep it."""
        return False

    @property
    def component(self) -> str:
        """The short name under which values are reported."""
        return self.name

    def partial_in(self, context: ScoringContext | None) -> bool:
        """Whether some episode of the context may be "not applicable", so that a reward needs ``default(x, value)``."""
        return False

    def fingerprint(self, context: ScoringContext) -> str:
        """Signature of what this scorer takes from the context beyond the context's own; empty for most."""
        return ""

    def score(self, batch: TextBatch) -> Scores:
        """Scores of B completions: values (B,).

        Raises:
            ScorerError: the scorer needs something that only a context has.
        """
        raise self._unbound()

    def prepare(self, context: ScoringContext | None) -> Score:
        """Takes from the context what scoring needs, once, and returns the function that scores.

        Raises:
            ScorerError: the scorer needs a context and there is none.
        """
        if context is None and self.needs - {"references"}:
            raise self._unbound()
        return self.score

    def stream(self, rows: int, context: ScoringContext) -> Stream | None:
        """Running scores of `rows` texts for deliveries that pay token by token; None where only whole texts score."""
        return None

    def bind(self, context: ScoringContext | None) -> "BoundScorer":
        """This scorer with all that it needs in hand: what an environment pays by. None if it needs nothing."""
        from textgym.scorers.bound import bind

        return bind(self, context)

    def score_texts(
        self,
        texts: Sequence[str],
        prompts: Sequence[str] | None = None,
        references: Sequence[Sequence[str]] | None = None,
        context: ScoringContext | None = None,
    ) -> Float64[np.ndarray, " B"]:
        """Values of plain texts, shape (B,), NaN where not applicable.

        Args:
            texts: B completions.
            prompts: B prompts; empty ones if not given.
            references: for each text those that it may resemble.
            context: a task's; its tokenizer makes the tokens. Without one, tokens are words (or Chinese characters).
        """
        from textgym.scorers.plain import batch_of_texts

        tokenizer = None if context is None else context.tokenizer
        scores = self.bind(context).score(batch_of_texts(texts, prompts, references, tokenizer=tokenizer))
        return np.where(scores.valid, scores.values, np.nan)

    @property
    def signature(self) -> str:
        """The expression with the version and every parameter of each scorer: equal iff scores are comparable."""
        return self.render(full=True)

    @property
    def hash(self) -> str:
        """Of the signature, 16 hexadecimal digits: a short name for a file or a column."""
        return hashlib.sha256(self.signature.encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def to_spec(self) -> str:
        """The text form, for configurations; ``parse(scorer.to_spec()) == scorer``.

        Raises:
            ScorerError: the expression holds a function or a class that has no registered name.
        """
        from textgym.scorers.spec import check_serialises

        check_serialises(self)
        return str(self)

    def render(self, full: bool = False) -> str:
        """The text form; `full` adds the version and the parameters that are at their default."""
        shown, by_position = [], not full
        for index, parameter in enumerate(parameters(type(self))):
            value = getattr(self, parameter.name)
            if not (full or parameter.required) and value == parameter.default:
                by_position = False
                continue
            text = show(value, full)
            shown.append(text if by_position and index < self.positional else f"{parameter.name}={text}")
        name = self.name or type(self).__name__
        head = f"{name}.v{self.version}" if full else name
        return f"{head}({', '.join(shown)})" if shown else head

    @property
    def binding(self) -> int:
        """How tightly the text form binds."""
        return ATOM

    def __str__(self) -> str:
        return self.render()

    def __deepcopy__(self, memo: dict[int, Any]) -> "Scorer":
        return self

    def __add__(self, other: "Scorer | float") -> "Scorer":
        return _combine("Sum", self, other)

    def __radd__(self, other: float) -> "Scorer":
        return _combine("Sum", other, self)

    def __sub__(self, other: "Scorer | float") -> "Scorer":
        return _combine("Difference", self, other)

    def __rsub__(self, other: float) -> "Scorer":
        return _combine("Difference", other, self)

    def __mul__(self, other: "Scorer | float") -> "Scorer":
        return _combine("Product", self, other)

    def __rmul__(self, other: float) -> "Scorer":
        return _combine("Product", other, self)

    def __neg__(self) -> "Scorer":
        from textgym.scorers.algebra import Negative

        return Negative(self)

    def _unbound(self) -> ScorerError:
        wants = " and ".join(sorted(self.needs - {"references"})) or "score() of its own"
        return ScorerError(
            f"{self} needs {wants}: bind it to a task's context first, scorer.bind(context).score(batch), "
            "or pass context= to score_texts"
        )


def _combine(operator: str, left: "Scorer | float", right: "Scorer | float") -> Scorer:
    from textgym.scorers import algebra

    if not all(isinstance(side, Scorer) or algebra.is_number(side) for side in (left, right)):
        return cast(Scorer, NotImplemented)
    return cast(Scorer, getattr(algebra, operator)(algebra.lift(left), algebra.lift(right)))
