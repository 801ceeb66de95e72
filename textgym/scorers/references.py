"""The common part of scorers that compare a completion with its references."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from textgym.scorers.base import Scorer
from textgym.types import Scores, ScoringContext, TextBatch


@dataclass(frozen=True)
class ReferenceScorer(Scorer):
    """A leaf that compares each completion with the references of its row; not applicable where there are none."""

    range = (0.0, 1.0)

    @property
    def needs(self) -> frozenset[str]:
        """References."""
        return frozenset({"references"})

    def compare(self, text: str, references: Sequence[str]) -> float:
        """How near a text is to its references, of which there is at least one."""
        raise NotImplementedError

    def partial_in(self, context: ScoringContext | None) -> bool:
        """Where not every text of the task has references."""
        lacks = getattr(context, "lacks", None)
        if lacks is not None:
            return bool(lacks("references"))
        references = () if context is None else context.references().references
        return not (references and all(references))

    def score(self, batch: TextBatch) -> Scores:
        """Scores B completions against their references: values (B,)."""
        rows = batch.references or [()] * len(batch)
        pairs = zip(batch.completion_texts, rows, strict=True)
        values = [self.compare(text, references) if references else 0.0 for text, references in pairs]
        return Scores(np.array(values, dtype=np.float64), np.array([bool(references) for references in rows]))
