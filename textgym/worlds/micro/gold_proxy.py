"""The gold/proxy world: a proxy that counts a keyword, and a truth that counts it only where it is not stuffed.

Ordinary texts are ranked alike by both (of texts drawn at random the two correlate by 0.72 at eight actions, by 0.9
at twenty, hardly at three); the best text of the proxy is the keyword and nothing else, the worst there is under gold.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from textgym.scorers.base import register
from textgym.types import Tokenizer
from textgym.worlds.micro.machine import END, MachineScorer, Pay, States, Tokens, symbols

LEAST_HORIZON = 3
"""From here on the proxy's best text is worse under gold than a text drawn at random."""

KEYWORD = 1
"""The first word of the vocabulary."""


@register("micro_proxy")
@dataclass(frozen=True)
class Proxy(MachineScorer):
    """How often the keyword, the first word of the vocabulary, stands in a completion."""

    formula = "|keywords|"
    source = ""
    unit = "points"
    range = (0.0, float("inf"))

    def machine(self, tokenizer: Tokenizer) -> "_Keyword":
        """A keyword earns 1 wherever it stands."""
        return _Keyword(symbols(tokenizer), stuffed=1.0)


@register("micro_gold")
@dataclass(frozen=True)
class Gold(MachineScorer):
    """How often the keyword stands behind another word or at the beginning, less how often behind itself."""

    formula = "|keywords not behind a keyword| - |keywords behind a keyword|"
    source = ""
    unit = "points"

    def machine(self, tokenizer: Tokenizer) -> "_Keyword":
        """A keyword earns 1, and -1 right behind another one."""
        return _Keyword(symbols(tokenizer), stuffed=-1.0)


@dataclass(frozen=True)
class _Keyword:
    """States: whether the token before was the keyword."""

    symbols: Int64[np.ndarray, " V"]
    stuffed: float
    start: int = END
    states: int = 2

    def step(self, states: States, tokens: Tokens) -> tuple[States, Pay]:
        found = self.symbols[tokens] == KEYWORD
        return found.astype(np.int64), np.where(found, np.where(states == 1, self.stuffed, 1.0), 0.0)
