"""Texts as sparse vectors of tf-idf: runs of one or two words, and of two to six characters within a word.

The counting is scikit-learn's; it is imported when a text is first counted. What was learned is the vocabulary and the
weight of each entry, which are arrays, so that nothing is pickled.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float64

from textgym.errors import CheckpointError, CorpusError
from textgym.text.store import pack_texts, unpack_texts
from textgym.types import Arrays

SETTINGS: dict[str, dict[str, Any]] = {
    "words": {"analyzer": "word", "ngram_range": (1, 2), "token_pattern": r"(?u)\b\w+\b|[^\w\s]", "sublinear_tf": True},
    "characters": {"analyzer": "char_wb", "ngram_range": (2, 6), "sublinear_tf": True},
}
"""What is counted, by kind. A file names the kinds alone: a pattern from a file could be made never to end."""

Table = Any
"""A sparse matrix of scipy, one row a text."""


@dataclass(frozen=True, eq=False)
class TextFeatures:
    """Vocabularies and their weights. A text's vector depends on that text alone.

    Attributes:
        vocabularies: for each kind its entries, in the order of the columns.
        weights: for each kind the inverse document frequency of each entry.
    """

    vocabularies: dict[str, list[str]]
    weights: dict[str, Float64[np.ndarray, " _"]]

    @classmethod
    def fit(cls, texts: Sequence[str], kinds: Sequence[str] = ("words", "characters")) -> "TextFeatures":
        """Learns vocabularies; runs of characters must occur in two texts.

        Raises:
            CorpusError: there is no word in the texts.
        """
        from sklearn.feature_extraction.text import TfidfVectorizer

        vocabularies, weights = {}, {}
        for kind in kinds:
            vectorizer = TfidfVectorizer(min_df=2 if kind == "characters" else 1, **SETTINGS[kind])
            try:
                vectorizer.fit(texts)
            except ValueError as error:  # no entry, or none that occurs in two texts
                if kind == "words":
                    raise CorpusError(f"there is nothing to learn in {len(texts)} texts: {error}") from error
                continue
            vocabularies[kind] = [str(entry) for entry in vectorizer.get_feature_names_out()]
            weights[kind] = np.asarray(vectorizer.idf_, dtype=np.float64)
        return cls(vocabularies, weights)

    def __len__(self) -> int:
        """F, the number of columns."""
        return sum(map(len, self.vocabularies.values()))

    def transform(self, texts: Sequence[str]) -> Table:
        """Vectors (N, F), sparse, each kind of length 1."""
        from scipy import sparse

        return sparse.csr_matrix(sparse.hstack([vectorizer.transform(texts) for vectorizer in self._vectorizers]))

    @cached_property
    def _vectorizers(self) -> list[Any]:
        from sklearn.feature_extraction.text import TfidfVectorizer

        vectorizers = []
        for kind, vocabulary in self.vocabularies.items():
            places = {entry: place for place, entry in enumerate(vocabulary)}
            vectorizers.append(TfidfVectorizer(vocabulary=places, **SETTINGS[kind]))
            vectorizers[-1].idf_ = self.weights[kind]
        return vectorizers

    def to_arrays(self) -> Arrays:
        """The features as named arrays."""
        arrays: Arrays = {}
        for kind, vocabulary in self.vocabularies.items():
            packed = pack_texts(vocabulary)
            arrays |= {f"{kind}.{name}": array for name, array in packed.items()}
            arrays[f"{kind}.idf"] = self.weights[kind]
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> "TextFeatures":
        """The features that `to_arrays` wrote.

        Raises:
            CheckpointError: the arrays are not those of features.
        """
        kinds = [kind for kind in SETTINGS if f"{kind}.idf" in arrays]
        try:
            vocabularies = {
                kind: unpack_texts({name: arrays[f"{kind}.{name}"] for name in ("bytes", "offsets")}) for kind in kinds
            }
            weights = {kind: arrays[f"{kind}.idf"] for kind in kinds}
        except (KeyError, ValueError, IndexError) as error:
            raise CheckpointError(f"these arrays hold no features of texts: {sorted(arrays)}") from error
        if not kinds or any(weights[kind].shape != (len(vocabularies[kind]),) for kind in kinds):
            raise CheckpointError("the vocabulary of the features and their weights are of different lengths")
        return cls(vocabularies, weights)
