"""How models of order are trained: the real order of some sentences against shuffled ones.

A text's features are a vector F; the weights w make sigmoid(w . (F(real) - F(shuffled))) likely. That is a logistic
regression on differences, so w . F ranks orders of the same sentences as RankNet does (Burges et al. 2005).
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from jaxtyping import Float64

from textgym.errors import CorpusError
from textgym.models.sentence_marks import Marks, blocks

WINDOW = 10
"""Pieces in a window that is shuffled."""

SHUFFLES = 2
"""Shuffles of each window."""

MAX_SENTENCES = 30_000
"""A model of order is fitted to at most so many sentences, of documents from the whole length of the corpus."""

Features = Callable[[Sequence[int]], Float64[np.ndarray, " F"]]
"""Features of one document's sentences in the order of the given places."""


Pair = tuple[Float64[np.ndarray, " F"], Float64[np.ndarray, " F"]]
"""Features of the real order and of a shuffled one."""


def choose_documents(documents: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    """Those of at least three sentences, thinned evenly to `MAX_SENTENCES`.

    Raises:
        CorpusError: fewer than six such documents.
    """
    long = [document for document in documents if len(document) > 2]
    if len(long) < 6:
        raise CorpusError(
            f"a model of order is fitted to documents of three sentences or more, six at least: among {len(documents)} "
            f"documents there are {len(long)}; use a longer corpus"
        )
    step = -(-sum(map(len, long)) // MAX_SENTENCES)
    return long[::step] if len(long[::step]) >= 6 else long[:6]


def differences(
    marks: Sequence[Marks], features: Features, rng: np.random.Generator
) -> Iterator[tuple[Float64[np.ndarray, " F"], Float64[np.ndarray, " F"]]]:
    """(F of the real order, F of a shuffled one) for every window of a document, or for all of a short one."""
    pieces = blocks(marks)
    for start in range(max(1, len(pieces) - WINDOW + 1)):
        window = pieces[start : start + WINDOW]
        if len(window) < 3:
            continue
        real = features([place for piece in window for place in piece])
        for _ in range(SHUFFLES):
            yield real, features([place for at in rng.permutation(len(window)) for place in window[at]])


def fit_ranker(
    pairs: Sequence[tuple[Float64[np.ndarray, " F"], Float64[np.ndarray, " F"]]], strength: float
) -> tuple[Float64[np.ndarray, " F"], float]:
    """Weights, and the middle between real and shuffled orders; imports scikit-learn.

    Args:
        pairs: features of real and of shuffled orders.
        strength: inverse of the L2 penalty on the weights of features of unit scale.
    """
    from sklearn.linear_model import LogisticRegression

    if not pairs:
        raise CorpusError("a model of order found no window of three sentences; use a longer corpus")
    real, shuffled = (np.array(side) for side in zip(*pairs, strict=True))
    gap = real - shuffled
    scale = gap.std(axis=0)
    scale[scale < 1e-9] = np.inf  # what never varies between orders has no weight
    gap /= scale
    sides = np.concatenate([gap, -gap])
    model = LogisticRegression(C=strength, fit_intercept=False, max_iter=200, tol=1e-3)
    weights = model.fit(sides, np.repeat([1, 0], len(gap))).coef_[0] / scale
    return weights, float(((real + shuffled) @ weights).mean() / 2)
