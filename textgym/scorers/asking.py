"""The common part of scorers that ask one model of the context."""

from functools import partial
from typing import Any

from textgym.scorers.base import Score, Scorer
from textgym.types import Scores, ScoringContext, TextBatch


class AskingScorer(Scorer):
    """A leaf that takes a model from the context when it is bound, and asks it about every batch."""

    def model_in(self, context: ScoringContext) -> Any:
        """The model; it has a `signature`."""
        raise NotImplementedError

    def measure(self, model: Any, batch: TextBatch) -> Scores:
        """What the model says of a batch."""
        raise NotImplementedError

    def fingerprint(self, context: ScoringContext) -> str:
        """The model's signature."""
        return str(self.model_in(context).signature)

    def prepare(self, context: ScoringContext | None) -> Score:
        """Takes the model from the context."""
        if context is None:
            raise self._unbound()
        return partial(self.measure, self.model_in(context))
