"""A reward: a scorer bound to a task, whose every failure is an error that says where.

A scorer that raises, or returns NaN, infinity or the wrong shape, never becomes a reward of 0.
"""

from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from textgym.errors import ScorerError, ScoringFailure
from textgym.scorers.algebra import Composite
from textgym.scorers.base import Score
from textgym.scorers.bound import BoundScorer, score_leaf, walk
from textgym.scorers.spec import RewardLike, resolve
from textgym.types import Scores, ScoringContext, TextBatch

_SHOWN = 300  # characters of a text in a message


@dataclass(frozen=True, eq=False)
class Reward:
    """What an environment pays: total, finite, and guarded.

    Attributes:
        bound: the scorer with all that it needs in hand.
    """

    bound: BoundScorer

    @property
    def text(self) -> str:
        """The expression."""
        return str(self.bound.scorer)

    @property
    def signature(self) -> str:
        """Expression with versions and every parameter, context and models: equal iff rewards are comparable."""
        return self.bound.signature

    @property
    def components(self) -> tuple[str, ...]:
        """Names of the raw values that `score` reports."""
        return tuple(self.bound.leaves)

    @property
    def range(self) -> tuple[float, float]:
        """Lowest and highest reward that any text can have."""
        return self.bound.scorer.range

    def score(self, batch: TextBatch) -> Scores:
        """Rewards of B completions: values (B,), all valid and finite.

        Raises:
            ScoringFailure: naming the scorer, the row and the text.
        """
        by_leaf = {name: self._leaf(name, leaf, batch) for name, leaf in self.bound.leaves.items()}
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                scores = self.bound.combine(by_leaf, len(batch))
        except Exception as error:
            raise ScoringFailure(f"reward {self.text!r}: {_say(error)}") from error
        _check_finite(f"reward {self.text!r}", scores, batch)
        if not scores.valid.all():
            row = int(np.argmin(scores.valid))
            culprit = next((name for name, leaf in by_leaf.items() if not leaf.valid[row]), self.text)
            raise ScoringFailure(
                f"scorer {culprit!r} is not applicable to row {row} of {len(batch)}; default(x, value) says what such "
                f"texts earn\n{_show(batch, row)}"
            )
        return scores

    def mask(self, batch: TextBatch) -> Scores:
        """As `score`, but rows that fail are not valid (value 0, components NaN) instead of an error.

        For buffers that drop such episodes from training. Costs nothing where nothing fails.

        Raises:
            ScoringFailure: the scorer fails on the batch though it fails on no single row.
        """
        try:
            return self.score(batch)
        except ScoringFailure:
            good = [row for row in range(len(batch)) if self._passes(batch.row(row))]
        scores = self.score(batch.rows(good))
        rows, width = len(batch), max(map(len, batch.completions))
        values, valid, tokens = np.zeros(rows), np.zeros(rows, dtype=bool), np.zeros((rows, width))
        values[good], valid[good] = scores.values, True
        components = {name: np.full(rows, np.nan) for name in self.components}
        for name, of_leaf in scores.components.items():
            components[name][good] = of_leaf
        if scores.tokens is not None:
            tokens[good, : scores.tokens.shape[1]] = scores.tokens
        return Scores(values, valid, None if scores.tokens is None else tokens, components)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Reward":
        return self

    def _passes(self, row: TextBatch) -> bool:
        try:
            self.score(row)
        except ScoringFailure:
            return False
        return True

    def _leaf(self, name: str, leaf: Score, batch: TextBatch) -> Scores:
        try:
            scores = score_leaf(name, leaf, batch)
        except Exception as error:
            _find_row(name, leaf, batch, error)
        _check_finite(f"scorer {name!r}", scores, batch)
        return scores


def bind_reward(reward: RewardLike, context: ScoringContext) -> Reward:
    """Binds whatever was given as a reward to a task.

    Args:
        reward: an expression, a mapping, a scorer, a function, or ``path/to/file.py:function``.
        context: the task's.

    Raises:
        SpecError: an expression that cannot be read.
        ScorerError: no scorer in it, one of a set of texts, one that is not applicable to some episode of the task, or
            one that needs what the context does not have.
    """
    scorer = resolve(reward)
    leaves = [node for node in walk(scorer) if not isinstance(node, Composite)]
    if not leaves:
        raise ScorerError(f"reward {str(scorer)!r} holds no scorer, so every text would earn the same")
    sets = [node for node in walk(scorer) if node.set_level]
    if sets:  # the last is the innermost, a node that is one itself
        raise ScorerError(f"{sets[-1]} is a measure of a set of texts and cannot be the reward of one episode")
    if scorer.partial_in(context):
        leaf = next((leaf for leaf in leaves if leaf.partial_in(context)), scorer)
        raise ScorerError(
            f"{leaf} is not applicable to some episodes of this task, and not applicable is not zero: say what such a "
            f"text earns, e.g. default({leaf}, 0)"
        )
    return Reward(scorer.bind(context))


def _check_finite(what: str, scores: Scores, batch: TextBatch) -> None:
    bad = ~np.isfinite(scores.values) & scores.valid
    if bad.any():
        row = int(np.argmax(bad))
        raise ScoringFailure(
            f"{what} is {scores.values[row]} for row {row} of {len(batch)}; a finite number is expected, or None and "
            f"default(x, value) where it is not applicable\n{_show(batch, row)}"
        )


def _find_row(name: str, leaf: Score, batch: TextBatch, error: Exception) -> NoReturn:
    """Says which row a scorer failed on: it knows, or the rows are scored one at a time."""
    known = error.row if isinstance(error, ScoringFailure) else None
    for row in range(len(batch)) if known is None else (known,):
        alone = error if known is not None else _failure(name, leaf, batch.row(row))
        if alone is not None:
            message = f"scorer {name!r} failed on row {row} of {len(batch)}: {_say(alone)}\n{_show(batch, row)}"
            raise ScoringFailure(message) from alone
    raise ScoringFailure(
        f"scorer {name!r} failed on a batch of {len(batch)} rows, though on none of them alone: {_say(error)}"
    ) from error


def _failure(name: str, leaf: Score, row: TextBatch) -> Exception | None:
    try:
        score_leaf(name, leaf, row)
    except Exception as error:
        return error
    return None


def _say(error: Exception) -> str:
    return str(error) if isinstance(error, ScoringFailure) else f"{type(error).__name__}: {error}"


def _show(batch: TextBatch, row: int) -> str:
    try:
        texts = {"prompt": batch.row(row).prompt_texts[0], "completion": batch.row(row).completion_texts[0]}
    except Exception as error:
        return f"    ids that cannot be decoded: {error}"
    short = {name: text if len(text) <= _SHOWN else text[:_SHOWN] + "…" for name, text in texts.items()}
    return "\n".join(f"    {name:<10} {text!r}" for name, text in short.items())
