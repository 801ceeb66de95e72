"""A tiny task and rewards whose results can be worked out by hand."""

import dataclasses
from pathlib import Path
from typing import ClassVar

import numpy as np

from textgym.envs.tasks import Task, make_task
from textgym.scorers.base import Scorer
from textgym.types import Scores, TextBatch

BUDGET = 6


def small_task(folder: Path, **changes) -> Task:
    """Characters a..h over 40 lines of eight letters; every prompt is the first five, budget 6."""
    path = folder / "letters.txt"
    if not path.exists():
        lines = [" ".join(np.random.default_rng(i).permutation(list("abcdefgh"))) for i in range(40)]
        path.write_text("\n\n".join(lines), encoding="utf-8")
    task = make_task(corpus=path, tokenizer="char", max_new_tokens=BUDGET, cache_dir=folder / "cache")
    return dataclasses.replace(task, **changes) if changes else task


@dataclasses.dataclass(frozen=True)
class IdSum(Scorer):
    """Position-weighted sum of ids: tells every two completions of this size apart, token by token."""

    name: ClassVar[str] = "idsum"

    def score(self, batch: TextBatch) -> Scores:
        tokens = np.zeros((len(batch), max(map(len, batch.completions))))
        for row, ids in zip(tokens, batch.completions, strict=True):
            row[: len(ids)] = ids * (1 + np.arange(len(ids))) / 7
        return Scores(tokens.sum(axis=1), tokens=tokens)


@dataclasses.dataclass(frozen=True)
class Fragile(Scorer):
    """Fails on texts that hold an "a"."""

    name: ClassVar[str] = "fragile"

    def score(self, batch: TextBatch) -> Scores:
        if any("a" in text for text in batch.completion_texts):
            raise RuntimeError("no a, please")
        return Scores(np.ones(len(batch)))


@dataclasses.dataclass(frozen=True)
class SameParity:
    """Only ids whose parity is that of the position in the completion."""

    vocab_size: int

    def mask(self, tokens: np.ndarray, lengths: np.ndarray, starts: np.ndarray) -> np.ndarray:
        return np.arange(self.vocab_size)[None, :] % 2 == ((lengths - starts) % 2)[:, None]


@dataclasses.dataclass(frozen=True)
class NothingAfter:
    """Allows all at first and nothing once the completion has `count` tokens."""

    vocab_size: int
    count: int

    def mask(self, tokens: np.ndarray, lengths: np.ndarray, starts: np.ndarray) -> np.ndarray:
        return np.tile((lengths - starts < self.count)[:, None], (1, self.vocab_size))


def ends_in_double(tokens: np.ndarray, lengths: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """A stop rule: the last two tokens of the completion are the same."""
    rows = np.arange(len(tokens))
    return (lengths - starts >= 2) & (tokens[rows, lengths - 1] == tokens[rows, lengths - 2])
