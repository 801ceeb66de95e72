"""Texts as pictures: a sheet of character cells, each token in the colour of what it earned.

Every frame has the same size, as videos need it. A text that does not fit shows its last lines. East Asian characters
take two cells, as in a terminal; right-to-left text stands in the order of its characters.
"""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import UInt8

from textgym.envs.fonts import CELL_HEIGHT, CELL_WIDTH, cells, ink, joins
from textgym.envs.render import Ending, Tone, toned_text, verdict
from textgym.types import TokenIds, Tokenizer

COLUMNS, ROWS = 62, 16
"""Cells of the sheet; a margin of one cell runs around it."""

WIDTH, HEIGHT = (COLUMNS + 2) * CELL_WIDTH, (ROWS + 2) * CELL_HEIGHT
"""Of a frame in pixels; both even, as H.264 wants them."""

_BREAKS = "\n\v\f\x85\u2028\u2029"
_VERDICT_ROWS = 5
"""How much of the sheet the end of an episode may take."""

_COLOURS = {
    Tone.PLAIN: ("#1f2328", "#ffffff"),
    Tone.DIM: ("#6e7781", "#ffffff"),
    Tone.GOOD: ("#116329", "#ffffff"),
    Tone.BEST: ("#116329", "#c8f0d0"),
    Tone.BAD: ("#b3261e", "#ffffff"),
    Tone.WORST: ("#b3261e", "#ffd9d6"),
}
"""Ink and paper. Each pair has a contrast of 4.5 or more."""


@dataclass(frozen=True)
class Cell:
    """One character of the sheet, with what joins it, and how many cells it takes."""

    text: str
    tone: Tone
    width: int


def picture(
    tokenizer: Tokenizer, prompt: TokenIds, completion: TokenIds, ending: Ending | None = None
) -> UInt8[np.ndarray, "H W 3"]:
    """One episode as a frame (HEIGHT, WIDTH, 3): the prompt grey, then the completion, below it how it ended.

    Tokens that earned something are green, those that cost are red, the larger half of either bold on a tint.
    """
    body = wrap(cut(toned_text(tokenizer, prompt, completion, ending)))
    foot: list[list[Cell]] = []
    if ending is not None:
        rule = Cell("─", Tone.DIM, 1)
        foot = [[rule] * COLUMNS, *wrap(cut([(verdict(ending), Tone.DIM)]))[:_VERDICT_ROWS]]
    lines = body[-(ROWS - len(foot)) :]
    blank: list[list[Cell]] = [[]] * (ROWS - len(foot) - len(lines))
    return paint([*lines, *blank, *foot])


def cut(toned: Iterable[tuple[str, Tone]]) -> list[Cell]:
    """Pieces of text as cells; a line break is a cell that holds one."""
    sheet: list[Cell] = []
    for text, tone in toned:
        for character in unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\t", "    ")):
            if unicodedata.category(character) == "Cf":
                continue  # joiners, marks of direction: nothing to see
            if character in _BREAKS:
                sheet.append(Cell("\n", tone, 0))
            elif sheet and unicodedata.combining(character) and joins(character, sheet[-1].text[0]):
                sheet[-1] = Cell(sheet[-1].text + character, sheet[-1].tone, sheet[-1].width)
            else:
                sheet.append(Cell(character, tone, cells(character)))
    return sheet


def wrap(sheet: Sequence[Cell], columns: int = COLUMNS) -> list[list[Cell]]:
    """Lines of at most that many cells, broken at spaces and between wide characters, within a word where it must be.

    A space at which a line is broken is not drawn.
    """
    lines: list[list[Cell]] = [[]]
    used = 0
    for cell in sheet:
        if cell.text == "\n":
            lines.append([])
            used = 0
            continue
        if used + cell.width > columns:
            full, rest = _broken(lines[-1], cell)
            lines[-1:] = [full, rest]
            used = sum(c.width for c in rest)
            if cell.text == " " and not rest:
                continue
        lines[-1].append(cell)
        used += cell.width
    return lines


def _broken(line: list[Cell], following: Cell) -> tuple[list[Cell], list[Cell]]:
    """A full line, and what of it moves to the next one."""
    if following.text == " " or following.width == 2:
        return line, []
    breaks = [i + 1 for i, cell in enumerate(line) if cell.text == " " or cell.width == 2]
    at = breaks[-1] if breaks else len(line)
    return line[:at], line[at:]


def paint(lines: Sequence[Sequence[Cell]]) -> UInt8[np.ndarray, "H W 3"]:
    """Lines of cells as pixels."""
    frame = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    for row, line in enumerate(lines, start=1):
        left = CELL_WIDTH
        for cell in line:
            stamp = _stamp(cell.text, cell.tone)
            right = left + stamp.shape[1]
            frame[row * CELL_HEIGHT : (row + 1) * CELL_HEIGHT, left:right] = stamp
            left = right
    return frame


@lru_cache(maxsize=8192)
def _stamp(text: str, tone: Tone) -> UInt8[np.ndarray, "H W 3"]:
    """A character in its colours."""
    front, back = (np.array(list(bytes.fromhex(colour[1:])), np.float32) for colour in _COLOURS[tone])
    share = ink(text, bold=tone in (Tone.BEST, Tone.WORST))[..., None] / np.float32(255)
    stamp: UInt8[np.ndarray, "H W 3"] = (back + (front - back) * share).round().astype(np.uint8)
    stamp.setflags(write=False)
    return stamp
