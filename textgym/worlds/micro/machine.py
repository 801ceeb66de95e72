"""Finite machines that read a text token by token and pay for each, and scorers that are such machines.

What a text is worth is the sum of what its tokens earn. So it can be paid as the tokens come, and an optimum can be
found over the machine's states in place of all texts (`textgym.worlds.micro.optimum`).
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64, Int64

from textgym.errors import ScorerError
from textgym.scorers.base import Score, Scorer, Stream
from textgym.types import Scores, ScoringContext, TextBatch, TokenIds, Tokenizer

States = Int64[np.ndarray, " N"]
Tokens = Int64[np.ndarray, " N"]
Pay = Float64[np.ndarray, " N"]

NO_TEXT, END = -1, 0
"""What is not a word: ids that no text is made of (<unk>, the separator), and EOS; words are 1, 2, 3 ..."""

LARGEST_TABLE = 1 << 20
"""Transitions that are kept; where there are more of them, in a large vocabulary, each is asked for."""


@runtime_checkable
class Machine(Protocol):
    """A deterministic machine with an output for each transition (Mealy 1955); its states are 0..S-1."""

    @property
    def start(self) -> int:
        """The state before the first token."""

    @property
    def states(self) -> int:
        """S."""

    def step(self, states: States, tokens: Tokens) -> tuple[States, Pay]:
        """N machines read one token each: (their next states (N,), what the tokens earn (N,))."""


@dataclass(frozen=True)
class MachineScorer(Scorer):
    """A scorer that is a machine; a subclass says which one, for a tokenizer."""

    causal = True

    @abstractmethod
    def machine(self, tokenizer: Tokenizer) -> Machine:
        """The machine that reads the ids of this tokenizer."""

    def score(self, batch: TextBatch) -> Scores:
        """Scores B completions: values (B,), tokens (B, T)."""
        return _Reader(self.machine(batch.tokenizer), batch.tokenizer.vocab_size).score(batch)

    def prepare(self, context: ScoringContext | None) -> Score:
        """Makes the machine's tables once."""
        return self.score if context is None else self._reader(context).score

    def stream(self, rows: int, context: ScoringContext) -> Stream:
        """One state and one sum a row."""
        return _Running(self._reader(context), rows)

    def _reader(self, context: ScoringContext) -> "_Reader":
        return _Reader(self.machine(context.tokenizer), context.tokenizer.vocab_size)


class _Reader:
    """A machine with its transitions in tables, where those are small; a column more says "no token"."""

    def __init__(self, machine: Machine, vocab_size: int) -> None:
        self.start, self._machine, self._width = machine.start, machine, vocab_size + 1
        self._after: States | None = None
        if machine.states * self._width <= LARGEST_TABLE:
            states, tokens = np.divmod(np.arange(machine.states * self._width), self._width)
            self._after, self._pay = self._asked(states, tokens)

    def step(self, states: States, tokens: Tokens) -> tuple[States, Pay]:
        """As `Machine.step`; the token V is none: the state stays, and nothing is earned."""
        if self._after is None:
            return self._asked(states, tokens)
        place = states * self._width + tokens
        return self._after[place], self._pay[place]

    def _asked(self, states: States, tokens: Tokens) -> tuple[States, Pay]:
        none = tokens == self._width - 1
        after, paid = self._machine.step(states, np.where(none, 0, tokens))
        return np.where(none, states, after), np.where(none, 0.0, paid)

    def score(self, batch: TextBatch) -> Scores:
        """Reads B completions side by side."""
        lengths = np.array([len(ids) for ids in batch.completions], dtype=np.int64)
        width = int(lengths.max(initial=0))
        ids, paid = np.full((width, len(lengths)), self._width - 1), np.zeros((width, len(lengths)))
        for row, completion in enumerate(batch.completions):
            ids[: len(completion), row] = completion
        states = np.full(len(lengths), self.start)
        for position in range(width):
            if self._after is None:
                states, paid[position] = self._asked(states, ids[position])
            else:  # as `step`, for texts of ten thousand tokens
                place = states * self._width + ids[position]
                states, paid[position] = self._after[place], self._pay[place]
        # A cumulative sum adds in the order of the tokens, as the stream does, whatever the batch.
        values = np.cumsum(paid, axis=0)[-1] if width else np.zeros(len(lengths))
        return Scores(values, tokens=paid.T)


class _Running:
    def __init__(self, reader: _Reader, rows: int) -> None:
        self._reader = reader
        self._states: States = np.full(rows, reader.start)
        self._values: Pay = np.zeros(rows)

    def begin(self, rows: Int64[np.ndarray, " N"], prompts: Sequence[TokenIds]) -> Float64[np.ndarray, " N"]:
        self._states[rows], self._values[rows] = self._reader.start, 0.0
        return np.zeros(len(rows))

    def advance(self, rows: Int64[np.ndarray, " N"], tokens: Int64[np.ndarray, " N"]) -> Float64[np.ndarray, " N"]:
        self._states[rows], paid = self._reader.step(self._states[rows], tokens)
        values: Pay = self._values[rows] + paid
        self._values[rows] = values
        return values


def symbols(tokenizer: Tokenizer) -> Int64[np.ndarray, " V"]:
    """What each id is to a machine, (V,): `NO_TEXT`, `END`, or the number of the word, from 1 on."""
    found = np.ones(tokenizer.vocab_size, dtype=np.int64)
    found[[tokenizer.unk_id, tokenizer.sep_id, tokenizer.eos_id, *getattr(tokenizer, "special_ids", ())]] = 0
    found = np.where(found == 1, np.cumsum(found), NO_TEXT)
    found[tokenizer.eos_id] = END
    return found


def require_seed(name: str, seed: int) -> None:
    """Checks the seed of a scorer.

    Raises:
        ScorerError: it is negative.
    """
    if seed < 0:
        raise ScorerError(f"{name}(seed={seed}): a seed is a whole number of at least 0")
