"""Binding and evaluation: an expression meets a task's context once, then scores batches.

Each distinct leaf scores a batch once, however often it occurs; the arithmetic above the leaves is numpy on (B,).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from textgym.errors import ScoringFailure
from textgym.scorers.algebra import Combine, Composite
from textgym.scorers.base import Score, Scorer
from textgym.types import Scores, ScoringContext, TextBatch


@dataclass(frozen=True, eq=False)
class BoundScorer:
    """A scorer with all that it needs in hand.

    Attributes:
        scorer: the expression.
        signature: that of the expression, of the context, and of the models that were taken from it.
        leaves: what scores, by component name.
        names: the component name of each leaf.
        combiners: the arithmetic of each composite node.
        context: what it was bound to.
    """

    scorer: Scorer
    signature: str
    leaves: Mapping[str, Score]
    names: Mapping[Scorer, str]
    combiners: Mapping[Scorer, Combine]
    context: ScoringContext | None = None

    def score(self, batch: TextBatch) -> Scores:
        """Scores of B completions, every leaf's raw values among the components.

        Raises:
            ScoringFailure: a leaf returned another number of rows.
        """
        return self.combine({name: score_leaf(name, leaf, batch) for name, leaf in self.leaves.items()}, len(batch))

    def combine(self, scores: Mapping[str, Scores], rows: int) -> Scores:
        """Scores of the expression (B = `rows`), given those of its leaves by component name."""
        total = self.evaluate(self.scorer, scores, rows)
        components = {name: _raw(of_leaf) for name, of_leaf in scores.items()}
        return replace(total, values=np.where(total.valid, total.values, 0.0), components=components)

    def evaluate(self, node: Scorer, scores: Mapping[str, Scores], rows: int) -> Scores:
        """Scores of one node of the expression (B = `rows`), given those of the leaves below it."""
        if isinstance(node, Composite):
            return self.combiners[node]([self.evaluate(part, scores, rows) for part in node.parts], rows)
        return scores[self.names[node]]

    def __deepcopy__(self, memo: dict[int, Any]) -> "BoundScorer":
        return self


def bind(scorer: Scorer, context: ScoringContext | None) -> BoundScorer:
    """Binds an expression; the way to it is `Scorer.bind`."""
    names = component_names(scorer)
    composites = [node for node in walk(scorer) if isinstance(node, Composite)]
    signature = scorer.signature
    if context is not None:
        prints = dict.fromkeys(leaf.fingerprint(context) for leaf in names)
        signature = " @ ".join([signature, context.signature, *filter(None, prints)])
    return BoundScorer(
        scorer,
        signature,
        {name: leaf.prepare(context) for leaf, name in names.items()},
        names,
        {node: node.combiner(context) for node in dict.fromkeys(composites)},
        context,
    )


def walk(scorer: Scorer) -> Iterator[Scorer]:
    """All nodes of an expression, a node before its parts, from left to right."""
    yield scorer
    if isinstance(scorer, Composite):
        for part in scorer.parts:
            yield from walk(part)


def component_names(scorer: Scorer) -> dict[Scorer, str]:
    """The distinct leaves of an expression and what each is called in `Scores.components`.

    A leaf goes by its short name if no other leaf has it, else by its text form.
    """
    leaves = dict.fromkeys(node for node in walk(scorer) if not isinstance(node, Composite))
    short = [leaf.component for leaf in leaves]
    texts = [leaf.component if short.count(leaf.component) == 1 else str(leaf) for leaf in leaves]
    # Two functions may share even their text: the later ones are numbered.
    repeats = [texts[:i].count(text) for i, text in enumerate(texts)]
    names = [f"{text}#{n + 1}" if n else text for text, n in zip(texts, repeats, strict=True)]
    return dict(zip(leaves, names, strict=True))


def score_leaf(name: str, leaf: Score, batch: TextBatch) -> Scores:
    """Scores of one leaf, with the shapes checked and 0 in the rows to which it is not applicable.

    Raises:
        ScoringFailure: the leaf returned something that is not Scores of B rows.
    """
    rows = len(batch)
    if not rows:
        return Scores(np.zeros(0))
    scores = leaf(batch)
    if not isinstance(scores, Scores):
        raise ScoringFailure(f"scorer {name!r} returned {type(scores).__name__}, not textgym.types.Scores")
    width = max(map(len, batch.completions))
    shapes: Sequence[tuple[str, tuple[int, ...], tuple[int, ...]]] = [
        ("values", scores.values.shape, (rows,)),
        ("valid", scores.valid.shape, (rows,)),
        ("tokens", (rows, width) if scores.tokens is None else scores.tokens.shape, (rows, width)),
    ]
    for what, shape, expected in shapes:
        if shape != expected:
            raise ScoringFailure(f"scorer {name!r} returned {what} of shape {shape} for a batch of shape {expected}")
    if scores.valid.all():
        return scores
    return replace(scores, values=np.where(scores.valid, scores.values, 0.0))


def _raw(scores: Scores) -> np.ndarray:
    """Values as they are reported: NaN where not applicable, since 0 would be an opinion."""
    return scores.values if scores.valid.all() else np.where(scores.valid, scores.values, np.nan)
