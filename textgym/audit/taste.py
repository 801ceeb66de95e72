"""What does it like? Good texts above bad ones, and neither long ones nor short ones as such."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from scipy.stats import binomtest, spearmanr

from textgym.audit import corruptions
from textgym.audit.arena import Arena
from textgym.audit.corruptions import SPOILED, Spoil, spoil
from textgym.audit.findings import Finding, Status
from textgym.scorers.plain import batch_of_texts

SURE = 0.01
"""A sign test at this level says which of two kinds of text a reward likes more."""

STRONG, NOTABLE = 0.8, 0.5
"""Spearman's correlation with length that is a failure, and one that is worth saying."""

EXPLOITS = 0.5
"""A way to change a text that pays for more than this share of the good texts, beyond doubt, is a failure."""


@dataclass(frozen=True)
class Contest:
    """Good texts against others, pair by pair.

    Attributes:
        wins: pairs that the good text wins.
        losses: pairs that it loses.
        ties: pairs that are even; not applicable is even with nothing, and left out.
    """

    wins: int
    losses: int
    ties: int

    @property
    def pairs(self) -> int:
        """All of them."""
        return self.wins + self.losses + self.ties

    @property
    def share(self) -> float:
        """Won, a tie as half; 0.5 without pairs."""
        return (self.wins + self.ties / 2) / self.pairs if self.pairs else 0.5

    @property
    def verdict(self) -> int:
        """1 if good texts win beyond doubt, -1 if they lose, 0 if neither (sign test)."""
        decided = self.wins + self.losses
        if not decided or binomtest(self.wins, decided).pvalue > SURE:
            return 0
        return 1 if self.wins > self.losses else -1


def contest(good: Float64[np.ndarray, " B"], other: Float64[np.ndarray, " B"]) -> Contest:
    """Good texts against others, row by row."""
    both = ~(np.isnan(good) | np.isnan(other))
    one, two = good[both], other[both]
    return Contest(int((one > two).sum()), int((one < two).sum()), int((one == two).sum()))


def check_sign(arena: Arena) -> Iterator[Finding]:
    """Do good texts score above random words, shuffled ones, nothing, one sentence over and over, the prompt again?"""
    direction = arena.bound.scorer.higher_is_better
    hint = "" if direction else f"; less of it is better: write -{arena.bound.scorer}"
    for name, (how, called) in SPOILED.items():
        if name == "copied" and not any(len(ids) for ids in arena.good.prompts):
            continue
        other = arena.values(arena.rewritten(spoil(how, arena, seed=1)))
        found = contest(arena.liked, other)
        means = {"good": _mean(arena.liked), name: _mean(other), "win_share": found.share, "pairs": found.pairs}
        scores = f"{means['good']:.3g} against {means[name]:.3g}"
        if not found.pairs:
            yield Finding("sign", "skip", f"{called}: not applicable", means)
        elif found.verdict < 0:
            lost = f"{called} {'win' if name in ('random', 'shuffled') else 'wins'} over good texts"
            yield Finding("sign", "FAIL", f"{lost} in {1 - found.share:.0%} of {found.pairs} ({scores}){hint}", means)
        elif found.verdict == 0:
            status: Status = "FAIL" if name == "random" else "warn"
            yield Finding("sign", status, f"cannot tell good texts from {called} ({scores})", means)
        else:
            yield Finding("sign", "ok", f"good texts win over {called} in {found.share:.0%} ({scores})", means)


LENGTHS: tuple[tuple[Spoil, str], ...] = (
    (corruptions.first_words, "their first two words alone win"),
    (corruptions.first_half, "their first halves win"),
    (corruptions.padded, "padding with other sentences wins"),
    (corruptions.doubled, "saying everything twice wins"),
)


def check_length(arena: Arena) -> Iterator[Finding]:
    """Does it pay to be long, or to be short?"""
    lengths = np.array([len(ids) for ids in arena.good.content], dtype=np.float64)
    rho = _spearman(arena.liked, lengths)
    numbers = {"spearman": rho}
    if abs(rho) >= NOTABLE:
        kind = "longer" if rho > 0 else "shorter"
        status: Status = "FAIL" if abs(rho) >= STRONG else "warn"
        yield Finding("length", status, f"{kind} texts score higher: correlation with length {rho:+.2f}", numbers)
    else:
        yield Finding("length", "ok", f"correlation of good texts' scores with their length {rho:+.2f}", numbers)
    for how, called in LENGTHS:
        other = arena.values(arena.rewritten(spoil(how, arena, seed=2)))
        found = contest(arena.liked, other)
        numbers = {"win_share": found.share, "pairs": found.pairs}
        if found.pairs and found.verdict < 0 and 1 - found.share > EXPLOITS:
            yield Finding("length", "FAIL", f"{called} over good texts in {1 - found.share:.0%}", numbers)


def check_prompt(arena: Arena) -> Iterator[Finding]:
    """Does it matter which prompt a text follows, and does it help to name every answer?"""
    others = spoil(corruptions.of_another, arena, seed=3)
    if others == arena.good.completion_texts:
        return
    found = contest(arena.liked, arena.values(arena.rewritten(others)))
    numbers = {"win_share": found.share, "pairs": found.pairs}
    if found.verdict < 0:
        yield Finding("prompt", "FAIL", f"texts about another prompt win in {1 - found.share:.0%}", numbers)
    elif found.verdict == 0:
        yield Finding("prompt", "warn", "does not tell a text about the prompt from one about another", numbers)
        return
    else:
        yield Finding(
            "prompt", "ok", f"texts about the prompt win over those about others in {found.share:.0%}", numbers
        )
    found = contest(arena.liked, arena.values(arena.rewritten(spoil(corruptions.hedged, arena, seed=4))))
    numbers = {"win_share": found.share, "pairs": found.pairs}
    if found.pairs and found.wins < 0.1 * found.pairs:
        free = 1 - found.wins / found.pairs
        message = f"naming {corruptions.HEDGES} wrong answers beside the right one costs nothing in {free:.0%}"
        yield Finding("prompt", "FAIL", message, numbers)


def check_blanks(arena: Arena) -> Iterator[Finding]:
    """Does it matter whether a blank or a line break stands at the end?"""
    texts = [text.rstrip() for text in arena.good.completion_texts]
    base = arena.values(arena.rewritten(texts))
    for mark, name in ((" ", "a blank"), ("\n", "a line break")):
        batch = arena.rewritten([text + mark for text in texts])
        if any(arena.tokenizer.unk_id in ids for ids in batch.completions):  # no text of this task ends so
            continue
        moved = np.abs(arena.values(batch) - base) > max(float(np.nanstd(base)), 1e-12) / 2
        share = float(moved.mean())
        if share > 0.5:
            yield Finding("blanks", "FAIL", f"{name} at the end changes {share:.0%} of the scores", {"share": share})
            return
    yield Finding("blanks", "ok", "a blank at the end changes little", {})


def check_truth(arena: Arena) -> Iterator[Finding]:
    """Where the truth is known: does the reward go with it?"""
    if arena.gold is None:
        return
    batch = arena.samples
    gold = arena.gold.score(batch).values
    inside = [_spearman(arena.sampled[arena.group == g], gold[arena.group == g]) for g in np.unique(arena.group)]
    known = [rho for rho in inside if np.isfinite(rho)]
    rho = float(np.mean(known)) if known else 0.0
    numbers = {"spearman": rho}
    if rho < -0.1:
        yield Finding("truth", "FAIL", f"goes against gold quality: correlation within a prompt {rho:+.2f}", numbers)
    elif rho < 0.2:
        yield Finding(
            "truth", "warn", f"has little to do with gold quality: correlation within a prompt {rho:+.2f}", numbers
        )
    else:
        yield Finding("truth", "ok", f"goes with gold quality: correlation within a prompt {rho:+.2f}", numbers)


def check_pairs(arena: Arena, pairs: Sequence[tuple[str, str, str]]) -> Iterator[Finding]:
    """Of pairs that people have judged: does it agree?

    Args:
        arena: with the reward.
        pairs: (prompt, better, worse).
    """
    tokenizer = None if arena.task is None else arena.tokenizer
    prompts, better, worse = ([pair[i] for pair in pairs] for i in range(3))
    scored = [arena.values(batch_of_texts(texts, prompts, tokenizer=tokenizer)) for texts in (better, worse)]
    found = contest(*scored)
    numbers = {"win_share": found.share, "pairs": found.pairs}
    agree = f"agrees with {found.share:.0%} of {found.pairs} judged pairs"
    if found.verdict > 0:
        yield Finding("pairs", "ok", agree, numbers)
    elif found.verdict < 0:
        yield Finding(
            "pairs", "FAIL", f"{agree}: it likes the worse texts more. Is a class taken by its place?", numbers
        )
    else:
        yield Finding("pairs", "FAIL", f"{agree}, which is chance. Is a class taken by its place?", numbers)


def _spearman(values: Float64[np.ndarray, " B"], others: Float64[np.ndarray, " B"]) -> float:
    """Spearman's correlation of the rows that have both; 0 where one of them does not vary."""
    both = np.isfinite(values) & np.isfinite(others)
    if both.sum() < 3 or np.ptp(values[both]) == 0 or np.ptp(others[both]) == 0:
        return 0.0
    return float(spearmanr(values[both], others[both]).statistic)


def _mean(values: Float64[np.ndarray, " B"]) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")
