"""Rewards of tokens as rewards of characters, so that another tokenizer's tokens can have them; the sum stays.

A token's span is where its characters stand in the completion, ``(start, end)``; a token without characters, such as
EOS, has an empty one.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from difflib import SequenceMatcher
from itertools import accumulate
from typing import Any

import numpy as np

Span = tuple[int, int]

_BEFORE = 8
"""Tokens that are decoded with one to learn how many characters it adds: blanks and marks depend on neighbours."""


def token_spans(decode: Callable[[Any], str], ids: Sequence[int] | np.ndarray, text: str) -> list[Span]:
    """Where the characters of each token stand in `text`: spans that follow each other and cover it.

    Args:
        decode: the text of ids, those without text left out.
        ids: (T,) of the text.
        text: what was written; what the ids decode to may differ from it in a few places.
    """
    decoded = decode(ids)
    added = []
    for stop in range(1, len(ids) + 1):
        begin = max(stop - 1 - _BEFORE, 0)
        added.append(len(decode(ids[begin:stop])) - (len(decode(ids[begin : stop - 1])) if stop - 1 > begin else 0))
    # A token that ends within a character decodes to a sign of its own, which the next one takes back.
    ends = [min(end, len(decoded)) for end in accumulate(accumulate(added), max)]
    if decoded != text:
        ends = _carry(ends, decoded, text)
    ends[-1:] = [len(text)] * len(ends[-1:])
    return list(zip([0, *ends[:-1]], ends, strict=True)) if ends else []


def move(rewards: Sequence[float], spans: Sequence[Span], targets: Sequence[Span]) -> list[float]:
    """The rewards of one tokenizer's tokens as those of another's tokens of the same text; the sum stays the same.

    A reward goes to the tokens that hold its token's characters, in proportion to how many each holds. One without
    characters goes to the last token, which is EOS where the text was ended by it; one whose characters no target
    holds, to the next token.

    Args:
        rewards: N rewards.
        spans: N spans of characters.
        targets: M spans, in the order of the text.

    Returns:
        M rewards.

    Raises:
        ValueError: there is no target, or another number of spans than of rewards.
    """
    if not targets:
        raise ValueError(f"{len(rewards)} rewards and no token to give them to")
    moved = [0.0] * len(targets)
    ends = list(accumulate((end for _, end in targets), max))
    for reward, (start, end) in zip(rewards, spans, strict=True):
        for place, share in _shares(reward, start, end, targets, ends):
            moved[place] += share
    return moved


def _shares(
    reward: float, start: int, end: int, targets: Sequence[Span], ends: Sequence[int]
) -> list[tuple[int, float]]:
    """Which target gets how much of one reward."""
    last = len(targets) - 1
    if start >= end:
        return [(last, reward)]
    first = bisect_right(ends, start)
    held: list[tuple[int, int]] = []
    for place in range(first, len(targets)):
        if targets[place][0] >= end:
            break
        overlap = min(end, targets[place][1]) - max(start, targets[place][0])
        held += [(place, overlap)] if overlap > 0 else []
    if not held:
        return [(min(first, last), reward)]
    total = sum(overlap for _, overlap in held)
    shares = [(place, reward * overlap / total) for place, overlap in held[:-1]]
    return [*shares, (held[-1][0], reward - sum(share for _, share in shares))]


def _carry(offsets: Sequence[int], before: str, after: str) -> list[int]:
    """Places in one text as places in another that is almost the same."""
    blocks = SequenceMatcher(None, before, after, autojunk=False).get_matching_blocks()
    carried = []
    for offset in offsets:
        block = next(block for block in blocks if block.a + block.size >= offset)
        carried.append(block.b + max(offset - block.a, 0))
    return carried
