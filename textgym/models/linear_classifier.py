"""Text classifiers trained on labelled texts: logistic regression on tf-idf of words and characters.

Wang and Manning 2012 on how hard this is to beat on short reviews. The regression is scikit-learn's, its penalty chosen
by the likelihood of rows that it was not fitted to; what is saved are arrays, and equal to its own probabilities.

Letters: N texts, F features, C classes.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from textgym.errors import CheckpointError, CorpusError
from textgym.models.held_out import Accuracy, held_out
from textgym.models.saved_arrays import load_arrays, save_arrays
from textgym.models.text_features import Table, TextFeatures
from textgym.text.labelled_files import Labelled
from textgym.types import Arrays

KIND = "classifier"

PENALTIES = (0.5, 2.0, 8.0, 32.0)
"""What C is chosen from: the inverse of the penalty's weight."""

FOLDS = 3
MIN_ROWS = 10
"""Of each label: fewer say nothing of texts that are held out."""

Tell = Callable[[str], None]
"""Called with what begins."""


@dataclass(frozen=True, eq=False)
class LinearClassifier:
    """Satisfies `textgym.types.TextClassifier`.

    Attributes:
        features: texts to vectors.
        weights: (C, F) of each feature for each class.
        intercepts: (C,).
        labels: names of the classes.
        signature: kind and content hash; empty before it is saved.
        metadata: what is known of its training, e.g. `accuracy`.
    """

    features: TextFeatures
    weights: Float64[np.ndarray, "C F"]
    intercepts: Float64[np.ndarray, " C"]
    labels: tuple[str, ...]
    signature: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)

    def logprobs(self, texts: Sequence[str]) -> Float64[np.ndarray, "N C"]:
        """Log-probabilities (N, C); each row's exponentials sum to 1."""
        if not len(texts):
            return np.zeros((0, len(self.labels)))
        logits = self.features.transform(texts) @ self.weights.T + self.intercepts
        logits -= logits.max(axis=1, keepdims=True)
        logprobs: Float64[np.ndarray, "N C"] = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return logprobs

    def save(self, folder: Path | str) -> None:
        """Saves it as a folder.

        Raises:
            CheckpointError: the folder cannot be written.
        """
        arrays: Arrays = {"weights": self.weights, "intercepts": self.intercepts, **self.features.to_arrays()}
        save_arrays(folder, KIND, {"labels": list(self.labels), "metadata": self.metadata}, arrays)

    def __deepcopy__(self, memo: dict[int, Any]) -> "LinearClassifier":
        return self


def load(folder: Path | str) -> LinearClassifier:
    """A classifier that was saved.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    config, arrays, signature = load_arrays(folder, KIND)
    features = TextFeatures.from_arrays(arrays)
    given = config.get("labels")
    labels = tuple(map(str, given)) if isinstance(given, list) else ()
    shapes = {"weights": (len(labels), len(features)), "intercepts": (len(labels),)}
    if not labels or any(name not in arrays or arrays[name].shape != shape for name, shape in shapes.items()):
        raise CheckpointError(f"{folder}: labels, weights and features do not fit together. Take another copy.")
    metadata = config.get("metadata", {})
    return LinearClassifier(features, arrays["weights"], arrays["intercepts"], labels, signature, metadata)


def fit_classifier(rows: Sequence[Labelled], seed: int = 0, tell: Tell = lambda stage: None) -> LinearClassifier:
    """Trains a classifier on four fifths of the rows, and measures it on the rest.

    Args:
        rows: texts with labels, at least 10 of each label.
        seed: of what is held out.
        tell: is told what begins.

    Returns:
        the classifier; its metadata say `accuracy`, `interval`, `heldout` rows, `logloss` and `C`.

    Raises:
        CorpusError: one label only, or too few rows of one.
    """
    labels = _labels(rows)
    classes = np.array([labels.index(row.label) for row in rows], dtype=np.int64)
    kept = held_out(classes, seed)
    texts = np.array([row.text for row in rows], dtype=object)
    tell("counting words")
    features = TextFeatures.fit(texts[~kept].tolist())
    table = features.transform(texts[~kept].tolist())
    penalty = _penalty(table, classes[~kept], seed, tell)
    tell(f"fitting with C={penalty:g}")
    fitted = _regression(penalty).fit(table, classes[~kept])
    weights, intercepts = fitted.coef_, fitted.intercept_
    if len(labels) == 2:  # scikit-learn keeps the second class of two
        weights, intercepts = (np.concatenate([np.zeros_like(part), part]) for part in (weights, intercepts))
    model = LinearClassifier(features, np.ascontiguousarray(weights), intercepts, labels)
    logprobs = model.logprobs(texts[kept].tolist())
    right = Accuracy(float((logprobs.argmax(axis=1) == classes[kept]).sum()), int(kept.sum()))
    metadata = {
        "accuracy": right.value,
        "interval": list(right.interval),
        "logloss": float(-logprobs[np.arange(len(logprobs)), classes[kept]].mean()),
        "rows": int((~kept).sum()),
        "heldout": right.rows,
        "C": penalty,
        "seed": seed,
    }
    return LinearClassifier(features, model.weights, model.intercepts, labels, metadata=metadata)


def _labels(rows: Sequence[Labelled]) -> tuple[str, ...]:
    counts = Counter(row.label for row in rows)
    if len(counts) < 2:
        only = ", ".join(map(repr, counts)) or "none"
        raise CorpusError(f"a classifier tells labels apart, and there is {only}: give rows of at least two labels")
    label, fewest = min(counts.items(), key=lambda item: item[1])
    if fewest < MIN_ROWS:
        raise CorpusError(
            f"label {label!r} has {fewest} rows, and {MIN_ROWS} of each are the least to learn from and to hold out. "
            f"If the column holds more than names ({len(counts)} different values), name another with --label"
        )
    return tuple(sorted(counts))


def _regression(penalty: float) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=penalty, max_iter=1000)


def _penalty(table: Table, classes: np.ndarray, seed: int, tell: Tell) -> float:
    """The C under which rows that were left out are likeliest."""
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    losses = []
    for penalty in PENALTIES:
        tell(f"cross-validating C={penalty:g}")
        guesses = cross_val_predict(_regression(penalty), table, classes, cv=folds, method="predict_log_proba")
        losses.append(float(-guesses[np.arange(len(classes)), classes].mean()))
    return PENALTIES[int(np.argmin(losses))]
