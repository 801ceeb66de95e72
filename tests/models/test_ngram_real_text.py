import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from textgym.models.ngram import KneserNey

VOCAB_SIZE = 2048


def read(path: Path) -> list[list[str]]:
    """The words of each tale."""
    tales: dict[str, list[str]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            tales.setdefault(row["document_id"], []).extend(row["text"].lower().split())
    return list(tales.values())


@pytest.fixture(scope="module")
def tales(data: Path) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Ids of the tales to fit, and of those held out."""
    fit, heldout = read(data / "fairytales/sentence_level_train.csv"), read(data / "fairytales/sentence_level_val.csv")
    frequency = Counter(word for tale in fit for word in tale)
    ids = {word: i for i, (word, _) in enumerate(frequency.most_common(VOCAB_SIZE - 1), 1)}
    encode = [[np.array([ids.get(w, 0) for w in tale], dtype=np.int32) for tale in part] for part in (fit, heldout)]
    return encode[0], encode[1]


def test_longer_contexts_predict_held_out_tales_better(tales: tuple[list[np.ndarray], list[np.ndarray]]) -> None:
    fit, heldout = tales
    tokens = sum(map(len, heldout))
    nothing = [row[:0] for row in heldout]
    perplexity = {}
    for order in (1, 2, 3):
        model = KneserNey.fit(fit, vocab_size=VOCAB_SIZE, order=order)
        perplexity[order] = np.exp(-model.logprobs(nothing, heldout).sum() / tokens)
    assert perplexity[3] < perplexity[2] < 0.6 * perplexity[1]
