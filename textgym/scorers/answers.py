"""The common part of scorers that check a completion against a known answer: a reference, or part of the metadata."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from textgym.scorers.base import Scorer
from textgym.types import Scores, ScoringContext, TextBatch


@dataclass(frozen=True)
class AnswerScorer(Scorer):
    """A leaf that scores 1 where a completion gives one of the answers of its row, else 0.

    Not applicable to a row without an answer.

    Args:
        field: the field of the metadata that holds the answer, or a list of answers; none for the references.
    """

    field: str | None = None
    range = (0.0, 1.0)

    def right(self, text: str, answers: Sequence[Any]) -> bool | None:
        """Whether a completion gives one of the answers, of which there is at least one; None if none is readable."""
        raise NotImplementedError

    @property
    def needs(self) -> frozenset[str]:
        """The references, where the answers stand there."""
        return frozenset() if self.field else frozenset({"references"})

    def partial_in(self, context: ScoringContext | None) -> bool:
        """Where not every text of the task has an answer."""
        lacks = getattr(context, "lacks", None)
        if lacks is not None:
            return bool(lacks(self.field or "references"))
        if context is None:
            return True
        batch = context.references()
        return not all(self._answers(batch))

    def score(self, batch: TextBatch) -> Scores:
        """Scores B completions: values (B,), 0 or 1."""
        pairs = zip(batch.completion_texts, self._answers(batch), strict=True)
        verdicts = [self.right(text, answers) if answers else None for text, answers in pairs]
        return Scores(
            np.array([float(bool(verdict)) for verdict in verdicts]), np.array([v is not None for v in verdicts])
        )

    def _answers(self, batch: TextBatch) -> list[Sequence[Any]]:
        if not self.field:
            return list(batch.references) or [()] * len(batch)
        rows: Sequence[Mapping[str, Any]] = batch.metadata or [{}] * len(batch)
        values = [row.get(self.field) for row in rows]
        return [value if isinstance(value, list | tuple) else () if value is None else (value,) for value in values]
