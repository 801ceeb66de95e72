"""What does it cost: milliseconds a text, and how they grow with its length?"""

import time
from collections.abc import Iterator

import numpy as np

from textgym.audit.arena import Arena
from textgym.audit.findings import Finding

SHORT, LONG = 60, 240
"""Tokens of the texts that are timed."""

ROWS, TURNS = 64, 3
SLOW = 0.02
"""Seconds a text from which scoring outweighs sampling it."""

STEEP = 6.0
"""Times the price for four times the length from which it grows faster than it should."""


def check_cost(arena: Arena) -> Iterator[Finding]:
    """The least of three turns each: what is shared with other work only ever adds."""
    short, long = (min(_seconds(arena, tokens, turn) for turn in range(TURNS)) for tokens in (SHORT, LONG))
    growth = long / max(short, 1e-9)
    numbers = {"seconds": short, "growth": growth}
    said = f"{_shown(short)} a text of {SHORT} tokens, {growth:.1f} times that for {LONG}"
    if short > SLOW:
        yield Finding(
            "cost", "warn", f"{said}: slower than a small model writes; cache(x) keeps what was scored", numbers
        )
    elif growth > STEEP and long > SLOW / 10:
        yield Finding("cost", "warn", f"{said}: it grows faster than the text", numbers)
    else:
        yield Finding("cost", "ok", said, numbers)


def _seconds(arena: Arena, tokens: int, turn: int) -> float:
    """Seconds a text, for new texts of so many tokens made of good ones."""
    rows = [row % len(arena.good) for row in range(ROWS)]
    base = arena.good.rows(rows)
    stream = np.concatenate([ids for ids in arena.good.content if len(ids)] or [np.zeros(1, np.int32)])
    cut = [np.resize(np.roll(stream, -(17 * row + 1009 * turn)), tokens).astype(np.int32) for row in range(ROWS)]
    batch = type(base)(base.prompts, cut, base.tokenizer, base.references, base.metadata)
    start = time.perf_counter()
    arena.values(batch)
    return (time.perf_counter() - start) / ROWS


def _shown(seconds: float) -> str:
    return f"{seconds * 1e3:.2g} ms" if seconds >= 1e-4 else f"{seconds * 1e6:.0f} µs"
