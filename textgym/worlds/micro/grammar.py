"""The grammar world: a text is accepted or it is not.

    text   -> clause | clause text
    clause -> adjective* noun verb

Word k is a noun, a verb or an adjective as k = 1, 2, 3 modulo 3, so a vocabulary of two words has no adjective.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from textgym.scorers.base import register
from textgym.types import Tokenizer
from textgym.worlds.micro.machine import END, NO_TEXT, MachineScorer, Pay, States, Tokens, symbols

LEAST_HORIZON = 2
"""Tokens of the shortest text: a noun and a verb."""

_OPEN, _NOUN, _DONE, _DEAD = range(4)
_NOT, _STOP, _N, _V, _A = range(5)  # classes of tokens

_NEXT = np.full((4, 5), _DEAD)
_NEXT[_OPEN, _N] = _NEXT[_DONE, _N] = _NOUN
_NEXT[_OPEN, _A] = _NEXT[_DONE, _A] = _OPEN
_NEXT[_NOUN, _V] = _NEXT[_DONE, _STOP] = _DONE


@register("micro_grammar")
@dataclass(frozen=True)
class Acceptance(MachineScorer):
    """1 for a text of the grammar, EOS aside; 0 for any other."""

    formula = "1 if the text is of the grammar else 0"
    source = ""
    range = (0.0, 1.0)

    def machine(self, tokenizer: Tokenizer) -> "_Automaton":
        """A token earns the change that it makes: +1 where it completes a clause, -1 where it begins another one."""
        read = symbols(tokenizer)
        words = np.array([_A, _N, _V])[read % 3]
        return _Automaton(np.where(read == NO_TEXT, _NOT, np.where(read == END, _STOP, words)))


@dataclass(frozen=True)
class _Automaton:
    classes: Int64[np.ndarray, " V"]
    start: int = _OPEN
    states: int = 4

    def step(self, states: States, tokens: Tokens) -> tuple[States, Pay]:
        after = _NEXT[states, self.classes[tokens]]
        return after, (after == _DONE).astype(np.float64) - (states == _DONE)
