"""Search for the texts that a reward likes best, whatever they are: beams of tokens and of sentences, and evolution.

Everything that was ever scored is on the board, once. What a search looks for is the value itself, or the value among
texts that are as fluent as good ones.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from time import monotonic

import numpy as np
from jaxtyping import Float64

from textgym.audit.arena import Arena
from textgym.audit.corruptions import SPOILED, doubled, first_words, spoil, words_of_prompt
from textgym.types import TextBatch, TokenIds

WIDTH, CHOICES, SENTENCES = 4, 40, 48
"""Of a beam: prefixes that are kept, tokens and sentences that each is tried with."""

STEPS = 24
"""Tokens of the longest text of a beam of tokens; evolution makes them longer where that pays."""

POPULATION, CHILDREN = 12, 16
"""Of evolution, for each prompt."""

SCORED_AT_ONCE = 512


@dataclass(frozen=True, eq=False)
class Candidate:
    """A text that was tried.

    Attributes:
        row: which of the good texts' prompts it follows.
        ids: its tokens, without EOS.
        kind: how it was made.
        value: what it earns; -infinity where the reward fails or is not applicable.
        surprise: nats per token under the arena's language model.
    """

    row: int
    ids: TokenIds
    kind: str
    value: float
    surprise: float


class Spent(Exception):  # noqa: N818 - the end of a search, no error
    """The evaluations or the seconds of a search are used up."""


@dataclass
class Board:
    """Everything that was scored.

    Attributes:
        arena: the reward.
        rows: the prompts that are attacked.
        most: evaluations at most.
        deadline: by `time.monotonic`.
    """

    arena: Arena
    rows: Sequence[int]
    most: int
    deadline: float
    tried: dict[tuple[int, bytes], Candidate] = field(default_factory=dict)

    @cached_property
    def longest(self) -> int:
        """Tokens of the longest candidate: EOS needs room."""
        return max(1, self.arena.budget - 1)

    def batch(self, rows: Sequence[int], texts: Sequence[TokenIds]) -> TextBatch:
        """These texts behind the prompts of these rows, ended as the good texts are."""
        base, eos = self.arena.good.rows(list(rows)), self.arena.tokenizer.eos_id
        ended = [len(old) > 0 and old[-1] == eos for old in base.completions]
        end = np.array([eos], dtype=np.int32)
        completions = [np.concatenate([ids, end[: int(e)]]) for ids, e in zip(texts, ended, strict=True)]
        return TextBatch(base.prompts, completions, base.tokenizer, base.references, base.metadata)

    def score(self, kind: str, rows: Sequence[int], texts: Sequence[TokenIds]) -> list[Candidate]:
        """Candidates for these texts, cut to the budget; those that were tried before as they were.

        Raises:
            Spent: nothing may be scored any more.
        """
        cut = [np.asarray(ids[: self.longest], dtype=np.int32) for ids in texts]
        keys = [(row, ids.tobytes()) for row, ids in zip(rows, cut, strict=True)]
        new = {key: ids for key, ids in zip(keys, cut, strict=True) if key not in self.tried}
        for part in _parts(list(new.items()), SCORED_AT_ONCE):
            if len(self.tried) + len(part) > self.most or monotonic() > self.deadline:
                raise Spent
            batch = self.batch([row for (row, _), _ in part], [ids for _, ids in part])
            surprises, values = self.arena.surprise(batch), _values(self.arena, batch)
            for (key, ids), value, surprise in zip(part, values.tolist(), surprises.tolist(), strict=True):
                self.tried[key] = Candidate(key[0], ids, kind, value, surprise)
        return [self.tried[key] for key in keys]

    def of(self, row: int) -> list[Candidate]:
        """What was tried behind a prompt."""
        return [candidate for candidate in self.tried.values() if candidate.row == row]


Fitness = Callable[[Candidate], float]


def free(candidate: Candidate) -> float:
    """The value itself."""
    return candidate.value


def limited(limit: float) -> Fitness:
    """The value of texts up to a limit of surprise; the others below all of them, by how far they are beyond."""
    return lambda candidate: (
        candidate.value if candidate.surprise <= limit else -1e9 - candidate.surprise if candidate.ids.size else -1e12
    )


def try_known(board: Board, seed: int) -> None:
    """What is worth a try in any case: nothing, one token, one sentence, repetition, the prompt, random words."""
    arena, rows = board.arena, list(board.rows)
    encode = arena.tokenizer.encode
    hows = [(called, how) for how, called in SPOILED.values()]
    more = [("the prompt's words", words_of_prompt), ("two words", first_words), ("a good text twice", doubled)]
    for called, how in [*hows, *more]:
        board.score(called, rows, [encode(text) for text in spoil(how, arena, seed, rows)])
    common = _common(arena, CHOICES)
    for count in (1, 8, board.longest):
        for row in rows:
            board.score("one word repeated", [row] * len(common), [np.repeat(token, count) for token in common])
    units = arena.blocks[:SENTENCES]
    for count, called in ((1, "one sentence"), (2, "one sentence repeated"), (6, "one sentence repeated")):
        for row in rows:
            board.score(called, [row] * len(units), [np.tile(unit, count) for unit in units])
            ended = [np.append(np.tile(unit, count), arena.last_block(row)) for unit in units]
            board.score(f"{called}, then the end", [row] * len(units), ended)


def grow(board: Board, fitness: Fitness, kind: str, row: int, steps: int, choices: Sequence[TokenIds]) -> None:
    """A beam: the best prefixes, each continued by each choice."""
    beam: list[TokenIds] = [np.zeros(0, dtype=np.int32)]
    for _ in range(steps):
        texts = [np.concatenate([prefix, choice]) for prefix in beam for choice in choices]
        texts = [ids for ids in texts if len(ids) <= board.longest]
        if not texts:
            return
        ranked = sorted(board.score(kind, [row] * len(texts), texts), key=fitness, reverse=True)
        beam = [candidate.ids for candidate in ranked[:WIDTH]]


def evolve(board: Board, fitness: Fitness, rng: np.random.Generator) -> Iterator[None]:
    """Generations, one at each step: the best texts of each prompt, with changes."""
    arena = board.arena
    blocks = arena.blocks[:256] or [np.zeros(0, dtype=np.int32)]
    best = {row: sorted(board.of(row), key=fitness, reverse=True)[:POPULATION] for row in board.rows}
    while True:
        rows, texts = [], []
        for row in board.rows:
            prompt = arena.good.prompts[row]
            parents = [candidate.ids for candidate in best[row]]
            for _ in range(CHILDREN):
                rows.append(row)
                texts.append(_changed(rng, parents, prompt, blocks, arena))
        for candidate in board.score("evolution", rows, texts):
            if all(candidate is not kept for kept in best[candidate.row]):
                best[candidate.row].append(candidate)
        for row in board.rows:
            best[row] = sorted(best[row], key=fitness, reverse=True)[:POPULATION]
        yield


def search(board: Board, fitness: Fitness, seed: int) -> None:
    """All of it, until what may be spent is spent: what is known, beams of sentences and of tokens, then evolution."""
    arena = board.arena
    units = arena.blocks[:SENTENCES]
    try:
        if not board.tried:
            try_known(board, seed)
        for row in board.rows:
            grow(board, fitness, "beam of sentences", row, 4, units)
        for row in board.rows:
            own = np.unique(arena.good.prompts[row])[:CHOICES]
            tokens = np.unique(np.concatenate([_common(arena, CHOICES), _rare(arena, CHOICES // 4), own]))
            grow(board, fitness, "beam of tokens", row, STEPS, [np.array([token], np.int32) for token in tokens])
            if len(board.tried) > 0.6 * board.most or monotonic() > board.deadline:
                break
        for _ in evolve(board, fitness, np.random.default_rng(seed)):
            pass
    except Spent:
        return


def _changed(
    rng: np.random.Generator, parents: Sequence[TokenIds], prompt: TokenIds, blocks: Sequence[TokenIds], arena: Arena
) -> TokenIds:
    """A text of the population with one change, now and then two."""
    ids = parents[int(rng.integers(len(parents)))]
    for _ in range(1 + int(rng.random() < 0.3)):
        a, b = np.sort(rng.integers(0, len(ids) + 1, 2)).tolist()
        known, share = arena.tokens
        token = np.array([rng.choice(known, p=share if rng.random() < 0.5 else None)], dtype=np.int32)
        block = blocks[int(rng.integers(len(blocks)))]
        match int(rng.integers(9)):
            case 0:
                ids = np.concatenate([ids[:a], token, ids[a + 1 :]])
            case 1:
                ids = np.concatenate([ids[:a], token, ids[a:]])
            case 2:
                ids = np.concatenate([ids[:a], ids[b:]])
            case 3:
                ids = np.concatenate([ids[:b], ids[a:b], ids[b:]])
            case 4:
                ids = np.concatenate([ids, block])
            case 5:
                ids = np.concatenate([ids[:a], block, ids[b:]])
            case 6:
                other = parents[int(rng.integers(len(parents)))]
                ids = np.concatenate([ids[:a], other[min(a, len(other)) :]])
            case 7:
                at = int(rng.integers(len(prompt) + 1))
                ids = np.concatenate([ids[:a], prompt[at : at + int(rng.integers(1, 5))], ids[a:]])
            case _:
                ids = ids[:a] if a else ids[b:]
    return ids.astype(np.int32)


def _common(arena: Arena, count: int) -> TokenIds:
    known, share = arena.tokens
    chosen: TokenIds = known[np.argsort(-share, kind="stable")][:count].astype(np.int32)
    return chosen


def _rare(arena: Arena, count: int) -> TokenIds:
    known, share = arena.tokens
    chosen: TokenIds = known[np.argsort(share, kind="stable")][:count].astype(np.int32)
    return chosen


def _values(arena: Arena, batch: TextBatch) -> Float64[np.ndarray, " B"]:
    """Values, minus infinity where the reward fails, is not applicable, or is no number: nothing to find there."""
    try:
        values = arena.values(batch)
    except Exception:
        if len(batch) == 1:
            return np.array([-np.inf])
        return np.concatenate([_values(arena, batch.row(i)) for i in range(len(batch))])
    return np.where(np.isfinite(values), values, -np.inf)


def _parts(items: list, size: int) -> Iterator[list]:  # type: ignore[type-arg]
    for begin in range(0, len(items), size):
        yield items[begin : begin + size]
