"""The prefixes of a task, level by level, enumerated through the environment's own dynamics, masks and payments.

Letters: N prefixes at which an action is chosen, V vocabulary, L observation length, T budget, P prompts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float64, Int32, Int64

from textgym.envs import dynamics
from textgym.envs.dynamics import LIVE
from textgym.envs.episodes import Episodes
from textgym.errors import TaskError
from textgym.oracle.merging import Merger
from textgym.oracle.openings import Openings
from textgym.oracle.size import LIMIT, require_small
from textgym.scorers.delivery import Payments
from textgym.types import TokenIds

Rows = Int64[np.ndarray, " K"]


@dataclass(frozen=True, eq=False)
class PrefixTree:
    """Every prefix at which an action is chosen, and what each action leads to.

    Attributes:
        episodes: what was enumerated.
        openings: the prompts; their prefixes are the first P.
        tokens: (N, L) the prefixes as observations.
        lengths: (N,) tokens in each, prompt and separator included.
        starts: (N,) where each completion begins.
        prompts: (N,) which of the openings each begins with.
        masks: (N, V) which actions there are.
        children: (N, V) the prefix that an action leads to; -1 where it ends the text, or is none.
        rewards: (N, V) what the step pays; 0 where there is none.
        totals: (N, V) the whole reward of a text that ends there; NaN elsewhere, and everywhere where prefixes were
            merged, which forget what was paid before.
        levels: (T + 1,) prefixes with t tokens of completion are those from levels[t] to levels[t + 1].
        merged: whether prefixes in the same state of the reward's machine are one.
    """

    episodes: Episodes
    openings: Openings
    tokens: Int32[np.ndarray, "N L"]
    lengths: Int64[np.ndarray, " N"]
    starts: Int64[np.ndarray, " N"]
    prompts: Int64[np.ndarray, " N"]
    masks: Bool[np.ndarray, "N V"]
    children: Int64[np.ndarray, "N V"]
    rewards: Float64[np.ndarray, "N V"]
    totals: Float64[np.ndarray, "N V"]
    levels: Int64[np.ndarray, " S"]
    merged: bool = False

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def slices(self) -> list[slice]:
        """The prefixes of each level, shortest first."""
        edges = self.levels.tolist()
        return [slice(begin, end) for begin, end in pairwise(edges)]

    @cached_property
    def ends(self) -> Bool[np.ndarray, "N V"]:
        """Where an action ends the text, (N, V)."""
        ends: Bool[np.ndarray, "N V"] = self.masks & (self.children < 0)
        return ends

    @property
    def texts(self) -> int:
        """How many finished texts there are."""
        return int(self.ends.sum())

    def find(self, tokens: Int32[np.ndarray, "B L"], lengths: Int64[np.ndarray, " B"]) -> Int64[np.ndarray, " B"]:
        """The places of B prefixes, given as observations.

        Raises:
            TaskError: a prefix that no legal text of this task has.
        """
        opened = [self.openings.find(row, length) for row, length in zip(tokens, lengths.tolist(), strict=True)]
        places = np.array(opened, dtype=np.int64)
        at = self.starts[places]
        while (live := np.flatnonzero(at < lengths)).size:
            places[live] = self.children[places[live], tokens[live, at[live]]]
            at[live] += 1
            if (places[live] < 0).any():
                row = int(live[np.argmin(places[live])])
                shown = self.episodes.task.tokenizer.decode(tokens[row, : lengths[row]])
                raise TaskError(
                    f"{shown!r} is no unfinished text of this task: it ends earlier, or holds what is masked"
                )
        return places

    def place(self, completion: Sequence[int] | TokenIds, prompt: int = 0) -> int:
        """The place of the prefix with these ids behind the P prompts' `prompt`-th."""
        start = int(self.starts[prompt])
        tokens = np.full((1, max(self.tokens.shape[1], start + len(completion))), dynamics.PADDING, np.int32)
        tokens[0, :start] = self.tokens[prompt, :start]
        tokens[0, start : start + len(completion)] = completion
        return int(self.find(tokens, np.array([start + len(completion)]))[0])


@dataclass(frozen=True)
class _Level:
    """Prefixes with equally many tokens of completion, and the books of what was paid on the way to them."""

    tokens: Int32[np.ndarray, "K L"]
    lengths: Rows
    starts: Rows
    prompts: Rows
    books: Payments | None
    pages: Rows  # the row of the books that each prefix has
    states: Rows | None = None  # of the reward's machine, where prefixes are merged


@dataclass(frozen=True)
class _Expanded:
    """What the actions of a level lead to, (K, V) each."""

    masks: Bool[np.ndarray, "K V"]
    children: Int64[np.ndarray, "K V"]
    rewards: Float64[np.ndarray, "K V"]
    totals: Float64[np.ndarray, "K V"]


def enumerate_prefixes(episodes: Episodes, *, limit: int = LIMIT, merger: Merger | None = None) -> PrefixTree:
    """All prefixes of all prompts of the split, or one for each state of the reward's machine.

    Args:
        episodes: a task with its reward, delivery and masks; `env.unwrapped.episodes` of an environment.
        limit: the most prefixes and texts.
        merger: which prefixes are one; None for none.

    Raises:
        TaskError: there would be more; the message says how many, and what to change.
        ScoringFailure: the reward fails on some text.
    """
    require_small(episodes, limit, merger)
    openings = Openings.of(episodes)
    level = _first(episodes, openings, merger)
    levels: list[_Level] = []
    parts: list[_Expanded] = []
    edges = [0]
    while len(level.tokens):
        edges.append(edges[-1] + len(level.tokens))
        following, expanded = _expand(episodes, openings, level, edges[-1], merger)
        levels.append(level)
        parts.append(expanded)
        level = following
    return PrefixTree(
        episodes,
        openings,
        np.concatenate([level.tokens for level in levels]),
        np.concatenate([level.lengths for level in levels]),
        np.concatenate([level.starts for level in levels]),
        np.concatenate([level.prompts for level in levels]),
        np.concatenate([part.masks for part in parts]),
        np.concatenate([part.children for part in parts]),
        np.concatenate([part.rewards for part in parts]),
        np.concatenate([part.totals for part in parts]),
        np.array(edges),
        merger is not None,
    )


def _first(episodes: Episodes, openings: Openings, merger: Merger | None) -> _Level:
    count = np.arange(len(openings))
    tokens, starts = episodes.openings(openings.first)
    books = episodes.delivery.payments(len(count))
    if books is not None:
        books.begin(count, openings.ids)
    return _Level(tokens, starts, starts, count, books, count, None if merger is None else merger.begin(len(count)))


def _expand(
    episodes: Episodes, openings: Openings, level: _Level, behind: int, merger: Merger | None
) -> tuple[_Level, _Expanded]:
    """Every legal action of every prefix of a level; the following level's first prefix has the number `behind`."""
    masks = episodes.masks(level.tokens, level.lengths, level.starts, np.zeros(len(level.tokens), bool))
    rows, actions = np.nonzero(masks)
    tokens, lengths, reasons = dynamics.step(
        episodes.rules, level.tokens[rows], level.lengths[rows], level.starts[rows], actions
    )
    children = np.full(masks.shape, -1)
    rewards, totals = np.zeros(masks.shape), np.full(masks.shape, np.nan)

    ended = np.flatnonzero(reasons != LIVE)
    parents = rows[ended]
    found = openings.score(episodes, tokens[ended], lengths[ended], level.prompts[parents])
    rewards[parents, actions[ended]] = found if level.books is None else level.books.rest(level.pages[parents], found)
    if merger is None:
        totals[parents, actions[ended]] = found

    live = np.flatnonzero(reasons == LIVE)
    parents = rows[live]
    starts, prompts = level.starts[parents], level.prompts[parents]
    books, rewards[parents, actions[live]] = _pay(episodes, tokens[live], lengths[live], starts)
    chosen, numbers, states = np.arange(len(live)), np.arange(len(live)), None
    if merger is not None:
        assert level.states is not None
        states, chosen, numbers = merger.step(level.states[parents], prompts, actions[live])
    children[parents, actions[live]] = behind + numbers
    live = live[chosen]
    following = _Level(tokens[live], lengths[live], starts[chosen], prompts[chosen], books, chosen, states)
    return following, _Expanded(masks, children, rewards, totals)


def _pay(
    episodes: Episodes, tokens: Int32[np.ndarray, "K L"], lengths: Rows, starts: Rows
) -> tuple[Payments | None, Float64[np.ndarray, " K"]]:
    """Books at the end of these unfinished texts, and what their last token was paid."""
    books = episodes.delivery.payments(len(tokens)) if len(tokens) else None
    if books is None:
        return None, np.zeros(len(tokens))
    spans = list(zip(tokens, starts.tolist(), lengths.tolist(), strict=True))
    rows = np.arange(len(tokens))
    books.rebuild(
        rows, [row[: start - 1] for row, start, _ in spans], [row[start : end - 1] for row, start, end in spans]
    )
    return books, books.pay(rows, tokens[rows, lengths - 1].astype(np.int64))
