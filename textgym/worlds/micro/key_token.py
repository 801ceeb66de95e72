"""The key-token world: one token decides everything, and what each token of a text contributed is known exactly."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from textgym.errors import ScorerError
from textgym.scorers.base import register
from textgym.types import TextBatch, Tokenizer
from textgym.worlds.micro.machine import END, NO_TEXT, MachineScorer, Pay, States, Tokens, require_seed, symbols
from textgym.worlds.micro.noise import noise


@register("micro_key_token")
@dataclass(frozen=True)
class KeyToken(MachineScorer):
    """1 if the key stands at its place in the completion, else 0; no other token matters.

    Args:
        at: the place of the key, counted from 0.
        seed: which word is the key.
    """

    at: int = 0
    seed: int = 0
    formula = "1 if w_at = key else 0"
    source = ""
    range = (0.0, 1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_seed(self.name, self.seed)
        if self.at < 0:
            raise ScorerError(f"{self}: the place of the key is counted from 0")

    def key(self, tokenizer: Tokenizer) -> int:
        """The id of the key.

        Raises:
            ScorerError: a vocabulary without a word.
        """
        words = np.flatnonzero(symbols(tokenizer) > END)
        if not len(words):
            raise ScorerError(f"{self}: a vocabulary of {tokenizer.vocab_size} tokens without a word has no key")
        return int(words[int(noise(self.seed, np.zeros(1, dtype=np.int64))[0] * len(words))])

    def machine(self, tokenizer: Tokenizer) -> "_Count":
        """Its state is the number of tokens so far; the key earns 1 where it stands."""
        return _Count(symbols(tokenizer), self.key(tokenizer), self.at)

    def credit(self, batch: TextBatch) -> Float64[np.ndarray, "B T"]:
        """What each token of B completions contributed, (B, T), 0 beyond a row's end.

        That is its advantage Q(s, a) - V(s) at gamma = 1 under the policy that chooses uniformly among the A ids that
        texts are made of. With W words, V(s) = (W / A)^(at - t) / A before place `at`, and behind it nothing changes.
        """
        read, key = symbols(batch.tokenizer), self.key(batch.tokenizer)
        words, ids = int((read > END).sum()), int((read != NO_TEXT).sum())
        credit = np.zeros((len(batch), max(map(len, batch.completions), default=0)))
        worth = np.append((words / ids) ** np.arange(self.at, -1, -1) / ids, 0.0)
        for row, completion in zip(credit, batch.completions, strict=True):
            for place, token in enumerate(completion[: self.at + 1].tolist()):
                reached = float(token == key) if place == self.at else worth[place + 1] * (read[token] != END)
                row[place] = reached - worth[place]
        return credit


@dataclass(frozen=True)
class _Count:
    """States: tokens so far, at most `at` + 1, where the matter is decided."""

    symbols: Int64[np.ndarray, " V"]
    key: int
    at: int
    start: int = 0

    @property
    def states(self) -> int:
        return self.at + 2

    def step(self, states: States, tokens: Tokens) -> tuple[States, Pay]:
        over = self.symbols[tokens] == END
        after = np.where(over, self.at + 1, np.minimum(states + 1, self.at + 1))
        return after, ((states == self.at) & (tokens == self.key)).astype(np.float64)
