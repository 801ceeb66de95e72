"""Arithmetic: whether the equations that a text writes down hold. A parser of its own; nothing is evaluated as code.

==========  =====================================================================
equation    sum ("=" sum)+, with an operator in it; each "=" is one statement
sum         product (("+" | "-") product)*
product     power (("*" | "x" | "·" | "/" | "÷") power)*
power       ("+" | "-")* atom ["^" power]
atom        NUMBER ["%"] | "(" sum ")"
==========  =====================================================================

An equation ends at a word, so that "16 - 3 = 13 eggs" says 16 - 3 = 13, and one that a word interrupts is none. The
calculator marks of GSM8K, ``<<48/2=24>>``, are equations of their own.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise

import numpy as np

from textgym.scorers.base import Scorer, register
from textgym.types import Scores, ScoringContext, TextBatch

MAX_BITS = 4096
"""Numbers beyond this are not computed, so that 10^10^10 takes no time; an equation that needs them is not right."""

MAX_DEPTH = 40
"""Parentheses within parentheses."""

_CALCULATOR = re.compile(r"<<([^<>]*)>>")
_SIGNS = {0xFF01 + i: 0x21 + i for i in range(94)} | {
    **dict.fromkeys(map(ord, "−–"), "-"),
    **dict.fromkeys(map(ord, "×✕·⋅∙"), "*"),
    **dict.fromkeys(map(ord, "÷⁄∕"), "/"),
}
_LATEX = {r"\times": "*", r"\cdot": "*", r"\div": "/", r"\left": "", r"\right": "", r"\$": "", r"\%": "%", "**": "^"}
_TOKEN = re.compile(
    r"""(?P<number>(?<![A-Za-z_\d])(?<!\d\.)(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)(?!\d|\.\d)%?)
      | (?P<times>(?<=[\d)\s])[xX](?=\s*[\d(.$]))
      | (?P<mark>==?|[-+*/^()])
      | (?P<space>[^\S\n]|[$€£¥])
      | (?P<variable>(?<=[\d)])[xyzn](?![^\W_]))
      | (?P<word>[^\W\d_]+)
      | (?P<other>[\s\S])""",
    re.VERBOSE,
)
_ITEM = re.compile(r"(?m)^[ \t]*\d+\)(?=\s)")  # "1) 3 + 4 = 7"


@register("arithmetic")
@dataclass(frozen=True)
class Arithmetic(Scorer):
    """Share of the equations in a completion that hold; not applicable where there is none.

    Only equations between numbers, with an operator in them, count: "x = 3" and "3 = 3" do not. In a chain such as
    "3 * 5 = 15 + 2 = 17" each "=" counts, and the first of these is false. A decimal on the right is taken as rounded
    to the digits it shows, so that "10 / 3 = 3.33" holds and "10 / 3 = 3" does not. A percent sign may mean hundredths
    or nothing, whichever makes an equation hold. Division by zero, and numbers of more than 4,096 bits, never hold.
    """

    range = (0.0, 1.0)
    unit = "share of equations"
    formula = "|equations that hold| / |equations|"
    source = "the calculator annotations of Cobbe et al. 2021, section 2"

    def partial_in(self, context: ScoringContext | None) -> bool:
        """Always: any text may be without an equation."""
        return True

    def score(self, batch: TextBatch) -> Scores:
        """Scores B completions: values (B,)."""
        rows = [[equation.holds() for equation in equations(text)] for text in batch.completion_texts]
        values = [sum(row) / max(len(row), 1) for row in rows]
        return Scores(np.array(values, dtype=np.float64), np.array([bool(row) for row in rows], dtype=bool))


@dataclass(frozen=True)
class Equation:
    """Two sides of one equals sign, each a list of tokens that the grammar reads."""

    left: Sequence[str]
    right: Sequence[str]

    def holds(self) -> bool:
        """Whether both sides are equal, in one of the two meanings of a percent sign."""
        meanings = (1, 100) if any(token.endswith("%") for token in (*self.left, *self.right)) else (1,)
        return any(self._holds(percent) for percent in meanings)

    def _holds(self, percent: int) -> bool:
        try:
            left, right = (_Reader(side, percent).read() for side in (self.left, self.right))
        except (_TooLargeError, ZeroDivisionError):
            return False
        if left is None or right is None:
            return False
        _, point, places = self.right[-1].rstrip("%").partition(".")
        slack = Fraction(1, 2 * 10 ** len(places)) if point and len(self.right) <= 2 else Fraction(0)
        return abs(left - right) <= (slack / percent if self.right[-1].endswith("%") else slack)


def equations(text: str) -> Iterator[Equation]:
    """The equations of a text: first those in calculator marks, then those in its lines."""
    for mark in _CALCULATOR.findall(text):
        yield from _equations(mark)
    yield from _equations(_CALCULATOR.sub("", text))


def _equations(text: str) -> Iterator[Equation]:
    text = text.translate(_SIGNS)
    for written, sign in _LATEX.items():
        text = text.replace(written, sign)
    for run in _runs(_ITEM.sub("", text)):
        sides: list[list[str]] = [[]]
        for token in run:
            if token[0] == "=":
                sides.append([])
            else:
                sides[-1].append(token)
        for left, right in pairwise(sides):
            if any(token in "+-*/^" for side in (left, right) for token in side) and _readable(left, right):
                yield Equation(left, right)


def _runs(text: str) -> Iterator[list[str]]:
    """Tokens between two words, wherever an equals sign is among them; ``?`` is what is no number."""
    for line in text.split("\n"):
        run: list[str] = []
        for found in _TOKEN.finditer(f"{line}\n") if "=" in line else ():
            kind = found.lastgroup
            if kind in ("word", "other"):
                if any(token[0] == "=" for token in run):
                    yield run
                run = ["?"] if found[0].isalnum() else []
            elif kind != "space":
                if run == ["?"] and found[0] not in "+-":
                    run = []  # a word ends before a number; "eggs + 3 = 9" has lost its first summand
                run.append({"times": "*", "variable": "?"}.get(str(kind), found[0]))


def _readable(*sides: Sequence[str]) -> bool:
    try:
        return all(_Reader(side).read() is not None for side in sides)
    except (_TooLargeError, ZeroDivisionError):
        return True  # an equation, though not one that holds


class _TooLargeError(ArithmeticError):
    pass


@dataclass
class _Reader:
    """Recursive descent over the tokens of one side; None stands for what the grammar does not read."""

    tokens: Sequence[str]
    percent: int = 1
    at: int = 0
    depth: int = field(default=0)

    def read(self) -> Fraction | None:
        """The value of all tokens."""
        value = self._sum()
        return value if self.at == len(self.tokens) else None

    def _sum(self) -> Fraction | None:
        value = self._product()
        while value is not None and (sign := self._take("+-")):
            term = self._product()
            value = None if term is None else _bounded(value + term if sign == "+" else value - term)
        return value

    def _product(self) -> Fraction | None:
        value = self._power()
        while value is not None and (sign := self._take("*/")):
            factor = self._power()
            value = None if factor is None else _bounded(value * factor if sign == "*" else value / factor)
        return value

    def _power(self) -> Fraction | None:
        sign = 1
        while taken := self._take("+-"):
            sign = -sign if taken == "-" else sign
        base = self._atom()
        if base is None or not self._take("^"):
            return None if base is None else sign * base
        self.depth += 1
        exponent = None if self.depth > MAX_DEPTH else self._power()
        self.depth -= 1
        if exponent is None or exponent.denominator != 1:
            return None
        bits = max(base.numerator.bit_length(), base.denominator.bit_length())
        if abs(exponent) * bits > MAX_BITS:
            raise _TooLargeError
        return sign * base ** int(exponent)

    def _atom(self) -> Fraction | None:
        if self._take("("):
            self.depth += 1
            value = None if self.depth > MAX_DEPTH else self._sum()
            self.depth -= 1
            return value if self._take(")") else None
        if self.at == len(self.tokens) or not self.tokens[self.at].strip("%")[-1:].isdigit():
            return None
        token = self.tokens[self.at]
        self.at += 1
        if len(token) > MAX_BITS // 4:
            raise _TooLargeError
        value = _bounded(Fraction(token.rstrip("%").replace(",", "")))
        return value / self.percent if token.endswith("%") else value

    def _take(self, signs: str) -> str:
        """The next token if it is one of these signs, else nothing."""
        if self.at < len(self.tokens) and self.tokens[self.at] in signs:
            self.at += 1
            return self.tokens[self.at - 1]
        return ""


def _bounded(value: Fraction) -> Fraction:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > MAX_BITS:
        raise _TooLargeError
    return value
