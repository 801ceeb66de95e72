"""Pseudo-fluency: how well each token fits between all the others, under a model that sees both sides of it."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from textgym.errors import ScorerError
from textgym.scorers.asking import AskingScorer
from textgym.scorers.base import register
from textgym.scorers.logprobs import Logprobs, on_tokens
from textgym.types import PseudoLanguageModel, Scores, ScoringContext, TextBatch


@register("pseudo_fluency")
@dataclass(frozen=True)
class PseudoFluency(AskingScorer):
    """Pseudo-log-likelihood of a completion under BERT or RoBERTa; under XLNet log-likelihood, averaged over orders.

    The prompt is never hidden. A completion in which the model sees no token, such as a blank one: not applicable. A
    masked model reads a text once for each of its tokens, XLNet once for each order.

    Args:
        model: ``hf:NAME_OR_FOLDER``.
        form: ``mean`` in nats per token of the model, or the ``sum`` in nats.
        within: what a masked model hides beside the token: ``word_l2r`` the rest of its word, so that a long word does
            not give itself away (Kauf and Ivanova 2023), ``original`` nothing (Salazar et al. 2020).
        orders: how many factorisation orders XLNet is averaged over, always the same ones.
    """

    model: str
    form: Literal["mean", "sum"] = "mean"
    within: Literal["word_l2r", "original"] = "word_l2r"
    orders: int = 4
    range = (-float("inf"), 0.0)
    needs = frozenset({"language model"})
    prefix_scorable = True
    formula = "mean over t of log p(w_t | prompt, the tokens around w_t)"
    source = "Salazar et al. 2020, equation 1; Kauf and Ivanova 2023, section 3; Yang et al. 2019, equation 3"
    extra = "hf"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.orders < 1:
            raise ScorerError(f"{self}: orders counts the orders that are averaged over and must be at least 1")

    @property
    def unit(self) -> str:
        """Nats per token of the model, or nats."""
        return "nats per token" if self.form == "mean" else "nats"

    def partial_in(self, context: ScoringContext | None) -> bool:
        """Always: a text may end at once."""
        return True

    def model_in(self, context: ScoringContext) -> PseudoLanguageModel:
        """The model, whichever way it reads."""
        return context.text_model(PseudoLanguageModel, self.model)

    def measure(self, model: PseudoLanguageModel, batch: TextBatch) -> Scores:
        """Log-likelihoods of the completions."""
        told = model.pseudo_logprobs(batch.prompt_texts, batch.completion_texts, within=self.within, orders=self.orders)
        rows = [Logprobs(*row) for row in told]
        lengths = [max(len(row.values), 1) if self.form == "mean" else 1 for row in rows]
        values = np.array([row.values.sum() / n for row, n in zip(rows, lengths, strict=True)])
        valid = np.array([len(row.values) > 0 for row in rows], dtype=bool)
        return Scores(values, valid, tokens=on_tokens(batch, rows, lengths))
