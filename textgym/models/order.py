"""Order discrimination: does each sentence follow what stands before it, or has somebody shuffled the text?

Sentences are described by their function words, beginnings, quotation marks and an embedding. Canonical correlation
analysis of sentences one, two and three apart finds the directions in which one foretells the other (Hotelling 1936);
products along them, the cosines, how far each sentence moves on from the beginning to the end of a story, and how each
entity is mentioned (new or seen, with which determiner, how far away) are ranked by logistic regression, real order
against shuffled, as in the sentence-ordering task of Barzilay and Lapata (2008). Directions are found in two thirds of
the documents and ranked on the others, three times over: ranked on its own texts a direction looks better than it is.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float64

from textgym.errors import CheckpointError
from textgym.models.sentence_marks import KINDS, observe
from textgym.types import Arrays, Embedding

FORMAT = 1
"""Version of the arrays."""

LAGS = (1, 2, 3)
DISTANCES = 6
"""A word is mentioned for the first time, 1, 2, 3 or more sentences after it last was, or again in its sentence."""

SHARED = 2 * len(LAGS) + KINDS * DISTANCES + len(LAGS)
MOVES = 4
_TEXTS = ("attributes", "common", "weighed")


@dataclass(frozen=True)
class SeenSentence:
    """One sentence: its embedding, its projections and its mentions."""

    direction: Float64[np.ndarray, " E"]
    leading: Float64[np.ndarray, "L J"]  # by lag: what it foretells
    following: Float64[np.ndarray, "L J"]  # by lag: what it was foretold by
    place: Float64[np.ndarray, " F"]
    mentions: tuple[tuple[str, int], ...]


@dataclass(frozen=True, eq=False)
class OrderDiscriminator:
    """A `types.OrderModel`. D attributes and E dimensions of the embedding describe a sentence.

    Attributes:
        embedding: what else describes a sentence; not among the arrays.
        attributes: names of the D attributes.
        common: words that are no entities.
        weighed: words whose inverse document frequency is known, and
        rarity: (W,) that frequency; all other words are as rare as the rarest.
        table: (D + E, C) projections of a sentence: leading and following of each lag, and its place, by fold.
        offset: (C,) what is subtracted from them.
        moves: (FOLDS, MOVES) weights of what depends on places.
        shared: (SHARED,) weights of cosines, mentions and overlaps.
        middle: (1,) the mean of real and shuffled orders before it is subtracted.
    """

    embedding: Embedding
    attributes: tuple[str, ...]
    common: tuple[str, ...]
    weighed: tuple[str, ...]
    rarity: Float64[np.ndarray, " W"]
    table: Float64[np.ndarray, "D C"]
    offset: Float64[np.ndarray, " C"]
    moves: Float64[np.ndarray, "F M"]
    shared: Float64[np.ndarray, " S"]
    middle: Float64[np.ndarray, " 1"]

    def to_arrays(self) -> Arrays:
        """The model as named arrays, without the embedding."""
        arrays = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("embedding", *_TEXTS)}
        for name in _TEXTS:
            arrays[name] = np.frombuffer("\n".join(getattr(self, name)).encode(), dtype=np.uint8).copy()
        return arrays | {"meta": np.array([FORMAT])}

    @classmethod
    def from_arrays(cls, arrays: Arrays, embedding: Embedding) -> "OrderDiscriminator":
        """The model that `to_arrays` wrote. Raises CheckpointError for arrays of another kind or version."""
        try:
            (version,) = arrays["meta"]
            known: dict[str, Any] = {f.name: arrays[f.name] for f in fields(cls) if f.name != "embedding"}
        except (KeyError, ValueError) as error:
            raise CheckpointError(f"these arrays hold no model of order: {sorted(arrays)}") from error
        if version != FORMAT:
            raise CheckpointError(f"a model of order of format {version}; this version reads {FORMAT}: fit it again")
        texts: dict[str, Any] = {name: tuple(known[name].tobytes().decode().split("\n")) for name in _TEXTS}
        return cls(embedding=embedding, **{**known, **texts})

    @cached_property
    def signature(self) -> str:
        """Kind, content hash and the embedding's signature."""
        digest = hashlib.sha256()
        for name, array in sorted(self.to_arrays().items()):
            digest.update(name.encode() + np.ascontiguousarray(array).tobytes())
        return f"order:{digest.hexdigest()[:8]}({self.embedding.signature})"

    def __deepcopy__(self, memo: dict[int, Any]) -> "OrderDiscriminator":
        return self

    def __repr__(self) -> str:
        return f"OrderDiscriminator({self.signature})"

    def log_odds(self, texts: Sequence[Sequence[str]]) -> Float64[np.ndarray, " N"]:
        """How much better the order of each text's sentences is than a shuffled one, (N,); 0 for fewer than two."""
        distinct = list(dict.fromkeys(sentence for text in texts for sentence in text))
        seen = dict(zip(distinct, self._see(distinct), strict=True)) if distinct else {}
        return np.array([self._judge([seen[sentence] for sentence in text]) for text in texts], dtype=np.float64)

    @cached_property
    def _columns(self) -> dict[str, int]:
        return {name: column for column, name in enumerate(self.attributes)}

    @cached_property
    def _common(self) -> frozenset[str]:
        return frozenset(self.common)

    @cached_property
    def _rarity(self) -> dict[str, float]:
        return dict(zip(self.weighed, self.rarity.tolist(), strict=True))

    def _see(self, sentences: Sequence[str]) -> list[SeenSentence]:
        vectors = np.ascontiguousarray(self.embedding.embed(sentences), dtype=np.float64)
        dense = self.table[len(self.attributes) :]
        out = []
        for sentence, vector in zip(sentences, vectors, strict=True):
            marks = observe(sentence, self._common)
            known = [(self._columns[name], value) for name, value in marks.attributes.items() if name in self._columns]
            # Sums within the sentence only, and no matrix product: the batch does not matter.
            row = (vector[:, None] * dense).sum(axis=0) - self.offset
            if known:
                columns, values = zip(*known, strict=True)
                row += (np.array(values)[:, None] * self.table[list(columns)]).sum(axis=0)
            folds = len(self.moves)
            sides = row[:-folds].reshape(2, len(LAGS), -1)
            out.append(SeenSentence(vector, sides[0], sides[1], row[-folds:], marks.mentions))
        return out

    def _judge(self, text: Sequence[SeenSentence]) -> float:
        if len(text) < 2:
            return 0.0
        total = (shared_features(text, self._rarity, self.rarity.max(initial=0.0)) * self.shared).sum()
        places = np.array([seen.place for seen in text])
        for fold, weights in enumerate(self.moves):
            total += (moves_of(places[:, fold]) * weights).sum()
        for lag in LAGS:
            for one, other in zip(text, text[lag:], strict=False):
                total += (one.leading[lag - 1] * other.following[lag - 1]).sum()
        return float(total / (len(text) - 1) - self.middle[0])


def shared_features(text: Sequence[SeenSentence], rarity: dict[str, float], rarest: float) -> Float64[np.ndarray, " S"]:
    """Sums over a text of what needs no fold: cosines and their roots by lag, mentions, overlaps by lag."""
    cosines = np.zeros((2, len(LAGS)))
    for lag in LAGS:
        for one, other in zip(text, text[lag:], strict=False):
            cosine = float((one.direction * other.direction).sum())
            cosines[:, lag - 1] += cosine, math.sqrt(max(cosine, 0.0))
    mentions = np.zeros((KINDS, DISTANCES))
    overlaps = np.zeros(len(LAGS))
    last: dict[str, int] = {}
    for at, seen in enumerate(text):
        for word, kind in seen.mentions:
            distance = at - last[word] if word in last else 0
            mentions[kind, min(distance, DISTANCES - 2)] += 1
            if 0 < distance <= len(LAGS):
                overlaps[distance - 1] += rarity.get(word, rarest)
        last.update((word, at) for word, _ in seen.mentions)
    return np.concatenate([cosines.ravel(), mentions.ravel(), overlaps])


def moves_of(places: Float64[np.ndarray, " N"]) -> Float64[np.ndarray, " M"]:
    """Sums over a text: how far each sentence lies behind those before it, and behind or away from the last one."""
    count = len(places)
    ahead = places[None, :] - places[:, None]
    earlier = np.triu(np.ones((count, count)), 1)
    each = earlier / np.maximum(1, np.arange(count))[None, :]
    steps = np.diff(places)
    return np.array(
        [(np.tanh(6 * ahead) * each).sum(), (ahead * each).sum(), np.tanh(6 * steps).sum(), np.abs(steps).sum()]
    )
