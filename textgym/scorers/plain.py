"""Batches from plain strings, with the task's tokenizer or, without a task, with one made of the words at hand."""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from textgym.errors import ScorerError, TokenizerError
from textgym.text.sentences import cjk_share
from textgym.types import TextBatch, TokenIds, Tokenizer

_WORD_OR_SPACE = re.compile(r"\S+|\s+")


def batch_of_texts(
    texts: Sequence[str],
    prompts: Sequence[str] | None = None,
    references: Sequence[Sequence[str]] | None = None,
    metadata: Sequence[Mapping[str, Any]] | None = None,
    *,
    tokenizer: Tokenizer | None = None,
) -> TextBatch:
    """B completions as a batch, without EOS: the tokens of the text and nothing else.

    Args:
        texts: the completions.
        prompts: as many prompts; empty ones if not given.
        references: for each text those that it may resemble.
        metadata: for each text what the prompt source knows beside.
        tokenizer: makes the ids. Without one, or with one that knows no word, as where there is no task, tokens are
            words, or characters where most of the text is Chinese.

    Raises:
        ScorerError: a single string instead of a list, or another number of prompts than of texts.
    """
    if isinstance(texts, str) or isinstance(prompts, str):
        raise ScorerError("texts and prompts are lists of strings: write ['...'] for a single text")
    prompts = [""] * len(texts) if prompts is None else prompts
    for what, given in (("prompts", prompts), ("references", references or ()), ("metadata", metadata or ())):
        if len(given) != len(texts) and (given or what == "prompts"):
            raise ScorerError(f"{len(given)} {what} for {len(texts)} texts: give one for each text, or none at all")
    if any(isinstance(row, str) for row in references or ()):
        raise ScorerError("references are a list of strings for each text: write [['...'], ['...']]")
    if tokenizer is None or (isinstance(tokenizer, OpenVocabulary) and tokenizer.is_empty):
        tokenizer = OpenVocabulary([*prompts, *texts])
    encode = tokenizer.encode
    return TextBatch(
        [encode(prompt) for prompt in prompts],
        [encode(text) for text in texts],
        tokenizer,
        references or (),
        metadata or (),
    )


class OpenVocabulary:
    """A lossless tokenizer over given texts: each word is a token, and each white space that is not one plain space.

    A single space between two words is understood, so that a word is the same token wherever it stands. Where most
    characters of the texts are Chinese or Japanese, each character is a token.

    Args:
        texts: whose words make up the vocabulary; other words are unknown.
    """

    unk_id, sep_id, eos_id = 0, 1, 2

    def __init__(self, texts: Sequence[str]) -> None:
        self._by_character = cjk_share("".join(texts)) > 0.5
        pieces = dict.fromkeys(piece for text in texts for piece in self._split(text))
        self._tokens = ["<unk>", "<sep>", "<eos>", *pieces]
        self._ids = {piece: index for index, piece in enumerate(pieces, start=3)}

    @property
    def vocab_size(self) -> int:
        """V, the three reserved ids included."""
        return len(self._tokens)

    @property
    def is_empty(self) -> bool:
        """Whether it knows no word."""
        return not self._ids

    @property
    def signature(self) -> str:
        """Kind and size: the vocabulary lives as long as the batch that it was made for."""
        return f"open:{len(self._tokens)}"

    def encode(self, text: str) -> TokenIds:
        """Ids of a text, shape (T,)."""
        return np.array([self._ids.get(piece, self.unk_id) for piece in self._split(text)], dtype=np.int32)

    def decode(self, ids: Sequence[int] | TokenIds) -> str:
        """Text of ids; reserved ids leave no trace."""
        bad = [int(i) for i in ids if not 0 <= i < len(self._tokens)]
        if bad:
            raise TokenizerError(f"token id {bad[0]} is outside 0..{len(self._tokens) - 1}")
        pieces = [self._tokens[i] for i in ids if i > self.eos_id]
        if self._by_character:
            return "".join(pieces)
        joints = ["" if a.isspace() or b.isspace() else " " for a, b in pairwise(pieces)]
        return "".join(piece + joint for piece, joint in zip(pieces, [*joints, ""], strict=True)) if pieces else ""

    def token(self, token_id: int) -> str:
        """One token as a person should see it."""
        return self._tokens[token_id]

    def _split(self, text: str) -> list[str]:
        if self._by_character:
            return list(text)
        pieces = _WORD_OR_SPACE.findall(text)
        last = len(pieces) - 1
        return [piece for i, piece in enumerate(pieces) if piece != " " or i in (0, last)]
