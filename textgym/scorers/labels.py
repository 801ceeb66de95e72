"""Scores of a classifier: how surely a completion belongs to a class, which is asked for by its name.

By name, never by position: what stands first is an accident of a configuration, and a reward that takes the wrong class
trains the opposite of what was meant.
"""

from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Literal

import numpy as np
from jaxtyping import Float64

from textgym.errors import MissingExtraError, ScorerError, ScoringFailure
from textgym.scorers.base import Score, Scorer, register
from textgym.types import Scores, ScoringContext, TextBatch, TextClassifier

Form = Literal["probability", "logit", "logprob"]

VADER = "vader"
"""The model of `sentiment` that is a lexicon with rules."""

NEVER = 1e-300
"""Stands for a probability of 0, whose logarithm no reward can pay."""


@dataclass(frozen=True)
class LabelScorer(Scorer):
    """A leaf that asks a classifier of the context for one class."""

    model: str
    label: str
    form: Form = "probability"
    prefix_scorable = True
    formula = "p(label | completion), its logit or its logarithm"
    source = ""
    extra = "hf"

    @property
    def needs(self) -> frozenset[str]:
        """A classifier, which comes from a context."""
        return frozenset({"classifier"})

    @property
    def range(self) -> tuple[float, float]:
        """Of a probability, of log odds, or of the logarithm of a probability."""
        infinity = float("inf")
        return {"probability": (0.0, 1.0), "logit": (-infinity, infinity), "logprob": (-infinity, 0.0)}[self.form]

    @property
    def unit(self) -> str:
        """What the form says."""
        return {"probability": "probability", "logit": "log odds", "logprob": "nats"}[self.form]

    def fingerprint(self, context: ScoringContext) -> str:
        """The classifier's signature."""
        return context.text_model(TextClassifier, self.model).signature

    def prepare(self, context: ScoringContext | None) -> Score:
        """Takes the classifier from the context and finds the class.

        Raises:
            ScorerError: the classifier has no class of that name.
        """
        if context is None:
            raise self._unbound()
        model = context.text_model(TextClassifier, self.model)
        return partial(self._measure, model, self._column(model))

    def _column(self, model: TextClassifier) -> int:
        names = [name.lower() for name in model.labels]
        found = [place for place, name in enumerate(names) if name == self.label.lower()]
        exact = [place for place, name in enumerate(model.labels) if name == self.label]
        if len(exact or found) == 1:
            return (exact or found)[0]
        nameless = all(name.startswith("label_") for name in names)
        hint = (
            "; they are numbered, so read in the model's description which one is meant, and name it"
            if nameless
            else "; the case of letters does not matter"
        )
        raise ScorerError(
            f"{self.name}: the model {self.model!r} has no label {self.label!r}. Its labels are "
            f"{', '.join(map(repr, model.labels))}{hint}"
        )

    def _measure(self, model: TextClassifier, column: int, batch: TextBatch) -> Scores:
        table = model.logprobs(batch.completion_texts)
        expected = (len(batch), len(model.labels))
        if table.shape != expected:
            raise ScoringFailure(f"classifier {model.signature} returned a table of shape {table.shape} for {expected}")
        return Scores(_in_form(table[:, column], self.form))


def _in_form(logprobs: Float64[np.ndarray, " B"], form: str) -> Float64[np.ndarray, " B"]:
    values = bounded = np.maximum(logprobs, np.log(NEVER))
    if form == "probability":
        values = np.exp(logprobs)
    elif form == "logit":
        values = bounded - np.log(np.maximum(-np.expm1(bounded), NEVER))
    return np.asarray(values, dtype=np.float64)


@register("acceptability")
@dataclass(frozen=True)
class Acceptability(LabelScorer):
    """How surely a classifier finds a completion acceptable, e.g. one that was trained on CoLA.

    Args:
        model: ``hf:NAME_OR_FOLDER``, or a folder of a classifier that was trained here.
        label: the class, by its name.
        form: its ``probability``, the ``logit`` log p - log (1 - p), or the ``logprob``.
    """

    label: str = "acceptable"
    source = "Warstadt, Singh and Bowman 2019"


@register("toxicity")
@dataclass(frozen=True)
class Toxicity(LabelScorer):
    """How surely a classifier finds a completion toxic; higher is worse.

    Args:
        model: ``hf:NAME_OR_FOLDER``, or a folder of a classifier that was trained here.
        label: the class, by its name.
        form: its ``probability``, the ``logit`` log p - log (1 - p), or the ``logprob``.
    """

    label: str = "toxic"
    higher_is_better = False


@register("sentiment")
@dataclass(frozen=True)
class Sentiment(LabelScorer):
    """How positive a completion is: VADER's compound score, or the class of a classifier.

    VADER adds up the valence of the words it knows, English ones, with rules for negation, emphasis and capitals.

    Args:
        label: the class, by its name; of VADER ``positive``, or ``negative`` for the opposite.
        model: ``vader``; ``hf:NAME_OR_FOLDER``; or a folder of a classifier that was trained here.
        form: of a classifier its ``probability``, the ``logit`` log p - log (1 - p), or the ``logprob``.
    """

    model: str = VADER
    label: str = "positive"
    formula = "s / sqrt(s^2 + 15), s the sum of valences; or p(label | completion)"
    source = "Hutto and Gilbert 2014"
    extra = "sentiment"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.model != VADER:
            return
        if self.form != "probability":
            raise ScorerError(f"{self}: VADER gives a score in -1..1 and no probability, so that it has no {self.form}")
        if self.label.lower() not in ("positive", "negative"):
            raise ScorerError(f"{self}: the labels of VADER are 'positive' and 'negative'")

    @property
    def range(self) -> tuple[float, float]:
        """VADER's is -1 to 1."""
        return (-1.0, 1.0) if self.model == VADER else super().range

    @property
    def unit(self) -> str:
        """VADER's compound score, or what the form says."""
        return "compound" if self.model == VADER else super().unit

    @property
    def needs(self) -> frozenset[str]:
        """VADER needs nothing."""
        return frozenset() if self.model == VADER else super().needs

    def fingerprint(self, context: ScoringContext) -> str:
        """The classifier's signature."""
        return "" if self.model == VADER else super().fingerprint(context)

    def prepare(self, context: ScoringContext | None) -> Score:
        """Loads VADER, or takes the classifier from the context.

        Raises:
            MissingExtraError: VADER is not installed.
            ScorerError: the classifier has no class of that name.
        """
        if self.model != VADER:
            return super().prepare(context)
        _vader()
        return self.score

    def score(self, batch: TextBatch) -> Scores:
        """VADER's compound scores; a classifier's need a context."""
        if self.model != VADER:
            raise self._unbound()
        sign = 1.0 if self.label.lower() == "positive" else -1.0
        polarity = _vader().polarity_scores
        compounds = np.array([float(polarity(text)["compound"]) for text in batch.completion_texts])
        return Scores(sign * compounds + 0.0)


@lru_cache(maxsize=1)
def _vader() -> Any:
    try:
        from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer
    except ImportError as error:
        raise MissingExtraError("vaderSentiment", "sentiment", "sentiment(model='vader')") from error
    return SentimentIntensityAnalyzer()
