"""A time limit around a scorer that may be slow: what takes too long is an error, neither a hang nor a 0."""

from collections.abc import Callable
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from functools import partial

from textgym.errors import ScorerError, ScoringFailure
from textgym.scorers.around import Around
from textgym.scorers.base import register
from textgym.scorers.bound import BoundScorer
from textgym.scorers.waiting import in_a_thread
from textgym.types import Scores, TextBatch


@register("timeout")
@dataclass(frozen=True)
class Timeout(Around):
    """The values of an expression, or an error where a batch of texts takes longer than `seconds`.

    Python cannot stop a thread: what took too long goes on behind the error until it ends by itself, or with the
    process. It suits a function that waits for something; code that computes without end should run in a process of
    its own, which you can end. The scorers ``regex`` and ``judge`` stop by themselves and need no limit around them.

    Args:
        of: the expression.
        seconds: that one call, of however many texts, may take.
    """

    seconds: float = 60.0
    positional = 2
    formula = "x"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.seconds <= 0:
            raise ScorerError(f"timeout(seconds={self.seconds:g}): a call is given more than 0 seconds")

    def around(self, bound: BoundScorer) -> Callable[[TextBatch], Scores]:
        """The expression in a thread that is waited for."""
        return partial(self._measure, bound)

    def _measure(self, bound: BoundScorer, batch: TextBatch) -> Scores:
        future = in_a_thread(partial(bound.score, batch))
        try:
            return future.result(self.seconds)
        except FutureTimeoutError:
            if future.done():
                raise  # the scorer's own
            raise ScoringFailure(f"{self.of} took more than {self.seconds:g} s on {len(batch)} texts") from None
