"""Where the tokens of a text end, in characters: how what belongs to one tokenizer's tokens goes to another's."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64, Int64

from textgym.types import TokenIds, Tokenizer


def token_ends(tokenizer: Tokenizer, ids: TokenIds, text: str) -> Int64[np.ndarray, " T"]:
    """Where each token ends, counted in characters of the text; EOS ends one place behind the text.

    A token that adds nothing ends where the one before it does, a part of a character where the character does.

    Args:
        tokenizer: what the ids mean.
        ids: of the text, shape (T,).
        text: what they decode to.
    """
    ended = len(ids) > 0 and int(ids[-1]) == tokenizer.eos_id
    content = ids[:-1] if ended else ids
    ends = _of_bytes(tokenizer, content) if hasattr(tokenizer, "token_bytes") else _of_pairs(tokenizer, content)
    if len(ends) and ends[-1] != len(text):  # what a token adds depends on more than the one before it
        ends = np.array([len(tokenizer.decode(content[: n + 1])) for n in range(len(content))], dtype=np.int64)
    return np.append(np.minimum(ends, len(text)), [len(text) + 1] * ended).astype(np.int64)


def moved(
    values: Float64[np.ndarray, " N"], ends: Int64[np.ndarray, " N"], onto: Int64[np.ndarray, " T"]
) -> Float64[np.ndarray, " T"]:
    """Values of tokens on the tokens of another tokenizer: each goes where its token ends. The total stays.

    Args:
        values: of N tokens.
        ends: where these end, in characters.
        onto: where the T other tokens of the same text end, T at least 1.

    Examples:
        >>> moved(np.array([1.0, 2.0, 4.0]), np.array([2, 3, 6]), np.array([3, 6]))
        array([3., 4.])
    """
    out = np.zeros(len(onto))
    np.add.at(out, np.minimum(np.searchsorted(onto, ends), len(onto) - 1), values)
    return out


def _of_pairs(tokenizer: Tokenizer, ids: TokenIds) -> Int64[np.ndarray, " T"]:
    """Ends where what a token adds depends on the token before it at most, such as the blank between two words."""
    known: dict[tuple[int, ...], int] = {}

    def length(part: Sequence[int]) -> int:
        key = tuple(part)
        if key not in known:
            known[key] = len(tokenizer.decode(key))
        return known[key]

    row = ids.tolist()
    widths = [length(row[max(i - 1, 0) : i + 1]) - (length(row[i - 1 : i]) if i else 0) for i in range(len(row))]
    return np.cumsum(np.array(widths, dtype=np.int64))


def _of_bytes(tokenizer: Tokenizer, ids: TokenIds) -> Int64[np.ndarray, " T"]:
    """Ends where tokens are bytes of UTF-8: a character counts from its first byte on."""
    pieces = [tokenizer.token_bytes(index) for index in ids.tolist()]  # type: ignore[attr-defined]
    starts = [sum(byte & 0xC0 != 0x80 for byte in piece) for piece in pieces]
    return np.cumsum(np.array(starts, dtype=np.int64))
