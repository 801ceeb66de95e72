"""The bigram world: each token earns a number that depends on it and on the token before, and the numbers add up."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from textgym.scorers.base import register
from textgym.types import Tokenizer
from textgym.worlds.micro.machine import END, NO_TEXT, MachineScorer, Pay, States, Tokens, require_seed, symbols
from textgym.worlds.micro.noise import noise


@register("micro_bigram")
@dataclass(frozen=True)
class BigramReward(MachineScorer):
    """Sum over the tokens, EOS included, of a fixed number in [-1, 1) for each pair of neighbours.

    A token that no text is made of (<unk>, the separator) earns -1, the least there is.

    Args:
        seed: which numbers.
    """

    seed: int = 0
    formula = "sum over t of r(w_t-1, w_t), r uniform in [-1, 1)"
    source = ""
    unit = "points"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_seed(self.name, self.seed)

    def machine(self, tokenizer: Tokenizer) -> "_Pairs":
        """Its state is the token before."""
        return _Pairs(symbols(tokenizer), self.seed)


@dataclass(frozen=True)
class _Pairs:
    """States: 0 for none, for EOS and for what is no text; then the words."""

    symbols: Int64[np.ndarray, " V"]
    seed: int
    start: int = END

    @property
    def states(self) -> int:
        return int(self.symbols.max()) + 1

    def step(self, states: States, tokens: Tokens) -> tuple[States, Pay]:
        read = self.symbols[tokens]
        earned = 2.0 * noise(self.seed, states, np.maximum(read, END)) - 1.0
        return np.maximum(read, END), np.where(read == NO_TEXT, -1.0, earned)
