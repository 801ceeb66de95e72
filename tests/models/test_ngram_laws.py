from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from textgym.models.ngram import KneserNey
from textgym.testing.models import check_language_model
from textgym.types import TokenIds

SOUND = KneserNey.fit([np.array([3, 4, 5, 3, 4, 2], dtype=np.int32)] * 3, vocab_size=7, order=3)


@dataclass
class Changed:
    """A sound model with one thing changed."""

    change_scores: Callable[[np.ndarray], np.ndarray] = lambda scores: scores
    change_next: Callable[[np.ndarray], np.ndarray] = lambda scores: scores
    signature: object = "changed:7"
    vocab_size: object = 7

    def logprobs(self, prompts: Sequence[TokenIds], completions: Sequence[TokenIds]) -> np.ndarray:
        return self.change_scores(SOUND.logprobs(prompts, completions))

    def next_logprobs(self, prompts: Sequence[TokenIds], completions: Sequence[TokenIds]) -> np.ndarray:
        return self.change_next(SOUND.next_logprobs(prompts, completions))


def company(size: float) -> Callable[[np.ndarray], np.ndarray]:
    """Scores that depend on how many rows a batch has."""
    return lambda scores: np.where(scores < 0, scores - size / max(len(scores), 1), scores)


FAULTS = [
    (r"vocab_size is '7'", Changed(vocab_size="7"), 0.0),
    (r"signature is ''", Changed(signature=""), 0.0),
    (r"logprobs: dtype float32, not float64", Changed(lambda scores: scores.astype(np.float32)), 0.0),
    (r"logprobs: shape \(5, 5\), not \(5, 4\)", Changed(lambda scores: np.pad(scores, ((0, 0), (0, 1)))), 0.0),
    (r"above 0, so not the logarithm", Changed(np.negative), 0.0),
    (r"logprobs: NaN", Changed(lambda scores: scores * np.nan), 0.0),
    (r"row \d is not 0 beyond its end", Changed(lambda scores: scores - 1), 0.0),
    (r"next_logprobs after 0 tokens: probabilities sum to", Changed(change_next=lambda scores: scores - 0.01), 1e-5),
    (r"token 0 .* disagree: by up to", Changed(change_next=lambda scores: np.roll(scores, 1, axis=1)), 1e-5),
    (r"logprobs: row \d alone differs from the batch: by up to 8e-08", Changed(company(1e-7)), 5e-8),
    (r"next_logprobs: row 0 alone differs from the batch", Changed(change_next=company(1e-7)), 5e-8),
]


def test_a_sound_model_passes() -> None:
    check_language_model(SOUND)
    check_language_model(Changed(), [np.array([3], dtype=np.int32), np.array([4, 5], dtype=np.int32)])


@pytest.mark.parametrize(("message", "model", "tolerance"), FAULTS)
def test_each_fault_is_found_and_named(message: str, model: Changed, tolerance: float) -> None:
    with pytest.raises(AssertionError, match=message):
        check_language_model(model, tolerance=tolerance)


def test_differences_within_the_tolerance_are_allowed() -> None:
    check_language_model(Changed(company(1e-7), company(1e-7)), tolerance=1e-5)


def test_a_model_that_does_not_repeat_itself_is_found() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(AssertionError, match="the same call twice gives different bytes"):
        check_language_model(
            Changed(lambda scores: np.where(scores < 0, scores - 1e-9 * rng.random(), 0)), tolerance=1e-6
        )


def test_one_prompt_is_too_few_to_compare_batches() -> None:
    with pytest.raises(AssertionError, match="1 prompts given"):
        check_language_model(SOUND, [np.array([3], dtype=np.int32)])
