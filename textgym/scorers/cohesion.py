"""Coherence: how near in meaning each sentence stands to the one before it.

The mean cosine of adjacent sentences under an embedding (Foltz, Kintsch and Landauer 1998).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float64

from textgym.scorers.asking import AskingScorer
from textgym.scorers.base import register
from textgym.text.sentences import sentences
from textgym.types import Embedding, Scores, ScoringContext, TextBatch


@register("coherence")
@dataclass(frozen=True)
class Coherence(AskingScorer):
    """Mean cosine of adjacent units, which are the prompt and then each sentence of the completion.

    After a prompt an empty completion scores 0: nothing follows from it. Without a prompt a completion of fewer than
    two sentences has no neighbours: not applicable. A unit without a known word has cosine 0 with any other.

    Args:
        embedding: by its name in the context, e.g. ``lsa:64``.
    """

    embedding: str = "lsa:64"
    formula = "mean of cos(e(unit_i), e(unit_i+1))"
    source = "Foltz, Kintsch and Landauer 1998"
    range = (-1.0, 1.0)
    unit = "cosine"
    prefix_scorable = True
    needs = frozenset({"embedding"})

    def partial_in(self, context: ScoringContext | None) -> bool:
        """Where an episode may begin with an empty prompt."""
        return context is None or context.empty_prompts

    def model_in(self, context: ScoringContext) -> Embedding:
        """The embedding."""
        return context.embedding(self.embedding)

    def measure(self, model: Embedding, batch: TextBatch) -> Scores:
        """Cosines of the texts."""
        rows = [
            ([prompt] if len(ids) else []) + sentences(text)
            for ids, prompt, text in zip(batch.prompts, batch.prompt_texts, batch.completion_texts, strict=True)
        ]
        known = {unit: index for index, unit in enumerate(dict.fromkeys(unit for row in rows for unit in row))}
        vectors = _directions(np.ascontiguousarray(model.embed(list(known)))) if known else np.zeros((0, 1))
        values = [_adjacent_cosine(vectors, [known[unit] for unit in row]) for row in rows]
        valid = [len(row) > 1 or len(ids) > 0 for row, ids in zip(rows, batch.prompts, strict=True)]
        return Scores(np.array(values), np.array(valid))


def _directions(vectors: Float64[np.ndarray, "N K"]) -> Float64[np.ndarray, "N K"]:
    """Each vector over its length; the zero vector stays."""
    lengths = np.sqrt(np.square(vectors).sum(axis=1, keepdims=True))
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1.0))


def _adjacent_cosine(directions: Float64[np.ndarray, "N K"], units: Sequence[int]) -> float:
    """Mean cosine of neighbours; 0 where there are none. Sums within a pair only, so the batch does not matter."""
    cosines = [float((directions[a] * directions[b]).sum()) for a, b in pairwise(units)]
    return float(np.clip(sum(cosines) / len(cosines), -1.0, 1.0)) if cosines else 0.0
