"""What an episode looks like: its text, each token in the tone of what it earned; as escape codes for a terminal.

Tokens are drawn as text, not one by one: a character that several byte tokens make up (Chinese under a byte-level BPE)
is one coloured piece that earned their sum.
"""

import enum
import os
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int32, UInt8

from textgym.types import TokenIds, Tokenizer

_HALF_CHARACTER = "\ufffd"


class Tone(enum.Enum):
    """How a piece of text is drawn; the value is its escape code."""

    PLAIN = ""
    DIM = "2"
    GOOD = "32"
    BEST = "1;32"
    BAD = "31"
    WORST = "1;31"


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


def draw(
    mode: str | None,
    tokenizer: Tokenizer,
    tokens: Int32[np.ndarray, " L"],
    start: int,
    length: int,
    ending: Ending | None = None,
) -> str | UInt8[np.ndarray, "H W 3"]:
    """One episode as render mode "rgb_array" has it, or as all others do.

    Args:
        mode: the render mode.
        tokenizer: what the ids mean.
        tokens: (L,) the prefix: prompt, separator, completion, padding.
        start: where the completion begins.
        length: tokens in the prefix.
        ending: how the episode ended, if it did.
    """
    prompt, completion = tokens[: start - 1], tokens[start:length]
    if mode != "rgb_array":
        return ansi(tokenizer, prompt, completion, ending)
    from textgym.envs.picture import picture  # here, since Pillow and matplotlib take a while to load

    return picture(tokenizer, prompt, completion, ending)


def ansi(tokenizer: Tokenizer, prompt: TokenIds, completion: TokenIds, ending: Ending | None = None) -> str:
    """One episode as text with escape codes; without them where NO_COLOR is set (no-color.org).

    Tokens that earned something are green, those that cost are red, the larger half of either is bold.
    """
    text = "".join(_paint(piece, tone) for piece, tone in toned_text(tokenizer, prompt, completion, ending))
    return text if ending is None else f"{text}\n{_paint(verdict(ending), Tone.DIM)}"


def toned_text(
    tokenizer: Tokenizer, prompt: TokenIds, completion: TokenIds, ending: Ending | None = None
) -> list[tuple[str, Tone]]:
    """Prompt and completion in pieces of whole characters, each with its tone: what every kind of drawing draws."""
    earned = np.zeros(len(completion))
    if ending is not None and ending.tokens is not None:
        earned = ending.tokens[: len(completion)]
    pieces = _pieces(tokenizer, completion, earned)
    largest = max((abs(value) for _, value, _ in pieces), default=0.0)
    toned = [(text, Tone.DIM if reserved else _tone(value, largest)) for text, value, reserved in pieces]
    return [(tokenizer.decode(prompt), Tone.DIM), *toned]


def verdict(ending: Ending) -> str:
    """The end of an episode in a line: why, what was paid, what each scorer said."""
    parts = [f"reward {ending.reward:+.3f}"]
    parts += [f"{name} {value:+.3f}" for name, value in ending.components.items()]
    return f"[{ending.reason}] " + " · ".join(parts)


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


def _tone(value: float, largest: float) -> Tone:
    if value == 0.0:
        return Tone.PLAIN
    if abs(value) > largest / 2:
        return Tone.BEST if value > 0 else Tone.WORST
    return Tone.GOOD if value > 0 else Tone.BAD


def _paint(text: str, tone: Tone) -> str:
    painted = tone is not Tone.PLAIN and text and not os.environ.get("NO_COLOR")
    return f"\x1b[{tone.value}m{text}\x1b[0m" if painted else text
