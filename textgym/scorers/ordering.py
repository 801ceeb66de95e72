"""Order: whether the sentences of a text stand in the order of a story, or might as well be shuffled."""

from dataclasses import dataclass

import numpy as np

from textgym.scorers.asking import AskingScorer
from textgym.scorers.base import register
from textgym.text.sentences import sentences
from textgym.types import OrderModel, Scores, ScoringContext, TextBatch


@dataclass(frozen=True)
class _Ordering(AskingScorer):
    """A leaf that asks a model of order about the sentences of prompt and completion in one.

    A text of one sentence scores 0 after a prompt; without one, fewer than two sentences are "not applicable".
    """

    unit = "nats"
    prefix_scorable = True
    needs = frozenset({"order model"})

    @property
    def model(self) -> str:
        """The model's name in the context."""
        raise NotImplementedError

    def partial_in(self, context: ScoringContext | None) -> bool:
        """Where an episode may begin with an empty prompt."""
        return context is None or context.empty_prompts

    def model_in(self, context: ScoringContext) -> OrderModel:
        """The model, fitted on the task's documents."""
        return context.order_model(self.model)

    def measure(self, model: OrderModel, batch: TextBatch) -> Scores:
        """Log-odds of the texts."""
        pairs = zip(batch.prompt_texts, batch.completion_texts, strict=True)
        texts = [sentences(prompt + completion) for prompt, completion in pairs]
        values = np.asarray(model.log_odds(texts), dtype=np.float64)
        valid = np.array([len(text) > 1 or len(ids) > 0 for text, ids in zip(texts, batch.prompts, strict=True)], bool)
        several = np.array([len(text) > 1 for text in texts], bool)
        return Scores(np.where(several, values, 0.0), valid)


@register("order")
@dataclass(frozen=True)
class Order(_Ordering):
    """Log-odds of the real order of sentences against a shuffled one, by a model trained on the task's documents.

    Between two orders of ten sentences the difference of scores is the log-odds that the better one is the original; 0
    is half-way between stories and shuffled stories. Prompt and completion are read as one text. It knows order, not
    sense: a text of few, well-linked sentences may score above any story.

    Args:
        embedding: what sentences are described by beside their words, by its name in the context, e.g. ``lsa:64``.
    """

    embedding: str = "lsa:64"
    formula = "w . mean over sentences of f(sentence, those before it), w from real against shuffled documents"
    source = "after Barzilay and Lapata 2008, section 4 (sentence ordering); features in textgym.models.order"

    @property
    def model(self) -> str:
        """``order:`` and the embedding."""
        return f"order:{self.embedding}"


@register("entity_grid")
@dataclass(frozen=True)
class EntityGrid(_Ordering):
    """Log-odds of a real against a shuffled text, by how its repeated words come and go between sentences.

    A word that occurs twice or more and is not among the corpus's 150 most frequent is an entity (nouns cannot be told
    without a tagger); its role is the half of the sentence that it stands in. A text without such words scores 0.
    """

    formula = "w . P(role in a sentence, role in the next), w from real against shuffled documents"
    source = "Barzilay and Lapata 2008, section 3, with halves of a sentence in place of grammatical roles"

    @property
    def model(self) -> str:
        """``entity_grid``."""
        return "entity_grid"
