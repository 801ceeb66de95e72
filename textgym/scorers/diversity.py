"""Diversity of a set of texts: how much the completions of one prompt, or of a whole file, are alike.

A value belongs to a set, and stands in the row of each of its texts: for reports, and never the reward of an episode.
"""

import hashlib
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from textgym.errors import ScorerError
from textgym.scorers.base import Scorer, register
from textgym.scorers.overlap import Bleu
from textgym.types import Scores, ScoringContext, TextBatch

Within = Literal["prompt", "all"]


@register("self_bleu")
@dataclass(frozen=True)
class SelfBleu(Scorer):
    """BLEU of a text with the other texts of its set as references, in 0..1; less is more diverse.

    The mean over a set is the self-BLEU of the paper. A text alone in its set is not applicable.

    Args:
        n: longest n-gram, in words.
        tokenize: as in ``bleu``.
        within: which texts make a set: those with the same ``prompt``, or ``all``.
        most: how many others a text is compared with at most, chosen by the hash of their words, so that a large file
            does not take the square of its size.
    """

    n: int = 4
    tokenize: Literal["13a", "intl", "zh", "char", "none"] = "13a"
    within: Within = "prompt"
    most: int = 100
    formula = "BLEU(text, others of its set)"
    source = "Zhu et al. 2018 (Texygen)"
    range = (0.0, 1.0)
    unit = "BLEU / 100"
    higher_is_better = False
    set_level = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n < 1 or self.most < 1:
            raise ScorerError(f"{self}: n counts words and most counts texts; both are at least 1")

    def partial_in(self, context: ScoringContext | None) -> bool:
        """Always: a text may be alone."""
        return True

    def score(self, batch: TextBatch) -> Scores:
        """Scores B completions: values (B,)."""
        values, valid = np.zeros(len(batch)), np.zeros(len(batch), dtype=bool)
        bleu = Bleu(n=self.n, tokenize=self.tokenize)
        for rows in _sets(batch, self.within):
            found: dict[str, list[int]] = {}
            for row in rows:
                found.setdefault(batch.completion_texts[row], []).append(row)
            for text, others in _others([batch.completion_texts[row] for row in rows], self.most):
                values[found[text]] = bleu.compare(text, others)
                valid[found[text]] = True
        return Scores(values, valid)


@register("compression_ratio")
@dataclass(frozen=True)
class CompressionRatio(Scorer):
    """Bytes of a set of texts over their bytes when compressed; less is more diverse.

    The texts are UTF-8, sorted, one a line, compressed by zlib at level 9. The last digit depends on the zlib that
    Python was built with.

    Args:
        within: which texts make a set: those with the same ``prompt``, or ``all``.
    """

    within: Within = "prompt"
    formula = "|texts| / |zlib(texts)|, in bytes"
    source = "Shaib et al. 2024"
    range = (0.0, 1032.0)  # the format allows no more: 258 bytes in two bits
    unit = "bytes per byte"
    higher_is_better = False
    set_level = True

    def score(self, batch: TextBatch) -> Scores:
        """Scores B completions: values (B,)."""
        values = np.zeros(len(batch))
        for rows in _sets(batch, self.within):
            texts = "\n".join(sorted(batch.completion_texts[row] for row in rows))
            values[rows] = len(_bytes(texts)) / len(zlib.compress(_bytes(texts), 9))
        return Scores(values)


def _sets(batch: TextBatch, within: Within) -> Iterable[list[int]]:
    """Rows of each set."""
    if within == "all":
        return [[*range(len(batch))]]
    found: dict[bytes, list[int]] = {}
    for row, ids in enumerate(batch.prompts):
        found.setdefault(ids.tobytes(), []).append(row)
    return found.values()


def _others(texts: Sequence[str], most: int) -> Iterable[tuple[str, list[str]]]:
    """Each distinct text and the others that it is compared with: those that come next in the order of their hashes.

    So neither depends on the order in which the texts came.
    """
    if len(texts) < 2:
        return
    ordered = sorted(texts, key=lambda text: hashlib.sha256(_bytes(text)).digest())
    for at, text in enumerate(ordered):
        if not at or text != ordered[at - 1]:
            near = range(at + 1, at + min(most, len(ordered) - 1) + 1)
            yield text, [ordered[i % len(ordered)] for i in near]


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
