"""The micro worlds by name: vocabulary, horizon, what pays, what is true, and the exact optimum."""

import string
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from textgym.errors import TaskError, UnknownNameError
from textgym.text.pieces import CharTokenizer
from textgym.worlds.micro import gold_proxy, grammar
from textgym.worlds.micro.bigram import BigramReward
from textgym.worlds.micro.gold_proxy import Gold, Proxy
from textgym.worlds.micro.grammar import Acceptance
from textgym.worlds.micro.key_token import KeyToken
from textgym.worlds.micro.language import BigramLanguage
from textgym.worlds.micro.machine import NO_TEXT, MachineScorer, symbols
from textgym.worlds.micro.optimum import Optimum, optimum
from textgym.worlds.micro.random_reward import RandomReward

VOCAB_SIZES = (3, 20)
"""Fewest and most actions: two words and EOS; nineteen and EOS."""

HORIZON = 12
"""The longest horizon."""


@dataclass(frozen=True)
class MicroWorld:
    """A world small enough for exact answers.

    Attributes:
        name: which one.
        vocab_size: A, the actions that may be chosen at every step: A - 1 words, written a, b, c ..., and EOS. The
            tokenizer also holds <unk> and the separator, which the mask forbids: its V is A + 2.
        horizon: T, the tokens of the longest text, EOS included.
        seed: which numbers, where the world has any, and which language.
        reward: what is paid.
        gold: what a text is truly worth, where that is another thing; None elsewhere.
    """

    name: str
    vocab_size: int
    horizon: int
    seed: int
    reward: MachineScorer
    gold: MachineScorer | None = None

    @cached_property
    def tokenizer(self) -> CharTokenizer:
        """One letter a word."""
        return CharTokenizer(tuple(string.ascii_lowercase[: self.vocab_size - 1]))

    @cached_property
    def language(self) -> BigramLanguage:
        """A bigram model over the vocabulary: the world's "bigram"."""
        return BigramLanguage(self.tokenizer, self.seed)

    @property
    def optimum(self) -> Optimum:
        """Exact expected returns, at gamma = 1, under the world's own reward."""
        return self.optimum_of(self.reward)

    def optimum_of(self, scorer: MachineScorer) -> Optimum:
        """The same under any reward that is a machine."""
        return _optimum(self, scorer)


@lru_cache(maxsize=256)
def _optimum(world: MicroWorld, scorer: MachineScorer) -> Optimum:
    """Kept, since every row of a vector of single environments asks for it."""
    actions = np.flatnonzero(symbols(world.tokenizer) != NO_TEXT)
    return optimum(scorer.machine(world.tokenizer), actions, world.tokenizer.eos_id, world.horizon)


def _bigram(horizon: int, seed: int) -> dict[str, MachineScorer]:
    return {"reward": BigramReward(seed)}


def _grammar(horizon: int, seed: int) -> dict[str, MachineScorer]:
    return {"reward": Acceptance()}


def _key_token(horizon: int, seed: int) -> dict[str, MachineScorer]:
    return {"reward": KeyToken((horizon - 1) // 2, seed)}


def _gold_proxy(horizon: int, seed: int) -> dict[str, MachineScorer]:
    return {"reward": Proxy(), "gold": Gold()}


def _random(horizon: int, seed: int) -> dict[str, MachineScorer]:
    return {"reward": RandomReward(seed)}


_WORLDS: dict[str, tuple[Callable[[int, int], dict[str, MachineScorer]], int]] = {
    "bigram": (_bigram, 1),
    "grammar": (_grammar, grammar.LEAST_HORIZON),
    "key-token": (_key_token, 1),
    "gold-proxy": (_gold_proxy, gold_proxy.LEAST_HORIZON),
    "random": (_random, 1),
}  # name -> what it pays, and the shortest horizon in which it is a task at all

WORLDS = tuple(_WORLDS)
"""The names."""


def micro_world(name: str, vocab_size: int, horizon: int, seed: int = 0) -> MicroWorld:
    """A world by its name.

    Args:
        name: one of `WORLDS`.
        vocab_size: actions, from 3 to 20; see `MicroWorld`.
        horizon: tokens of the longest text, at most 12.
        seed: which numbers.

    Raises:
        UnknownNameError: no such world.
        TaskError: a size out of range.
    """
    if name not in _WORLDS:
        raise UnknownNameError("world", name, WORLDS)
    parts, least = _WORLDS[name]
    fewest, most = VOCAB_SIZES
    _require_between("vocab_size", vocab_size, fewest, most, "words and EOS")
    _require_between("horizon", horizon, least, HORIZON, f"tokens of the longest text of world {name!r}")
    if not _is_whole(seed) or seed < 0:
        raise TaskError(f"seed={seed!r}: a seed is a whole number of at least 0")
    return MicroWorld(name, int(vocab_size), int(horizon), int(seed), **parts(int(horizon), int(seed)))


def _require_between(name: str, value: Any, low: int, high: int, what: str) -> None:
    if not _is_whole(value) or not low <= value <= high:
        raise TaskError(f"{name}={value!r}: {what}, a whole number from {low} to {high}")


def _is_whole(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)
