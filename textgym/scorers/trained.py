"""Scores of models that were trained here, by ``textgym fit``: classifiers and preference models, each a folder."""

from dataclasses import dataclass

import numpy as np

from textgym.errors import ScorerError, ScoringFailure
from textgym.scorers.asking import AskingScorer
from textgym.scorers.base import register
from textgym.scorers.labels import LabelScorer
from textgym.types import PreferenceModel, Scores, ScoringContext, TextBatch


@register("classifier")
@dataclass(frozen=True)
class Classifier(LabelScorer):
    """How surely a classifier finds a completion to be of a class.

    Args:
        model: the folder that ``textgym fit classifier`` wrote, or ``hf:NAME_OR_FOLDER``.
        label: the class, by its name.
        form: its ``probability``, the ``logit`` log p - log (1 - p), or the ``logprob``.
    """

    label: str = ""
    positional = 2
    formula = "p(label | completion), its logit or its logarithm"
    source = "Wang and Manning 2012 for linear models of n-grams"
    extra = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.label:
            raise ScorerError(f"classifier lacks the name of a class: classifier({self.model!r}, 'positive')")


@register("preference")
@dataclass(frozen=True)
class PreferenceStrength(AskingScorer):
    """The strength of a completion after its prompt, learned from which of two completions was preferred.

    Only differences mean something: one more is odds of e to 1 that it would be preferred to the other. Strengths have
    no ends, and far from the texts that were compared they mean nothing: clip them, or standardise them.

    Args:
        model: the folder that ``textgym fit preference`` wrote.
    """

    model: str
    positional = 1
    unit = "nats"
    needs = frozenset({"preference model"})
    formula = "r(prompt, completion), where P(a beats b) = 1 / (1 + exp(r(b) - r(a)))"
    source = "Bradley and Terry 1952; Stiennon et al. 2020, section 3.4"

    def model_in(self, context: ScoringContext) -> PreferenceModel:
        """The saved model."""
        return context.text_model(PreferenceModel, self.model)

    def measure(self, model: PreferenceModel, batch: TextBatch) -> Scores:
        """Strengths of the completions."""
        strengths = model.strengths(batch.prompt_texts, batch.completion_texts)
        if strengths.shape != (len(batch),):
            raise ScoringFailure(
                f"{model.signature} returned strengths of shape {strengths.shape} for {len(batch)} texts"
            )
        return Scores(np.asarray(strengths, dtype=np.float64))
