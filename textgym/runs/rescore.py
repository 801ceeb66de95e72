"""Saved texts under another reward: what would it have said, before anything is trained on it?

Both rewards are compared over the same texts: how alike they order them, over all and within each prompt; whether the
run would have counted as progress; and which texts they disagree about most.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64

from textgym.errors import CorpusError, ScoringFailure
from textgym.interop.portable_reward import PortableReward
from textgym.text.rollouts import Rollout
from textgym.types import TextBatch

BATCH_ROWS = 256
SHOWN = 10
"""Texts that are shown of those that rise, and of those that fall."""

Values = Float64[np.ndarray, " N"]


@dataclass(frozen=True)
class Agreement:
    """How alike two rewards order texts.

    Attributes:
        texts: how many both apply to.
        spearman: rank correlation over all texts; None where a reward is the same for all of them.
        kendall: Kendall's tau-b over all texts.
        prompts: with at least two texts on which both rewards have an opinion, that is, differ.
        spearman_within: the mean over those prompts.
        kendall_within: the mean over those prompts.
        best_changes: share of the prompts with at least two texts whose best text is another one.
    """

    texts: int
    spearman: float | None
    kendall: float | None
    prompts: int
    spearman_within: float | None
    kendall_within: float | None
    best_changes: float | None


@dataclass(frozen=True)
class Progress:
    """What a reward says of the texts at the end of a training against those at its beginning.

    Attributes:
        before: mean at the beginning.
        after: mean at the end.
        change: with its 95% interval: mean, low, high.
    """

    before: float
    after: float
    change: tuple[float, float, float]

    @property
    def verdict(self) -> str:
        """Whether it rose for certain."""
        _, low, high = self.change
        return "progress" if low > 0 else "decline" if high < 0 else "no certain change"


@dataclass(frozen=True)
class Rescoring:
    """Texts under another reward.

    Attributes:
        rollouts: N texts.
        old: what was recorded of each (N,), NaN where nothing was.
        new: what the new reward says (N,), NaN where it is not applicable.
        components: of the new reward, (N,) each.
        agreement: None where no reward was recorded.
        begin: which texts are of the beginning of the training (N,); none where that is not known.
        end: which are of its end (N,).
        paired: whether those are texts about the same prompts, in the same order.
    """

    rollouts: Sequence[Rollout]
    old: Values
    new: Values
    components: Mapping[str, Values]
    agreement: Agreement | None
    begin: Bool[np.ndarray, " N"]
    end: Bool[np.ndarray, " N"]
    paired: bool = False

    def progress(self, values: Values) -> Progress | None:
        """How values (N,) changed over the training; None where beginning or end is not known."""
        begin, end = values[self.begin], values[self.end]
        if self.paired:
            both = ~(np.isnan(begin) | np.isnan(end))
            begin, end = begin[both], end[both]
        begin, end = begin[~np.isnan(begin)], end[~np.isnan(end)]
        if not (len(begin) and len(end)):
            return None
        return Progress(float(begin.mean()), float(end.mean()), _change(begin, end, self.paired))

    def moved(self) -> tuple[list[int], list[int]]:
        """The texts that rise most from the old ranking to the new, and those that fall most; first the farthest."""
        both = np.flatnonzero(~(np.isnan(self.old) | np.isnan(self.new)))
        if len(both) < 2:
            return [], []
        rise = _ranks(self.new[both]) - _ranks(self.old[both])
        order = np.argsort(-rise, kind="stable")
        risers = [int(both[i]) for i in order[:SHOWN] if rise[i] > 0]
        fallers = [int(both[i]) for i in order[::-1][:SHOWN] if rise[i] < 0]
        return risers, fallers

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able values."""
        risers, fallers = self.moved()
        progress = {name: self.progress(values) for name, values in (("old", self.old), ("new", self.new))}
        return {
            "texts": len(self.rollouts),
            "recorded": int((~np.isnan(self.old)).sum()),
            "applicable": int((~np.isnan(self.new)).sum()),
            "agreement": None if self.agreement is None else asdict(self.agreement),
            "mean": {"old": _mean(self.old), "new": _mean(self.new)},
            "progress": {
                name: None if found is None else {**asdict(found), "verdict": found.verdict}
                for name, found in progress.items()
            },
            "components": {name: self._component(values) for name, values in self.components.items()},
            "rise": [self._text(row) for row in risers],
            "fall": [self._text(row) for row in fallers],
        }

    def _component(self, values: Values) -> dict[str, Any]:
        found = self.progress(values)
        both = ~(np.isnan(values) | np.isnan(self.old))
        return {
            "mean": _mean(values),
            "before": None if found is None else found.before,
            "after": None if found is None else found.after,
            "spearman": _correlation("spearman", values[both], self.old[both]),
        }

    def _text(self, row: int) -> dict[str, Any]:
        rollout = self.rollouts[row]
        return {
            "prompt": rollout.prompt,
            "completion": rollout.completion,
            "old": float(self.old[row]),
            "new": float(self.new[row]),
            "line": rollout.line,
        }


def rescore(rollouts: Iterable[Rollout], reward: PortableReward, *, replay: bool = False) -> Rescoring:
    """Scores saved texts under another reward.

    Args:
        rollouts: the texts and what was recorded of them.
        reward: the new one.
        replay: score the recorded ids where there are some, EOS included, as the run did: they are of this reward's
            tokenizer. Otherwise the texts are read anew.

    Raises:
        CorpusError: there is no text.
        ScoringFailure: the reward fails on a text; names its line.
    """
    texts = list(rollouts)
    if not texts:
        raise CorpusError("there are no texts to score")
    new, components = np.full(len(texts), np.nan), {name: np.full(len(texts), np.nan) for name in reward.components}
    for first in range(0, len(texts), BATCH_ROWS):
        rows = slice(first, first + BATCH_ROWS)
        values, columns = _scored(texts[rows], reward, replay)
        new[rows] = values
        for name, column in columns.items():
            components[name][rows] = column
    old = np.array([np.nan if text.reward is None else text.reward for text in texts])
    both = ~(np.isnan(old) | np.isnan(new))
    groups = [text.group for text in texts]
    begin, end = _ends(texts)
    agreement = _agreement(old, new, both, groups) if both.any() else None
    paired = [groups[i] for i in np.flatnonzero(begin)] == [groups[i] for i in np.flatnonzero(end)]
    return Rescoring(texts, old, new, components, agreement, begin, end, paired)


def _scored(texts: Sequence[Rollout], reward: PortableReward, replay: bool) -> tuple[Values, dict[str, Values]]:
    try:
        if replay and all(text.prompt_ids is not None and text.completion_ids is not None for text in texts):
            return _replayed(texts, reward)
        scores = reward.rewards(
            [text.prompt for text in texts],
            [text.completion for text in texts],
            [text.references for text in texts],
            [text.metadata for text in texts],
        )
    except ScoringFailure as error:
        if len(texts) == 1:
            raise ScoringFailure(f"{texts[0].source}, line {texts[0].line}: {error}") from error
        middle = len(texts) // 2
        for half in (texts[:middle], texts[middle:]):
            _scored(half, reward, replay)
        raise
    columns = {name: _array(column) for name, column in scores.components.items()}
    return _array(scores.values), columns


def _replayed(texts: Sequence[Rollout], reward: PortableReward) -> tuple[Values, dict[str, Values]]:
    opened = reward.opened
    assert opened.tokenizer is not None, "without a task there are no ids to replay"
    batch = TextBatch(
        [np.array(text.prompt_ids, dtype=np.int32) for text in texts],
        [np.array(text.completion_ids, dtype=np.int32) for text in texts],
        opened.tokenizer,
        [text.references for text in texts],
        [text.metadata for text in texts],
    )
    scores = opened.score(batch)
    return np.where(scores.valid, scores.values, np.nan), dict(scores.components)


def _array(values: Sequence[float | None]) -> Values:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _ends(texts: Sequence[Rollout]) -> tuple[Bool[np.ndarray, " N"], Bool[np.ndarray, " N"]]:
    """Which texts are of the beginning and of the end of a training: by phase, else the first and last steps.

    Of a training with many steps, a fifth of them at each end.
    """
    phases = np.array([text.phase for text in texts])
    if {"before", "after"} <= {*phases.tolist()}:
        return phases == "before", phases == "after"
    steps = np.array([math.nan if text.step is None else text.step for text in texts], dtype=np.float64)
    known = np.unique(steps[~np.isnan(steps)])
    if len(known) < 2:
        none = np.zeros(len(texts), dtype=bool)
        return none, none
    some = max(len(known) // 5, 1)
    return steps <= known[some - 1], steps >= known[-some]


def _agreement(old: Values, new: Values, both: Bool[np.ndarray, " N"], groups: Sequence[str]) -> Agreement:
    within: dict[str, list[int]] = {}
    for row in np.flatnonzero(both).tolist():
        within.setdefault(groups[row], []).append(row)
    several = [np.array(rows) for rows in within.values() if len(rows) > 1]
    differ = [rows for rows in several if np.ptp(old[rows]) > 0 and np.ptp(new[rows]) > 0]
    changes = [not set(_best(old[rows])) & set(_best(new[rows])) for rows in several]
    correlations = {
        kind: [value for rows in differ if (value := _correlation(kind, old[rows], new[rows])) is not None]
        for kind in ("spearman", "kendall")
    }
    return Agreement(
        int(both.sum()),
        _correlation("spearman", old[both], new[both]),
        _correlation("kendall", old[both], new[both]),
        len(differ),
        _mean(np.array(correlations["spearman"])),
        _mean(np.array(correlations["kendall"])),
        float(np.mean(changes)) if changes else None,
    )


def _best(values: Values) -> Iterator[int]:
    yield from np.flatnonzero(values == values.max()).tolist()


def _correlation(kind: str, one: Values, other: Values) -> float | None:
    """A rank correlation; None where a side is the same for all texts, which has no order."""
    from scipy.stats import kendalltau, spearmanr

    if len(one) < 2 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    return float((spearmanr if kind == "spearman" else kendalltau)(one, other).statistic)


def _ranks(values: Values) -> Values:
    """Ranks from 0, the lowest, to 1; equal values share theirs."""
    from scipy.stats import rankdata

    ranks: Values = (rankdata(values) - 1) / max(len(values) - 1, 1)
    return ranks


def _change(begin: Values, end: Values, paired: bool) -> tuple[float, float, float]:
    """The change of the mean with its 95% interval: Student's where the texts are paired, else Welch's."""
    from scipy.stats import ttest_ind, ttest_rel

    mean = float(end.mean() - begin.mean())
    spread = np.ptp(end - begin) if paired else max(np.ptp(begin), np.ptp(end))
    if min(len(begin), len(end)) < 2 or spread == 0:
        return mean, mean, mean
    test = ttest_rel(end, begin) if paired else ttest_ind(end, begin, equal_var=False)
    interval = test.confidence_interval()
    return mean, float(interval.low), float(interval.high)


def _mean(values: Values) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None
