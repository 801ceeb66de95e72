"""The random world: what a text is worth has nothing to do with how it looks."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from textgym.errors import ScorerError
from textgym.scorers.base import register
from textgym.types import Tokenizer
from textgym.worlds.micro.machine import END, NO_TEXT, MachineScorer, Pay, States, Tokens, require_seed, symbols
from textgym.worlds.micro.noise import noise


@register("micro_random")
@dataclass(frozen=True)
class RandomReward(MachineScorer):
    """A number in [0, 1) drawn for the state in which a random machine is when it has read the completion.

    Every transition of the machine is drawn at random, so neighbours in text are no neighbours in worth, and nothing
    but trying tells. The empty completion is worth 0, and so is one with a token that no text is made of.

    Args:
        seed: which machine.
        states: how many states it has; texts beyond that number share their worth.
    """

    seed: int = 0
    formula = "r(state), r uniform in [0, 1)"
    source = ""
    states: int = 1024
    range = (0.0, 1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_seed(self.name, self.seed)
        if self.states < 1:
            raise ScorerError(f"{self}: a machine has at least 1 state")

    def machine(self, tokenizer: Tokenizer) -> "_Drawn":
        """A token earns the difference between the worth of the text with it and without it."""
        return _Drawn(symbols(tokenizer), self.seed, self.states)


@dataclass(frozen=True)
class _Drawn:
    """States: those that are drawn; then the beginning and the sink, which are worth nothing."""

    symbols: Int64[np.ndarray, " V"]
    seed: int
    drawn: int

    @property
    def start(self) -> int:
        return self.drawn

    @property
    def states(self) -> int:
        return self.drawn + 2

    def step(self, states: States, tokens: Tokens) -> tuple[States, Pay]:
        read, sink = self.symbols[tokens], self.drawn + 1
        after = (noise(self.seed, states, np.maximum(read, END)) * self.drawn).astype(np.int64)
        after = np.where((read == NO_TEXT) | (states == sink), sink, after)
        return after, self._worth(after) - self._worth(states)

    def _worth(self, states: States) -> Float64[np.ndarray, " N"]:
        return np.where(states < self.drawn, noise(self.seed, states), 0.0)
