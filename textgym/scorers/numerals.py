r"""Numbers as people and language models write them, read as exact fractions; and which number of a text is its answer.

====================  ============================================================
``1,200.50``          commas before groups of three digits, a decimal point
``1/2``, ``2 1/2``    fractions and mixed numbers; also ``½``, ``\frac{1}{2}``
``1.2e3``             powers of ten; also ``1.2 x 10^3``
``$5``, ``5 euros``   a currency and a unit are passed over
``50%``               50, and marked as per cent
``3 million``         3,000,000; so are thousand, billion, trillion, 万 and 亿
``-3``                a minus is a sign unless a number or a word stands before it
``１８``              full-width digits and marks, and every script's digits
====================  ============================================================

Numbers in words are not read, nor is a decimal comma.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from textgym.text.sentences import split_units

MAX_DIGITS, MAX_EXPONENT = 300, 308
"""A longer number is none: exact arithmetic with it would cost more than any answer is worth."""

UNIT_LENGTH = 40
"""Characters that the name of a unit may take."""

_SCALES = {"thousand": 3, "million": 6, "billion": 9, "trillion": 12, "万": 4, "萬": 4, "亿": 8, "億": 8}
_DIGITS = r"(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)"
_NUMBER = re.compile(
    rf"""
    (?: (?P<sign>(?<![A-Za-z0-9_)\]}}%^])(?<!\^\{{)[-+]) )?
    (?: (?:(?<![A-Za-z])(?:US|CA|AU))?[$€£¥₹]\s?(?P<sign2>[-+])? | (?<![A-Za-z0-9_^])(?<!\d\.)(?<!\^[{{-])(?<!\^\{{-) )
    (?: (?P<whole>\d+)\s{{1,3}}(?:and\s)?(?=\d+/\d) )?
    (?P<digits>{_DIGITS})
    (?: \s?/\s?(?P<under>{_DIGITS})(?![\d/])
      | [eE](?P<exponent>[-+]?\d+)
      | \s?(?:[x×*·]|\\times|\\cdot)\s?10\s?(?:\^|\*\*)\s?\{{?(?P<power>[-+]?\d+)\}}?
    )?
    (?: \s?(?P<scale>(?:thousand|million|billion|trillion)\b|[万萬亿億]) )?
    (?P<percent>\s?(?:%|percent\b|per\scent\b))?
    """,
    re.VERBOSE,
)

_ASCII = {0xFF01 + i: 0x21 + i for i in range(94)} | dict.fromkeys(map(ord, "−–﹣"), "-") | {ord("⁄"): "/"}
_VULGAR = re.compile("[¼-¾⅐-⅞]")
_LATEX = (
    (re.compile(r"\\[dt]?frac\s?\{(\d+)\}\s?\{(\d+)\}"), r" \1/\2 "),
    (re.compile(r"\{,\}|(?<=\d)\\,(?=\d{3})"), ","),
    (re.compile(r"\\([$%])"), r"\1"),
    (re.compile(r"<<[^<>]*>>"), ""),  # the calculator marks of GSM8K
)

_BOXED = re.compile(r"\\boxed\s?\{")
_SAID = re.compile(r"(?i:\banswer\b)[^\n.:=]{0,40}?(?:\bis\b|\bare\b|[:=])|答案[^\n。:]{0,10}?[是为為:]")
_BARE = re.compile(r"(?m)^[ \t]*A[ \t]?:[ \t*]*")


@dataclass(frozen=True)
class Numeral:
    """A number in a text.

    Attributes:
        value: exactly what is written.
        percent: whether it is followed by a percent sign, or the word.
        after: what follows it, as far as a unit may reach.
    """

    value: Fraction
    percent: bool
    after: str


def plain(text: str) -> str:
    """The text with full-width signs, vulgar fractions and LaTeX as plain characters, without calculator marks."""
    if not text.isascii():
        text = _VULGAR.sub(_spelled, text.translate(_ASCII))
    for pattern, replacement in _LATEX:
        text = pattern.sub(replacement, text)
    return text


def numerals(text: str, backwards: bool = False) -> Iterator[Numeral]:
    """The numbers of a `plain` text, from left to right or from the last to the first."""
    found = _NUMBER.finditer(text)
    for one in reversed(list(found)) if backwards else found:
        value = _value(one)
        if value is not None:
            yield Numeral(value, one["percent"] is not None, text[one.end() : one.end() + UNIT_LENGTH])


def answer_of(text: str) -> Numeral | None:
    r"""The number that a text gives as its answer; None if it gives none.

    The first of these that the text has decides, its last occurrence if there are several:

    1. what follows ``####``, as in GSM8K;
    2. what stands in ``\boxed{}``;
    3. what follows "answer is", "answer:", "答案是" on the same or the next line, or "A:" at the beginning of a line
       and before the number;
    4. in the last sentence that has a number, its last number.

    In each, an equals sign moves the answer behind it: "the answer is 16 - 3 = 13" says 13.
    """
    text = plain(text)
    _, mark, after = text.rpartition("####")
    if mark:
        return _first(_line(after))
    boxes = list(_BOXED.finditer(text))
    if boxes:
        return _first(_braced(text[boxes[-1].end() :]))
    marks = [found.end() for found in _SAID.finditer(text)]
    marks += [found.end() for found in _BARE.finditer(text) if _NUMBER.match(text, found.end())]
    for end in sorted(marks, reverse=True):
        said = _first(_line(text[end:]))
        if said is not None:
            return said
    for sentence in reversed(split_units(text)):
        last = _last(sentence)
        if last is not None:
            return last
    return None


def _first(span: str) -> Numeral | None:
    return next(numerals(span.rpartition("=")[2]), None) or next(numerals(span), None)


def _last(span: str) -> Numeral | None:
    _, equals, after = span.rpartition("=")
    found = next(numerals(after), None) if equals else None
    return found or next(numerals(span, backwards=True), None)


def _line(text: str) -> str:
    """The first line that is not blank."""
    return text.lstrip().partition("\n")[0]


def _braced(text: str) -> str:
    """Up to the brace that closes what was opened before the text; all of it if none does."""
    depth = 1
    for at, character in enumerate(text):
        depth += (character == "{") - (character == "}")
        if not depth:
            return text[:at]
    return text


def _value(found: "re.Match[str]") -> Fraction | None:
    """The number that was matched; None if it is too long, or divides by zero."""
    power = int(_short(found["exponent"] or found["power"] or "0", 4) or MAX_EXPONENT + 1)
    parts = [_short(found[name] or default) for name, default in (("whole", "0"), ("digits", ""), ("under", "1"))]
    if abs(power) > MAX_EXPONENT or not all(parts):
        return None
    whole, digits, under = (Fraction(part.replace(",", "")) for part in parts)
    if not under:
        return None
    value = (whole + digits / under) * Fraction(10) ** (power + _SCALES.get(found["scale"], 0))
    return -value if "-" in (found["sign"], found["sign2"]) else value


def _short(digits: str, limit: int = MAX_DIGITS) -> str:
    return digits if len(digits) <= limit else ""


def _spelled(found: "re.Match[str]") -> str:
    parts = unicodedata.normalize("NFKC", found[0]).split("⁄")
    return f" {parts[0]}/{parts[1]}" if len(parts) == 2 and all(parts) else found[0]
