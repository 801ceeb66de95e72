"""How a model of order is fitted: canonical directions in two thirds of the documents, their ranking in the others."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64

from textgym.models.order import LAGS, MOVES, OrderDiscriminator, SeenSentence, moves_of, shared_features
from textgym.models.order_ranking import choose_documents, differences, fit_ranker
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
    chosen = choose_documents(documents)
    sentences = [sentence for document in chosen for sentence in document]
    common = common_words(sentences)
    marks = [[observe(sentence, common) for sentence in document] for document in chosen]
    known = Counter(name for document in marks for seen in document for name in seen.attributes)
    attributes = tuple(sorted(name for name, count in known.items() if count >= max(5, RARE * len(sentences))))
    vectors = np.asarray(embedding.embed(sentences), dtype=np.float64)
    edges = np.cumsum([0, *map(len, chosen)])
    described = np.hstack([_described([seen for document in marks for seen in document], attributes), vectors])
    mean, scale = described.mean(axis=0), described.std(axis=0)
    scale[scale < 1e-9] = 1.0
    described = (described - mean) / scale
    weighed = Counter(word for document in marks for seen in document for word in set(seen.words))
    words = tuple(sorted(word for word, count in weighed.items() if count > 1))
    rarity = np.array([math.log(len(sentences) / (1 + weighed[word])) for word in words])
    rng = np.random.default_rng(seed)
    parts = []
    for fold in range(FOLDS):
        fitted = [n for n in range(len(chosen)) if n % FOLDS != fold]
        tables = [described[edges[n] : edges[n + 1]] for n in range(len(chosen))]
        leading, following, place = _directions([tables[n] for n in fitted])
        pairs = []
        for n in range(fold, len(chosen), FOLDS):
            document = _project(tables[n], vectors[edges[n] : edges[n + 1]], marks[n], leading, following, place)
            features = _Ranked(document, dict(zip(words, rarity.tolist(), strict=True)), float(rarity.max(initial=0)))
            pairs += differences(marks[n], features, rng)
        parts.append((leading, following, place, *fit_ranker(pairs, STRENGTH)))
    return _assembled(parts, mean, scale, embedding, attributes, tuple(sorted(common)), words, rarity)


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
    return [SeenSentence(*row, seen.mentions) for *row, seen in zip(vectors, first, second, places, marks, strict=True)]


def _assembled(
    parts: Sequence[tuple[Any, ...]],
    mean: Float64[np.ndarray, " D"],
    scale: Float64[np.ndarray, " D"],
    embedding: Embedding,
    attributes: tuple[str, ...],
    common: tuple[str, ...],
    words: tuple[str, ...],
    rarity: Float64[np.ndarray, " W"],
) -> OrderDiscriminator:
    """The mean of the folds' rankings; the weights of products go into what leads, the scale into the table."""
    leading, following, places, moves, shared = [], [], [], [], []
    for lead, follow, place, weights, _ in parts:
        products, rest = np.split(weights, [len(LAGS) * lead.shape[2]])
        leading.append(lead * products.reshape(len(LAGS), 1, -1) / FOLDS)
        following.append(follow)
        places.append(place)
        moves.append(rest[:MOVES] / FOLDS)
        shared.append(rest[MOVES:] / FOLDS)
    sides = [np.concatenate(side, axis=2) for side in (leading, following)]
    columns = [matrix for side in sides for matrix in side]
    table = np.concatenate([*columns, np.array(places).T], axis=1) / scale[:, None]
    middle = np.array([sum(part[4] for part in parts) / FOLDS])
    return OrderDiscriminator(
        embedding,
        attributes,
        common,
        words,
        rarity,
        table,
        mean @ table,
        np.array(moves),
        np.sum(shared, axis=0),
        middle,
    )
