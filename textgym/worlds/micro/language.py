"""The language of a micro world: a bigram model, drawn once and known exactly, and texts that it wrote.

It is what stays when an agent forgets the reward: the reference of a KL penalty, and a corpus to pretrain on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float64, Int64

from textgym.types import TokenIds, Tokenizer
from textgym.worlds.micro.machine import NO_TEXT, symbols
from textgym.worlds.micro.noise import noise

SHARPNESS = 3.0
"""Logits lie in [0, 3): the likeliest token after a given one is up to twenty times as likely as the least."""

FLOOR = 1e-9
"""The probability of each id that no text is made of: a number, so that a mean stays finite."""


@dataclass(frozen=True)
class BigramLanguage:
    """P(w) = prod_t P(w_t | w_t-1), a `types.LanguageModel`; the first token follows the separator or a prompt's end.

    Args:
        tokenizer: what the ids mean.
        seed: which probabilities.
    """

    tokenizer: Tokenizer
    seed: int = 0

    @property
    def vocab_size(self) -> int:
        """V."""
        return self.tokenizer.vocab_size

    @property
    def signature(self) -> str:
        """Kind, seed and tokenizer."""
        return f"micro-bigram:{self.seed}:{self.tokenizer.signature}"

    @cached_property
    def table(self) -> Float64[np.ndarray, "V V"]:
        """Row v holds log p(. | v), (V, V); the separator's row is the beginning of a text."""
        size, no_text = self.vocab_size, symbols(self.tokenizer) == NO_TEXT
        before, after = np.divmod(np.arange(size * size), size)
        weights = np.exp(SHARPNESS * noise(self.seed, before, after)).reshape(size, size)
        weights[:, no_text] = 0.0
        weights *= (1.0 - FLOOR * no_text.sum()) / weights.sum(axis=1, keepdims=True)
        weights[:, no_text] = FLOOR
        table: Float64[np.ndarray, "V V"] = np.log(weights)
        return table

    def logprobs(self, prompts: Sequence[TokenIds], completions: Sequence[TokenIds]) -> Float64[np.ndarray, "B T"]:
        """Log-probabilities (B, T) of each token, 0 beyond a row's end."""
        found = np.zeros((len(completions), max(map(len, completions), default=0)))
        for row, last, ids in zip(found, self._last(prompts), completions, strict=True):
            row[: len(ids)] = self.table[[last, *ids[:-1]][: len(ids)], ids]
        return found

    def next_logprobs(self, prompts: Sequence[TokenIds], completions: Sequence[TokenIds]) -> Float64[np.ndarray, "B V"]:
        """Log-probabilities (B, V) of every next token."""
        before = self._last(prompts)
        return self.table[[int(ids[-1]) if len(ids) else last for last, ids in zip(before, completions, strict=True)]]

    def stream(self, prompts: Sequence[TokenIds]) -> "BigramStream":
        """Texts that grow token by token, one row a prompt."""
        return BigramStream(self.table, np.array(self._last(prompts), dtype=np.int64), self.tokenizer.sep_id)

    def sample(self, rng: np.random.Generator, texts: int, horizon: int) -> list[TokenIds]:
        """Texts of at most `horizon` tokens that it writes; the last id is EOS where a text ended by it."""
        probabilities = np.exp(self.table)
        probabilities[:, symbols(self.tokenizer) == NO_TEXT] = 0.0
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        written = []
        for _ in range(texts):
            ids: list[int] = []
            while len(ids) < horizon and (not ids or ids[-1] != self.tokenizer.eos_id):
                before = ids[-1] if ids else self.tokenizer.sep_id
                ids.append(int(rng.choice(self.vocab_size, p=probabilities[before])))
            written.append(np.array(ids, dtype=np.int32))
        return written

    def _last(self, prompts: Sequence[TokenIds]) -> list[int]:
        return [int(ids[-1]) if len(ids) else self.tokenizer.sep_id for ids in prompts]

    def __deepcopy__(self, memo: object) -> "BigramLanguage":
        return self


class BigramStream:
    """B texts that grow under a `BigramLanguage`: a `types.TokenStream`.

    Args:
        table: (V, V) log-probabilities.
        last: (B,) the last id of each text.
        sep_id: what stands where a text has no token yet.
    """

    def __init__(self, table: Float64[np.ndarray, "V V"], last: Int64[np.ndarray, " B"], sep_id: int) -> None:
        self._table, self._last, self._sep = table, last.copy(), sep_id

    def advance(self, tokens: Int64[np.ndarray, " B"]) -> Float64[np.ndarray, " B"]:
        """Adds one token to each row, -1 for none; its log-probability (B,), 0 for none."""
        found: Float64[np.ndarray, " B"] = np.where(tokens < 0, 0.0, self._table[self._last, np.maximum(tokens, 0)])
        self._last = np.where(tokens < 0, self._last, tokens)
        return found

    def restart(self, rows: Int64[np.ndarray, " N"], prompts: Sequence[TokenIds]) -> None:
        """Begins these rows again, each from a prompt of its own."""
        self._last[rows] = [int(ids[-1]) if len(ids) else self._sep for ids in prompts]
