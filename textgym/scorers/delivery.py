"""When a reward is paid: at the end, as the tokens come, or as a potential rises. The return is the same.

Let R be the reward of the finished text, and Phi(s) what those terms of it that can be known early say of the prefix s,
offset so that Phi = 0 at the beginning; Phi = 0 at the end too. A step from s to s' pays

    terminal    0,                        the last one R
    per_token   Phi(s') - Phi(s),         the last one R - Phi(s)
    shaped      gamma Phi(s') - Phi(s),   the last one R - Phi(s)

The last is potential-based shaping (Ng, Harada and Russell 1999): whatever Phi is, the best policy stays the best one.
At gamma = 1 all three sum to R, whatever is not additive in it (means, clip, gate); at gamma < 1 `per_token` is another
task, in which what comes early counts more. In `per_token` Phi holds the causal terms, in `shaped` also those that
score a prefix at the cost of reading it again. A reward without such terms is paid at the end, and so is a term whose
price moves (``lagrangian``).
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from textgym.errors import ScoringFailure, TaskError, did_you_mean
from textgym.scorers.algebra import Composite, Constant, Difference, Negative, Product, Sum
from textgym.scorers.base import Score, Scorer, Stream
from textgym.scorers.bound import score_leaf, walk
from textgym.scorers.reward import Reward
from textgym.types import Scores, TextBatch, TokenIds, Tokenizer

_log = logging.getLogger("textgym")

DELIVERIES = ("terminal", "per_token", "shaped")

Rows = Int64[np.ndarray, " N"]
Values = Float64[np.ndarray, " N"]


@dataclass(frozen=True, eq=False)
class Delivery:
    """When a reward is paid.

    Attributes:
        reward: bound to a task.
        kind: "terminal", "per_token" or "shaped"; see the module.
        gamma: the discount that "shaped" uses.
        terms: the parts of the sum that are known before the end, each with its weight.

    Raises:
        TaskError: no such kind.
    """

    reward: Reward
    kind: str = "terminal"
    gamma: float = 1.0
    terms: tuple[tuple[float, Scorer], ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in DELIVERIES:
            raise TaskError(
                f"delivery={self.kind!r}: allowed are {', '.join(map(repr, DELIVERIES))}. "
                f"{did_you_mean(str(self.kind), DELIVERIES)}"
            )
        if self.kind == "terminal":
            return
        known = {leaf for leaf in self.reward.bound.names if self.stream(leaf, 1) is not None}
        parts = [(w, term) for w, term in summands(self.reward.bound.scorer) if not term.moving]
        terms = tuple((w, term) for w, term in parts if known.issuperset(_leaves(term)))
        if not terms:
            _log.info("no term of %r is known before the end: it is all paid there", self.reward.text)
        object.__setattr__(self, "terms", terms)

    def stream(self, leaf: Scorer, rows: int) -> Stream | None:
        """Running scores of a leaf; None where it is paid at the end."""
        bound = self.reward.bound
        assert bound.context is not None
        if leaf.causal or self.kind == "shaped":
            stream = leaf.stream(rows, bound.context)
            if stream is not None:
                return stream
        if self.kind == "shaped" and leaf.prefix_scorable and "references" not in leaf.needs:
            name = bound.names[leaf]
            return _Rescored(name, bound.leaves[name], rows, bound.context.tokenizer)
        return None

    def payments(self, rows: int) -> "Payments | None":
        """The books of an environment of so many rows; None where nothing is paid before the end."""
        return Payments(self, rows) if self.terms else None


class Payments:
    """Phi of the prefix in each of B rows, and what a step pays. Everything in it follows from the prefixes."""

    def __init__(self, delivery: Delivery, rows: int) -> None:
        bound = delivery.reward.bound
        leaves = dict.fromkeys(leaf for _, term in delivery.terms for leaf in _leaves(term))
        self._bound, self._terms = bound, delivery.terms
        self._discount = delivery.gamma if delivery.kind == "shaped" else 1.0
        self._streams: dict[str, Stream] = {}
        for leaf in leaves:
            stream = delivery.stream(leaf, rows)
            assert stream is not None
            self._streams[bound.names[leaf]] = stream
        self._at_start, self._phi = np.zeros(rows), np.zeros(rows)

    def begin(self, rows: Rows, prompts: Sequence[TokenIds]) -> None:
        """New episodes in these rows."""
        values = {name: stream.begin(rows, prompts) for name, stream in self._streams.items()}
        self._at_start[rows] = self._sum(values, len(rows))
        self._phi[rows] = 0.0

    def pay(self, rows: Rows, tokens: Int64[np.ndarray, " N"]) -> Values:
        """What these rows earn by one more token that does not end them, (N,).

        Raises:
            ScoringFailure: a running score is not finite.
        """
        values = {name: stream.advance(rows, tokens) for name, stream in self._streams.items()}
        phi = self._sum(values, len(rows)) - self._at_start[rows]
        paid: Values = self._discount * phi - self._phi[rows]
        self._phi[rows] = phi
        return paid

    def rest(self, rows: Rows, rewards: Values) -> Values:
        """What is left of the rewards (N,) of finished texts."""
        left: Values = rewards - self._phi[rows]
        return left

    def rebuild(self, rows: Rows, prompts: Sequence[TokenIds], completions: Sequence[TokenIds]) -> None:
        """Brings rows to the end of these unfinished completions."""
        self.begin(rows, prompts)
        lengths = np.array([len(ids) for ids in completions], dtype=np.int64)
        for step in range(int(lengths.max(initial=0))):
            live = np.flatnonzero(lengths > step)
            self.pay(rows[live], np.array([completions[i][step] for i in live.tolist()], dtype=np.int64))

    def _sum(self, values: Mapping[str, Values], rows: int) -> Values:
        scores = {name: Scores(np.nan_to_num(column), ~np.isnan(column)) for name, column in values.items()}
        total = np.zeros(rows)
        with np.errstate(over="ignore", invalid="ignore"):  # told below
            for weight, term in self._terms:
                of_term = self._bound.evaluate(term, scores, rows)
                total += weight * np.where(of_term.valid, of_term.values, 0.0)
        if not np.isfinite(total).all():
            row = int(np.argmin(np.isfinite(total)))
            of_leaves = ", ".join(f"{name} {column[row]:g}" for name, column in values.items())
            raise ScoringFailure(f"the running reward of an unfinished text is {total[row]} ({of_leaves})")
        return total


class _Rescored:
    """Running scores of a scorer that reads each prefix anew."""

    def __init__(self, name: str, score: Score, rows: int, tokenizer: Tokenizer) -> None:
        self._name, self._score, self._tokenizer = name, score, tokenizer
        self._prompts: list[TokenIds] = [np.empty(0, dtype=np.int32)] * rows
        self._completions: list[list[int]] = [[] for _ in range(rows)]

    def begin(self, rows: Rows, prompts: Sequence[TokenIds]) -> Values:
        for row, prompt in zip(rows.tolist(), prompts, strict=True):
            self._prompts[row], self._completions[row] = prompt, []
        return self._scored(rows)

    def advance(self, rows: Rows, tokens: Int64[np.ndarray, " N"]) -> Values:
        for row, token in zip(rows.tolist(), tokens.tolist(), strict=True):
            self._completions[row].append(token)
        return self._scored(rows)

    def _scored(self, rows: Rows) -> Values:
        batch = TextBatch(
            [self._prompts[row] for row in rows],
            [np.array(self._completions[row], dtype=np.int32) for row in rows],
            self._tokenizer,
        )
        scores = score_leaf(self._name, self._score, batch)
        return np.where(scores.valid, scores.values, np.nan)


def summands(scorer: Scorer, weight: float = 1.0) -> Iterator[tuple[float, Scorer]]:
    """The terms of the sum that an expression is, with their weights; one that is no sum is its own only term."""
    match scorer:
        case Sum(left, right):
            yield from summands(left, weight)
            yield from summands(right, weight)
        case Difference(left, right):
            yield from summands(left, weight)
            yield from summands(right, -weight)
        case Negative(part):
            yield from summands(part, -weight)
        case Product(Constant(number), part) | Product(part, Constant(number)):
            yield from summands(part, weight * number)
        case Constant():
            pass  # no token earns it: it is paid at the end
        case _:
            yield weight, scorer


def _leaves(scorer: Scorer) -> list[Scorer]:
    return [node for node in walk(scorer) if not isinstance(node, Composite)]
