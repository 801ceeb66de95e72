"""Preference models trained on pairs: the strength r of Bradley and Terry, P(a beats b) = 1 / (1 + exp(r_b - r_a)).

Bradley and Terry 1952; Christiano et al. 2017 and Stiennon et al. 2020 for strengths as rewards. Two kinds:

- linear: strength is a weighted sum of tf-idf of the completion and of how it relates to its prompt. Trains in seconds
  with scikit-learn; the penalty is chosen by the likelihood of pairs that were left out.
- transformer: a Transformer that reads prompt and completion (`textgym.models.preference_transformer`).

Letters: N texts, F features, K relations.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64

from textgym.errors import CheckpointError, CorpusError
from textgym.models.held_out import Accuracy, held_out
from textgym.models.saved_arrays import load_arrays, save_arrays
from textgym.models.text_features import Table, TextFeatures
from textgym.text.labelled_files import Preference
from textgym.text.sentences import sentences, words
from textgym.types import Arrays, PreferenceModel

KIND = "preference"

PENALTIES = (0.03, 0.125, 0.5, 2.0, 8.0)
"""What C is chosen from: the inverse of the penalty's weight."""

FOLDS = 4
MIN_PAIRS = 20
"""Fewer say nothing of pairs that are held out."""

RELATIONS = (
    "log words",
    "sentences",
    "distinct words",
    "distinct pairs",
    "prompt covered",
    "from the prompt",
    "pairs together",
    "left kept",
    "left changed",
    "right kept",
    "right changed",
)
"""What is counted of a completion beside its words. The last five ask what becomes of neighbours in the prompt: does a
statement hold both, and does the first statement that holds the left (the right) one hold its neighbour, too?"""

_PART = re.compile(r"[.!?;,|\n。！？；，、]")
"""Between two statements."""

Tell = Callable[[str], None]
"""Called with what begins."""


@dataclass(frozen=True, eq=False)
class LinearPreference:
    """Satisfies `textgym.types.PreferenceModel`.

    Attributes:
        features: completions to vectors.
        weights: (F + K,) of each feature, then of each of the K `RELATIONS`.
        moments: (2, K) mean and standard deviation of `RELATIONS`.
        signature: kind and content hash; empty before it is saved.
        metadata: what is known of its training, e.g. `accuracy`.
    """

    features: TextFeatures
    weights: Float64[np.ndarray, " W"]
    moments: Float64[np.ndarray, "2 K"]
    signature: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)

    def strengths(self, prompts: Sequence[str], completions: Sequence[str]) -> Float64[np.ndarray, " N"]:
        """Strength of each completion after its prompt, (N,), in nats."""
        if not len(completions):
            return np.zeros(0)
        strengths: Float64[np.ndarray, " N"] = _table(self.features, self.moments, prompts, completions) @ self.weights
        return strengths

    def save(self, folder: Path | str) -> None:
        """Saves it as a folder.

        Raises:
            CheckpointError: the folder cannot be written.
        """
        arrays: Arrays = {"preference": self.weights, "moments": self.moments, **self.features.to_arrays()}
        save_arrays(folder, KIND, {"backend": "linear", "metadata": self.metadata}, arrays)

    def __deepcopy__(self, memo: dict[int, Any]) -> "LinearPreference":
        return self


def load(folder: Path | str) -> PreferenceModel:
    """A preference model that was saved, of either kind; a Transformer imports torch.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    config, arrays, signature = load_arrays(folder, KIND)
    if config.get("backend") == "transformer":
        from textgym.models.preference_transformer import from_arrays

        return from_arrays(folder, config, arrays, signature)
    features = TextFeatures.from_arrays(arrays)
    shapes = {"preference": (len(features) + len(RELATIONS),), "moments": (2, len(RELATIONS))}
    if any(name not in arrays or arrays[name].shape != shape for name, shape in shapes.items()):
        raise CheckpointError(f"{folder}: weights and features do not fit together. Take another copy.")
    return LinearPreference(features, arrays["preference"], arrays["moments"], signature, config.get("metadata", {}))


def fit_linear(pairs: Sequence[Preference], seed: int = 0, tell: Tell = lambda stage: None) -> LinearPreference:
    """Trains a linear model on four fifths of the pairs, and measures it on the rest.

    Args:
        pairs: at least 20.
        seed: of what is held out.
        tell: is told what begins.

    Returns:
        the model; its metadata are those of `measure`, and `C`.

    Raises:
        CorpusError: too few pairs.
    """
    kept = keep_pairs(pairs, seed)
    learnt = [pair for pair, out in zip(pairs, kept, strict=True) if not out]
    tell("counting words")
    features = TextFeatures.fit([text for pair in learnt for text in (pair.chosen, pair.rejected)])
    prompts, sides = [pair.prompt for pair in learnt], [[p.chosen for p in learnt], [p.rejected for p in learnt]]
    moments = _moments(np.concatenate([_relations(prompts, side) for side in sides]))
    chosen, rejected = (_table(features, moments, prompts, side) for side in sides)
    penalty, weights = _regress(chosen - rejected, seed, tell)
    model = LinearPreference(features, weights, moments)
    held = [pair for pair, out in zip(pairs, kept, strict=True) if out]
    return replace(model, metadata={**measure(model, held), "rows": len(learnt), "C": penalty, "seed": seed})


def keep_pairs(pairs: Sequence[Preference], seed: int) -> Bool[np.ndarray, " N"]:
    """Which pairs are held out: a fifth of the prompts with all their pairs; of the pairs, where there are few prompts.

    Raises:
        CorpusError: too few pairs.
    """
    if len(pairs) < MIN_PAIRS:
        raise CorpusError(f"{len(pairs)} pairs are too few to learn from and to hold out: give {MIN_PAIRS} or more")
    prompts = list(dict.fromkeys(pair.prompt for pair in pairs))
    if len(prompts) < MIN_PAIRS:
        return held_out(np.zeros(len(pairs), dtype=np.int64), seed)
    out = held_out(np.zeros(len(prompts), dtype=np.int64), seed)
    kept = {prompt for prompt, one in zip(prompts, out, strict=True) if one}
    return np.array([pair.prompt in kept for pair in pairs])


def measure(model: PreferenceModel, pairs: Sequence[Preference]) -> dict[str, Any]:
    """What a model makes of pairs that it does not know.

    Returns:
        `accuracy`, the share of pairs whose chosen side is the stronger, with its 95 % `interval` and how many pairs it
        is of, `heldout`; `logloss`, the mean of -log P(chosen beats rejected), ln 2 for a coin; `calibration`, the
        expected calibration error of P over ten bins (Guo et al. 2017).
    """
    prompts = [pair.prompt for pair in pairs]
    chosen, rejected = ([getattr(pair, side) for pair in pairs] for side in ("chosen", "rejected"))
    margins = model.strengths(prompts, chosen) - model.strengths(prompts, rejected)
    right = Accuracy(float((margins > 0).sum() + 0.5 * (margins == 0).sum()), len(pairs))
    return {
        "accuracy": right.value,
        "interval": list(right.interval),
        "heldout": len(pairs),
        "logloss": float(np.logaddexp(0.0, -margins).mean()),
        "calibration": _calibration(margins),
    }


def _calibration(margins: Float64[np.ndarray, " N"]) -> float:
    """Mean gap between how sure the model is of the side it prefers and how often that is the chosen one."""
    sure = 1.0 / (1.0 + np.exp(-np.abs(margins)))
    bins = np.minimum(((sure - 0.5) * 20).astype(np.int64), 9)
    gaps = [abs(float(((margins > 0) - sure)[bins == one].sum())) for one in range(10)]
    return sum(gaps) / len(margins)


def _regress(differences: Table, seed: int, tell: Tell) -> tuple[float, Float64[np.ndarray, " W"]]:
    """Logistic regression without intercept on chosen - rejected; every second pair turned, since it wants two classes.

    The best C, and the weights under it.
    """
    from scipy import sparse
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import KFold

    signs = np.where(np.random.default_rng(seed).permutation(differences.shape[0]) % 2, 1.0, -1.0)
    table = sparse.csr_matrix(differences.multiply(signs[:, None]))

    def fitted(penalty: float, rows: np.ndarray) -> Float64[np.ndarray, " W"]:
        model = LogisticRegression(C=penalty, fit_intercept=False, max_iter=1000).fit(table[rows], signs[rows])
        weights: Float64[np.ndarray, " W"] = np.ascontiguousarray(model.coef_[0])
        return weights

    losses = []
    for penalty in PENALTIES:
        tell(f"cross-validating C={penalty:g}")
        folds = KFold(FOLDS, shuffle=True, random_state=seed).split(signs)
        margins = [(differences[left] @ fitted(penalty, rows)) for rows, left in folds]
        losses.append(float(np.logaddexp(0.0, -np.concatenate(margins)).mean()))
    best = PENALTIES[int(np.argmin(losses))]
    tell(f"fitting with C={best:g}")
    return best, fitted(best, np.arange(len(signs)))


def _table(features: TextFeatures, moments: np.ndarray, prompts: Sequence[str], completions: Sequence[str]) -> Table:
    from scipy import sparse

    mean, sd = moments
    relations = (_relations(prompts, completions) - mean) / sd
    return sparse.csr_matrix(sparse.hstack([features.transform(completions), sparse.csr_matrix(relations)]))


def _moments(relations: Float64[np.ndarray, "N K"]) -> Float64[np.ndarray, "2 K"]:
    sd = relations.std(axis=0)
    return np.stack([relations.mean(axis=0), np.where(sd > 1e-9, sd, 1.0)])


def _relations(prompts: Sequence[str], completions: Sequence[str]) -> Float64[np.ndarray, "N K"]:
    """The measures of `RELATIONS`, (N, K)."""
    return np.array([_relation(prompt, text) for prompt, text in zip(prompts, completions, strict=True)])


def _relation(prompt: str, completion: str) -> list[float]:
    said, asked = words(completion), set(words(prompt))
    pairs, distinct = list(pairwise(said)), set(said)
    return [
        float(np.log1p(len(said))),
        float(len(sentences(completion))),
        len(distinct) / max(len(said), 1),
        len(set(pairs)) / max(len(pairs), 1),
        len(asked & distinct) / max(len(asked), 1),
        sum(word in asked for word in said) / max(len(said), 1),
        *_neighbours(prompt, completion),
    ]


def _neighbours(prompt: str, completion: str) -> list[float]:
    """The last five of `RELATIONS`, as shares of the neighbours in the prompt."""
    told = [frozenset(words(part)) for part in _PART.split(completion) if part.strip()]
    first: dict[str, frozenset[str]] = {}
    for part in told:
        first |= {word: part for word in part if word not in first}
    neighbours = [pair for part in _PART.split(prompt) for pair in pairwise(words(part))]
    counts = np.zeros(5)
    for left, right in neighbours:
        counts[0] += any(left in part and right in part for part in told)
        for place, (one, other) in ((1, (left, right)), (3, (right, left))):
            if one in first:
                counts[place + (other not in first[one])] += 1
    shares: list[float] = (counts / max(len(neighbours), 1)).tolist()
    return shares
