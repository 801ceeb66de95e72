"""The entity grid: how the words of a text come and go from sentence to sentence (Barzilay and Lapata 2008).

A row of the grid is a word that a text mentions at least twice, a column a sentence, a cell the role of the word there.
Without a parser the role is the half of the sentence in which the word stands: the first, where subjects are, the
second, or none. Features are the probabilities of each transition between neighbouring sentences, apart for salient
words and for others; their weights rank the real order above shuffled ones.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from jaxtyping import Float64

from textgym.errors import CheckpointError
from textgym.models.order_ranking import Pair, choose_documents, differences, fit_ranker
from textgym.models.sentence_marks import common_words, observe
from textgym.text.sentences import words
from textgym.types import Arrays

FORMAT = 1
"""Version of the arrays."""

ABSENT, SECOND, FIRST = range(3)
"""Roles of a word in a sentence."""

SALIENT = 3
"""A word of at least so many mentions is salient."""

STRENGTH = 0.1
"""Inverse penalty of the ranking."""


@dataclass(frozen=True, eq=False)
class EntityGrid:
    """A `types.OrderModel`.

    Attributes:
        common: words that are no entities, since a tagger would be needed to tell nouns: the corpus's most frequent.
        weights: (2 * 9,) of the transitions; those of salient words last.
        middle: (1,) the mean of real and shuffled orders before it is subtracted.
    """

    common: tuple[str, ...]
    weights: Float64[np.ndarray, " W"]
    middle: Float64[np.ndarray, " 1"]

    @classmethod
    def fit(cls, documents: Sequence[Sequence[str]], *, seed: int = 0) -> "EntityGrid":
        """Fits the weights to documents, each a list of sentences; imports scikit-learn.

        Raises:
            CorpusError: fewer than six documents of three sentences.
        """
        chosen = choose_documents(documents)
        common = common_words(sentence for document in chosen for sentence in document)
        rng = np.random.default_rng(seed)
        pairs: list[Pair] = []
        for document in chosen:
            roles = [_roles(sentence, common) for sentence in document]
            marks = [observe(sentence, common) for sentence in document]
            pairs += differences(marks, partial(_features, roles), rng)
        weights, middle = fit_ranker(pairs, STRENGTH)
        return cls(tuple(sorted(common)), weights, np.array([middle]))

    def to_arrays(self) -> Arrays:
        """The model as named arrays."""
        common = np.frombuffer("\n".join(self.common).encode(), dtype=np.uint8).copy()
        return {"meta": np.array([FORMAT]), "grid": self.weights, "middle": self.middle, "common": common}

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> "EntityGrid":
        """The model that `to_arrays` wrote. Raises CheckpointError for arrays of another kind or version."""
        try:
            (version,) = arrays["meta"]
            common, weights, middle = arrays["common"], arrays["grid"], arrays["middle"]
        except (KeyError, ValueError) as error:
            raise CheckpointError(f"these arrays hold no entity grid: {sorted(arrays)}") from error
        if version != FORMAT:
            raise CheckpointError(f"an entity grid of format {version}; this version reads {FORMAT}: fit it again")
        return cls(tuple(common.tobytes().decode().split("\n")), weights, middle)

    @cached_property
    def signature(self) -> str:
        """Kind and content hash."""
        digest = hashlib.sha256("\n".join(self.common).encode() + self.weights.tobytes() + self.middle.tobytes())
        return f"entity_grid:{digest.hexdigest()[:8]}"

    def __deepcopy__(self, memo: dict[int, Any]) -> "EntityGrid":
        return self

    def __repr__(self) -> str:
        return f"EntityGrid({self.signature})"

    def log_odds(self, texts: Sequence[Sequence[str]]) -> Float64[np.ndarray, " N"]:
        """How much likelier each text's transitions are in a real than in a shuffled order, (N,); 0 where none are."""
        common = frozenset(self.common)
        roles = {sentence: _roles(sentence, common) for sentence in dict.fromkeys(s for text in texts for s in text)}
        return np.array([self._judge([roles[sentence] for sentence in text]) for text in texts], dtype=np.float64)

    def _judge(self, text: Sequence[dict[str, int]]) -> float:
        found = _transitions(text)
        return float((found * self.weights).sum() - self.middle[0]) if found.any() else 0.0


def _roles(sentence: str, common: frozenset[str]) -> dict[str, int]:
    """The role of each content word; of two mentions the first counts."""
    found = words(sentence)
    roles: dict[str, int] = {}
    for at, word in enumerate(found):
        if word not in common:
            roles.setdefault(word, FIRST if 2 * at < len(found) else SECOND)
    return roles


def _features(roles: Sequence[dict[str, int]], places: Sequence[int]) -> Float64[np.ndarray, " W"]:
    return _transitions([roles[place] for place in places])


def _transitions(text: Sequence[dict[str, int]]) -> Float64[np.ndarray, " W"]:
    """Probabilities of the 9 transitions, of salient words apart; 0 where there are no such words."""
    mentions: dict[str, list[int]] = {}
    for at, roles in enumerate(text):
        for word in roles:
            mentions.setdefault(word, []).append(at)
    counts = np.zeros((2, 3, 3))
    for word, places in mentions.items():
        if len(places) < 2 or len(text) < 2:
            continue
        row = [ABSENT] * len(text)
        for at in places:
            row[at] = text[at][word]
        np.add.at(counts[int(len(places) >= SALIENT)], (row[:-1], row[1:]), 1)
    totals = counts.sum(axis=(1, 2), keepdims=True)
    return (counts / np.where(totals > 0, totals, 1.0)).ravel()
