"""Texts for a terminal: the prompt dim, each token in the colour of what it earned.

Tokens are drawn as text, not one by one: a character that several byte tokens make up (Chinese under a byte-level BPE)
is one coloured piece that earned their sum.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from textgym.types import TokenIds, Tokenizer

DIM, BOLD, GREEN, RED = "2", "1", "32", "31"
_HALF_CHARACTER = "\ufffd"


@dataclass(frozen=True)
class Ending:
    """How an episode ended.

    Attributes:
        reason: "stop", "length" or "rule".
        reward: what was paid.
        components: the raw value of each scorer.
        tokens: (T,) what each token contributed, None where no such split exists.
    """

    reason: str
    reward: float
    components: Mapping[str, float]
    tokens: Float64[np.ndarray, " T"] | None = None


def ansi(tokenizer: Tokenizer, prompt: TokenIds, completion: TokenIds, ending: Ending | None = None) -> str:
    """One episode as text with escape codes; without them where NO_COLOR is set (no-color.org).

    Tokens that earned something are green, those that cost are red, the larger half of either is bold.
    """
    earned = np.zeros(len(completion))
    if ending is not None and ending.tokens is not None:
        earned = ending.tokens[: len(completion)]
    pieces = _pieces(tokenizer, completion, earned)
    largest = max((abs(value) for _, value, _ in pieces), default=0.0)
    lines = [_paint(tokenizer.decode(prompt), DIM)]
    for text, value, reserved in pieces:
        lines[0] += _paint(text, DIM if reserved else _colour(value, largest))
    if ending is not None:
        parts = [f"reward {ending.reward:+.3f}"]
        parts += [f"{name} {value:+.3f}" for name, value in ending.components.items()]
        lines.append(_paint(f"[{ending.reason}] " + " · ".join(parts), DIM))
    return "\n".join(lines)


def _pieces(
    tokenizer: Tokenizer, completion: TokenIds, earned: Float64[np.ndarray, " T"]
) -> list[tuple[str, float, bool]]:
    """(text, value, whether it stands for a reserved id), whole characters only."""
    reserved = {tokenizer.unk_id, tokenizer.sep_id, tokenizer.eos_id}
    pieces: list[tuple[str, float, bool]] = []
    group: list[int] = []
    value = 0.0
    for token, gain in zip(completion.tolist(), earned.tolist(), strict=True):
        if token in reserved:
            pieces += [(tokenizer.decode(group), value, False)] if group else []
            pieces.append((tokenizer.token(token), 0.0, True))
            group, value = [], 0.0
            continue
        group.append(token)
        value += gain
        text = tokenizer.decode(group)
        if text and not text.endswith(_HALF_CHARACTER):
            pieces.append((text, value, False))
            group, value = [], 0.0
    return pieces + ([(tokenizer.decode(group), value, False)] if group else [])


def _colour(value: float, largest: float) -> str:
    if value == 0.0:
        return ""
    hue = GREEN if value > 0 else RED
    return f"{BOLD};{hue}" if abs(value) > largest / 2 else hue


def _paint(text: str, code: str) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if code and text and not os.environ.get("NO_COLOR") else text
