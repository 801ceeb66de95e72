"""How a model of order is fitted: canonical directions in two thirds of the documents, their ranking in the others."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float64

from textgym.models.order import LAGS, MOVES, OrderDiscriminator, SeenSentence, moves_of, shared_features
from textgym.models.order_ranking import Pair, choose_documents, differences, fit_ranker
from textgym.models.sentence_marks import Marks, common_words, observe
from textgym.types import Embedding

FOLDS = 3
"""Fold f of the documents is ranked on by what was found in the others."""

DIRECTIONS = 40
"""Canonical directions of each lag and fold."""

RIDGE = 3.0
"""On the diagonal of the covariances, of attributes of unit variance."""

PLACE_RIDGE = 3000.0
"""Penalty of the regression of a sentence's place on its attributes."""

STRENGTH = 0.001
"""Inverse penalty of the ranking."""

RARE = 0.005
"""Attributes that fewer sentences have are left out."""


def fit_order(documents: Sequence[Sequence[str]], embedding: Embedding, *, seed: int = 0) -> OrderDiscriminator:
    """Fits a model of order to documents, each a list of sentences; imports scikit-learn.

    Raises:
        CorpusError: fewer than six documents of three sentences.
    """
    corpus = _Corpus.of(choose_documents(documents), embedding)
    rng = np.random.default_rng(seed)
    return corpus.assembled([_fold(corpus, fold, rng) for fold in range(FOLDS)], embedding)


@dataclass(frozen=True)
class _Fold:
    """What one fold found: directions and places in the other folds, their weights in its own."""

    leading: Float64[np.ndarray, "L D J"]
    following: Float64[np.ndarray, "L D J"]
    place: Float64[np.ndarray, " D"]
    weights: Float64[np.ndarray, " W"]
    middle: float


def _fold(corpus: "_Corpus", fold: int, rng: np.random.Generator) -> _Fold:
    others = [table for n, table in enumerate(corpus.tables) if n % FOLDS != fold]
    leading, following, place = _directions(others)
    rarity, rarest = dict(zip(corpus.words, corpus.rarity.tolist(), strict=True)), float(corpus.rarity.max(initial=0))
    pairs: list[Pair] = []
    for table, vectors, marks in list(zip(corpus.tables, corpus.vectors, corpus.marks, strict=True))[fold::FOLDS]:
        document = _project(table, vectors, marks, leading, following, place)
        pairs += differences(marks, _Ranked(document, rarity, rarest), rng)
    return _Fold(leading, following, place, *fit_ranker(pairs, STRENGTH))


@dataclass(frozen=True)
class _Corpus:
    """Documents as tables of standardised attributes and dimensions, and what it takes to describe others alike."""

    marks: list[list[Marks]]
    vectors: list[Float64[np.ndarray, "_ E"]]
    tables: list[Float64[np.ndarray, "_ D"]]
    mean: Float64[np.ndarray, " D"]
    scale: Float64[np.ndarray, " D"]
    attributes: tuple[str, ...]
    common: frozenset[str]
    words: tuple[str, ...]
    rarity: Float64[np.ndarray, " W"]

    @classmethod
    def of(cls, documents: Sequence[Sequence[str]], embedding: Embedding) -> "_Corpus":
        sentences = [sentence for document in documents for sentence in document]
        common = common_words(sentences)
        seen = [observe(sentence, common) for sentence in sentences]
        known = Counter(name for marks in seen for name in marks.attributes)
        attributes = tuple(sorted(name for name, count in known.items() if count >= max(5, RARE * len(seen))))
        vectors = np.asarray(embedding.embed(sentences), dtype=np.float64)
        described = np.hstack([_described(seen, attributes), vectors])
        mean, scale = described.mean(axis=0), described.std(axis=0)
        scale[scale < 1e-9] = 1.0
        held = Counter(word for marks in seen for word in set(marks.words))
        words = tuple(sorted(word for word, count in held.items() if count > 1))
        rarity = np.array([math.log(len(seen) / (1 + held[word])) for word in words])
        edges = np.cumsum([0, *map(len, documents)]).tolist()
        parts = [slice(*ends) for ends in pairwise(edges)]
        table = (described - mean) / scale
        marks, rows, tables = ([seen[p] for p in parts], [vectors[p] for p in parts], [table[p] for p in parts])
        return cls(marks, rows, tables, mean, scale, attributes, common, words, rarity)

    def assembled(self, folds: Sequence[_Fold], embedding: Embedding) -> OrderDiscriminator:
        """The mean of the folds' rankings; the weights of products go into what leads, the scale into the table."""
        leading, moves, shared = [], [], []
        for fold in folds:
            products, rest = np.split(fold.weights / FOLDS, [len(LAGS) * fold.leading.shape[2]])
            leading.append(fold.leading * products.reshape(len(LAGS), 1, -1))
            moves.append(rest[:MOVES])
            shared.append(rest[MOVES:])
        sides = [np.concatenate(side, axis=2) for side in (leading, [fold.following for fold in folds])]
        places = np.array([fold.place for fold in folds])
        table = np.concatenate([*(matrix for side in sides for matrix in side), places.T], axis=1)
        table = table / self.scale[:, None]
        return OrderDiscriminator(
            embedding=embedding,
            attributes=self.attributes,
            common=tuple(sorted(self.common)),
            weighed=self.words,
            rarity=self.rarity,
            table=table,
            offset=self.mean @ table,
            moves=np.array(moves),
            shared=np.sum(shared, axis=0),
            middle=np.array([sum(fold.middle for fold in folds) / FOLDS]),
        )


@dataclass(frozen=True)
class _Ranked:
    """Features of one document's sentences in any order: products by lag and direction, moves, what is shared."""

    document: Sequence[SeenSentence]
    rarity: dict[str, float]
    rarest: float

    def __call__(self, places: Sequence[int]) -> Float64[np.ndarray, " F"]:
        text = [self.document[place] for place in places]
        leading, following = np.array([s.leading for s in text]), np.array([s.following for s in text])
        products = [(leading[:-lag, lag - 1] * following[lag:, lag - 1]).sum(axis=0) for lag in LAGS]
        moves = moves_of(np.array([seen.place[0] for seen in text]))
        parts = [*products, moves, shared_features(text, self.rarity, self.rarest)]
        return np.concatenate(parts) / max(1, len(text) - 1)


def _described(marks: Sequence[Marks], attributes: Sequence[str]) -> Float64[np.ndarray, "N D"]:
    columns = {name: column for column, name in enumerate(attributes)}
    out = np.zeros((len(marks), len(attributes)))
    for row, seen in zip(out, marks, strict=True):
        for name, value in seen.attributes.items():
            if name in columns:
                row[columns[name]] = value
    return out


def _directions(
    tables: Sequence[Float64[np.ndarray, "_ D"]],
) -> tuple[Float64[np.ndarray, "L D J"], Float64[np.ndarray, "L D J"], Float64[np.ndarray, " D"]]:
    """Canonical directions of sentences `lag` apart, and the regression of a sentence's place in its document."""
    leading, following = [], []
    for lag in LAGS:
        apart = [table for table in tables if len(table) > lag]
        one = np.concatenate([table[:-lag] for table in apart] or [np.zeros((1, tables[0].shape[1]))])
        other = np.concatenate([table[lag:] for table in apart] or [np.zeros((1, tables[0].shape[1]))])
        left, right = _whitener(one), _whitener(other)
        u, _, v = np.linalg.svd(left @ (one.T @ other / len(one)) @ right)
        leading.append(left @ u[:, :DIRECTIONS])
        following.append(right @ v[:DIRECTIONS].T)
    everything = np.concatenate(tables)
    goal = np.concatenate([np.linspace(0, 1, len(table)) for table in tables]) - 0.5
    penalised = everything.T @ everything + PLACE_RIDGE * np.eye(everything.shape[1])
    return np.array(leading), np.array(following), np.linalg.solve(penalised, everything.T @ goal)


def _whitener(table: Float64[np.ndarray, "N D"]) -> Float64[np.ndarray, "D D"]:
    values, vectors = np.linalg.eigh(table.T @ table / len(table) + RIDGE * np.eye(table.shape[1]))
    white: Float64[np.ndarray, "D D"] = (vectors / np.sqrt(values)) @ vectors.T
    return white


def _project(
    table: Float64[np.ndarray, "N D"],
    vectors: Float64[np.ndarray, "N E"],
    marks: Sequence[Marks],
    leading: Float64[np.ndarray, "L D J"],
    following: Float64[np.ndarray, "L D J"],
    place: Float64[np.ndarray, " D"],
) -> list[SeenSentence]:
    first, second = (np.einsum("nd,ldj->nlj", table, side, optimize=True) for side in (leading, following))
    places = (table @ place)[:, None]
    rows = zip(vectors, first, second, places, marks, strict=True)
    return [SeenSentence(v, one, other, at, seen.mentions) for v, one, other, at, seen in rows]
