"""Characters as marks in cells of a fixed size: DejaVu Sans Mono first, then any font the system has, then a code.

A character that no font has is drawn as its full-width or compatibility form's plain counterpart where there is one
(`，` as `,`), otherwise as a box with its code point in hexadecimal, as browsers do. Chinese, Japanese and Korean
need a font of the system, e.g. Noto Sans CJK (Debian: fonts-noto-cjk); matplotlib brings none.
"""

import logging
import unicodedata
from functools import cache, lru_cache
from pathlib import Path

import matplotlib
import numpy as np
from jaxtyping import Int64, UInt8
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageDraw, ImageFont

CELL_WIDTH, CELL_HEIGHT = 10, 20
"""Of one cell in pixels."""

_SIZE = 16  # pixels, at which DejaVu Sans Mono advances 9.6: as large as a cell takes
_WIDE_SIZE = 18  # of characters that take two cells
_CODE_SIZE = 8
_BASELINE = 15
_DISLIKED = ("bold", "black", "light", "thin", "italic", "oblique", "serif", "condensed")
"""Words in file names of fonts that are taken only where no plainer one has a character."""

_FOLDER = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
REGULAR, BOLD = str(_FOLDER / "DejaVuSansMono.ttf"), str(_FOLDER / "DejaVuSansMono-Bold.ttf")
"""The fonts that matplotlib brings along."""


@lru_cache(maxsize=4096)
def cells(cluster: str) -> int:
    """How many cells a character takes: 2 where it is East Asian and wide or not in DejaVu Sans Mono, otherwise 1."""
    return 2 if unicodedata.east_asian_width(cluster[0]) in "WF" or not _has(REGULAR, cluster[0]) else 1


def joins(mark: str, base: str) -> bool:
    """Whether a combining mark can be drawn together with the character it follows."""
    font = font_with(base)
    return unicodedata.category(mark) in ("Mn", "Me") and font is not None and _has(font, mark)


@lru_cache(maxsize=4096)
def ink(cluster: str, bold: bool = False) -> UInt8[np.ndarray, "H W"]:
    """How much ink each pixel gets, 0..255: shape (CELL_HEIGHT, CELL_WIDTH * cells(cluster)).

    Args:
        cluster: a character and the combining marks that join it.
        bold: thicker strokes.
    """
    image = Image.new("L", (CELL_WIDTH * cells(cluster), CELL_HEIGHT))
    path = font_with(cluster[0])
    if path is None:
        plain = unicodedata.normalize("NFKC", cluster)
        path, cluster = (REGULAR, plain) if all(_has(REGULAR, c) for c in plain) else (None, cluster)
    if path is None:
        _draw_code(image, cluster[0])
    else:
        thick = bold and path == REGULAR
        font = _font(BOLD if thick else path, _SIZE if path == REGULAR else _WIDE_SIZE)
        at = (image.width / 2, _BASELINE)
        ImageDraw.Draw(image).text(at, cluster, fill=255, font=font, anchor="ms")
        bold = bold and not thick
    pixels = np.asarray(image)
    if bold:
        # A font without a bold cut: every stroke one pixel wider.
        pixels = np.maximum(pixels, np.pad(pixels, ((0, 0), (1, 0)))[:, :-1])
    pixels.setflags(write=False)
    return pixels


def _draw_code(image: Image.Image, character: str) -> None:
    """A box with the code point in two rows of digits."""
    _tell_once()
    digits = f"{ord(character):04X}" if ord(character) < 0x10000 else f"{ord(character):06X}"
    half = len(digits) // 2
    pen = ImageDraw.Draw(image)
    pen.rectangle((1, 1, image.width - 2, image.height - 3), outline=160)
    for row, part in enumerate((digits[:half], digits[half:])):
        pen.text((image.width / 2, 9 + 7 * row), part, fill=255, font=_font(REGULAR, _CODE_SIZE), anchor="ms")


@lru_cache(maxsize=1)
def _tell_once() -> None:
    logging.getLogger("textgym").warning(
        "no installed font has some of the characters to be drawn, so boxes show their code points. "
        "Chinese, Japanese and Korean need a font such as Noto Sans CJK (Debian: fonts-noto-cjk)."
    )


@lru_cache(maxsize=4096)
def font_with(character: str) -> str | None:
    """Path of the font that a character is drawn with; None where no font has it."""
    paths = (REGULAR, *system_fonts()) if not _has(REGULAR, character) else (REGULAR,)
    return next((path for path in paths if _has(path, character)), None)


@lru_cache(maxsize=1)
def system_fonts() -> tuple[str, ...]:
    """Paths of the fonts on this machine, plain ones first."""
    from matplotlib.font_manager import findSystemFonts  # reads or builds matplotlib's font cache: only when needed

    def rank(path: str) -> tuple[int, str]:
        name = Path(path).name.lower()
        return sum(word in name for word in _DISLIKED), path

    return tuple(sorted((path for path in findSystemFonts() if "lastresort" not in path.lower()), key=rank))


def _has(path: str, character: str) -> bool:
    codes = _codes(path)
    at = int(np.searchsorted(codes, ord(character)))
    return at < len(codes) and int(codes[at]) == ord(character)


@cache
def _codes(path: str) -> Int64[np.ndarray, " N"]:
    """The code points that a font has, sorted; none if it cannot be drawn with (bitmap emoji, a broken file)."""
    try:
        _font(path, _WIDE_SIZE)
        found = sorted(FT2Font(path).get_charmap())
    except (OSError, RuntimeError):
        found = []
    return np.array(found, np.int64)


@lru_cache(maxsize=16)
def _font(path: str, size: int) -> ImageFont.FreeTypeFont:
    # The basic layout: one character at a time needs no other, the other fails on some, and not every machine has it.
    return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)
