"""Relevance: how near in meaning a completion stands to its prompt."""

from dataclasses import dataclass

import numpy as np

from textgym.scorers.asking import AskingScorer
from textgym.scorers.base import register
from textgym.types import Embedding, Scores, ScoringContext, TextBatch


@register("relevance")
@dataclass(frozen=True)
class Relevance(AskingScorer):
    """Cosine of prompt and completion under an embedding; a text without a known word has cosine 0 with any other.

    Not applicable where the prompt is empty. A copy of the prompt scores 1: weigh it against ``repetition``, or against
    an overlap with the prompt.

    Args:
        embedding: by its name in the context, e.g. ``lsa:64``, or ``st:NAME_OR_FOLDER`` of sentence-transformers.
    """

    embedding: str = "lsa:64"
    range = (-1.0, 1.0)
    unit = "cosine"
    prefix_scorable = True
    needs = frozenset({"embedding"})
    formula = "cos(e(prompt), e(completion))"
    source = "Reimers and Gurevych 2019, section 3; Deerwester et al. 1990"

    def partial_in(self, context: ScoringContext | None) -> bool:
        """Where an episode may begin with an empty prompt."""
        return context is None or context.empty_prompts

    def model_in(self, context: ScoringContext) -> Embedding:
        """The embedding."""
        return context.embedding(self.embedding)

    def measure(self, model: Embedding, batch: TextBatch) -> Scores:
        """Cosines of the texts."""
        texts = [*batch.prompt_texts, *batch.completion_texts]
        known = {text: place for place, text in enumerate(dict.fromkeys(texts))}
        vectors = np.ascontiguousarray(model.embed(list(known)))
        prompts = vectors[[known[text] for text in batch.prompt_texts]]
        completions = vectors[[known[text] for text in batch.completion_texts]]
        # Sums within a row only, so the batch does not matter.
        lengths = np.sqrt(np.square(prompts).sum(axis=1)) * np.sqrt(np.square(completions).sum(axis=1))
        cosines = (prompts * completions).sum(axis=1) / np.where(lengths > 0, lengths, 1.0)
        return Scores(np.clip(cosines, -1.0, 1.0), np.array([len(ids) > 0 for ids in batch.prompts], dtype=bool))
