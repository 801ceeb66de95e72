"""The text form of expressions: a tokenizer and a recursive-descent parser; nothing is evaluated.

=========  ==================================================================
sum        product (("+" | "-") product)*
product    unary ("*" unary)*
unary      "-" unary | atom
atom       NUMBER | NAME | NAME "(" arguments ")" | "(" sum ")"
argument   [NAME "="] (sum | STRING | true | false | none)
=========  ==================================================================
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from textgym.errors import ScorerError, SpecError, UnknownNameError, did_you_mean
from textgym.scorers.algebra import MAX_DEPTH, Difference, Negative, Product, Sum, lift
from textgym.scorers.base import SUM, Scorer
from textgym.scorers.catalogue import scorer_class
from textgym.scorers.parameters import Parameter, build, list_parameters, parameters

_LITERALS: dict[str, bool | None] = {"true": True, "false": False, "none": None}
_TOKEN = re.compile(
    r"""(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
      | (?P<name>[^\W\d]\w*(?:\.[^\W\d]\w*)*)
      | (?P<string>'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")
      | (?P<mark>[-+*(),=])
      | (?P<space>\s+)""",
    re.VERBOSE | re.DOTALL,
)
_OPERATORS = {"+": Sum, "-": Difference, "*": Product}
_UNESCAPED = {"n": "\n", "r": "\r", "t": "\t", "f": "\f", "v": "\v"}
_ESCAPE = re.compile(r"(?s)\\(.)")
_CATALOGUE_HINT = "All scorers: textgym list scorers"


def parse(text: str) -> Scorer:
    """Reads an expression such as ``0.7*fluency(lm='ngram:4') - clip(repetition(n=3), 0, 1)``.

    ``parse(str(scorer)) == scorer`` for every scorer that has a text form. Nothing is evaluated.

    Raises:
        SpecError: with the place in the text, what is wrong with it and what was perhaps meant.
    """
    return _Parser(text).whole()


@dataclass(frozen=True)
class _Token:
    kind: str  # number, name, string, mark, end
    text: str
    column: int


def _tokens(source: str) -> list[_Token]:
    tokens, column = [], 0
    while column < len(source):
        match = _TOKEN.match(source, column)
        if match is None:
            if source[column] in "'\"":
                raise SpecError("this quotation mark is never closed", source, column)
            hint = "To divide, multiply: 0.5*x" if source[column] == "/" else ""
            raise SpecError(f"unexpected character {source[column]!r}", source, column, hint=hint)
        if match.lastgroup != "space":
            tokens.append(_Token(str(match.lastgroup), match.group(), column))
        column = match.end()
    return [*tokens, _Token("end", "", len(source))]


class _Parser:
    """Recursive descent over the tokens of one expression."""

    def __init__(self, text: str) -> None:
        # Shown on one line in messages; white space inside strings is written \n, \t.
        self.source = re.sub(r"[\n\r\t\f\v]", " ", text)
        self.tokens = _tokens(self.source)
        self.index = 0
        self.depth = 0

    @property
    def here(self) -> _Token:
        return self.tokens[self.index]

    def whole(self) -> Scorer:
        if self.here.kind == "end":
            raise self.error("the expression is empty", hint=f"For example: fluency - repetition.  {_CATALOGUE_HINT}")
        value = lift(self.expression())
        if self.here.kind != "end":
            closing = self.here.text == ")"
            hint = "There is no parenthesis to close" if closing else "Scorers are joined by + - *"
            raise self.error(f"unexpected {self.here.text!r} after the expression", hint=hint)
        return value

    def expression(self, level: int = SUM) -> Scorer | float:
        """Operators that bind at least as tightly as `level`, by precedence climbing."""
        value = self.unary()
        while self.here.text in _OPERATORS and _OPERATORS[self.here.text].level >= level:
            operator = self.take()
            kind = _OPERATORS[operator.text]
            value = self.join(kind, operator, value, self.expression(kind.level + 1))
        return value

    def join(self, kind: Callable[..., Scorer], at: _Token, *sides: Scorer | float) -> Scorer:
        try:
            return kind(*map(lift, sides))
        except ScorerError as error:
            raise self.error(str(error), at) from None

    def unary(self) -> Scorer | float:
        if self.here.text != "-":
            return self.atom()
        sign = self.take()
        if self.here.kind == "number":
            return -self.number()
        self.descend(sign)
        value = self.join(Negative, sign, self.unary())
        self.depth -= 1
        return value

    def atom(self) -> Scorer | float:
        token = self.here
        if token.kind == "number":
            return self.number()
        if token.text == "(":
            self.descend(self.take())
            value = self.expression()
            self.close(token)
            return value
        if token.kind == "name" and token.text.lower() not in _LITERALS:
            return self.scorer()
        if token.kind == "end":
            raise self.error("the expression ends where a scorer or a number is expected")
        hint = "A function in a file: call('path/to/file.py:function')" if token.kind == "string" else ""
        raise self.error(f"a scorer or a number is expected here, not {token.text}", hint=hint)

    def number(self) -> float:
        token = self.take()
        try:
            value = int(token.text) if token.text.isdecimal() else float(token.text)
            finite = abs(float(value)) < float("inf")
        except (ValueError, OverflowError):
            finite = False
        if not finite:
            raise self.error("this number is too large", token)
        return value

    def scorer(self) -> Scorer:
        token = self.take()
        try:
            kind = scorer_class(token.text)
        except UnknownNameError as error:
            hint = f"{did_you_mean(error.name, error.known)}  {_CATALOGUE_HINT}"
            raise self.error(f"unknown scorer {token.text!r}", token, hint) from None
        values: dict[str, Any] = {}
        if self.here.text == "(":
            opening = self.take()
            self.descend(opening)
            named = False
            while self.here.text != ")":
                named = self.argument(kind, values, named)
                if self.here.text != ",":
                    break
                self.take()
            self.close(opening)
        missing = [p.name for p in parameters(kind) if p.required and p.name not in values]
        if missing:
            raise self.error(f"{kind.name} lacks {missing[0]!r}; it takes: {list_parameters(kind)}", token)
        try:
            return build(kind, values)
        except ScorerError as error:
            raise self.error(str(error), token) from None

    def argument(self, kind: type[Scorer], values: dict[str, Any], after_named: bool) -> bool:
        """Reads one argument into `values`; returns whether it had a name."""
        known = parameters(kind)
        several = next((p for p in known if p.variadic), None)
        token = self.here
        named = token.kind == "name" and self.tokens[self.index + 1].text == "="
        if named:
            self.index += 2
            parameter = next((p for p in known if p.name == token.text), None)
            if parameter is None:
                nearest = did_you_mean(token.text, [p.name for p in known]) if known else ""
                message = f"{kind.name} has no parameter {token.text!r}; it has: {list_parameters(kind)}"
                raise self.error(message, token, nearest if nearest.startswith("Did") else "")
            if parameter is several:
                raise self.error(f"{kind.name} takes its scorers without a name, as {kind.name}(a, b)", token)
            if parameter.name in values:
                raise self.error(f"{kind.name} is given {token.text!r} twice", token)
        elif after_named:
            raise self.error("an argument without a name after one with a name", token)
        elif several is not None:
            values.setdefault(several.name, []).append(self.value(kind, several.one))
            return False
        elif len(values) >= len(known):
            raise self.error(f"{kind.name} takes no further argument; it has: {list_parameters(kind)}", token)
        else:
            parameter = known[len(values)]
        values[parameter.name] = self.value(kind, parameter)
        return named

    def value(self, kind: type[Scorer], parameter: Parameter) -> Any:
        """Reads what a parameter is given."""
        token = self.here
        value: Any
        if token.kind == "string":
            value = _ESCAPE.sub(_unescape, self.take().text[1:-1])
        elif token.kind == "name" and token.text.lower() in _LITERALS:
            value = _LITERALS[self.take().text.lower()]
        elif token.kind == "name" and parameter.takes_text and not parameter.takes_scorer:
            hint = f"Text stands in quotes: {parameter.name}='{token.text}'"
            raise self.error(f"{kind.name}: {parameter.name} takes text in quotes", token, hint)
        else:
            value = self.expression()
        try:
            return parameter.fit(value)
        except ValueError:
            shown = self.source[token.column : self.here.column].strip()
            wanted = str(_refusal(parameter, value)).replace(repr(value), shown)
            raise self.error(f"{kind.name}: {wanted}", token) from None

    def descend(self, at: _Token) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.error(f"more than {MAX_DEPTH} levels of parentheses", at)

    def close(self, opening: _Token) -> None:
        self.depth -= 1
        if self.here.text == ")":
            self.take()
        elif self.here.kind == "end":
            raise self.error("this parenthesis is never closed", opening)
        else:
            raise self.error(f"unexpected {self.here.text!r}: a comma or a closing parenthesis is expected")

    def take(self) -> _Token:
        self.index += 1
        return self.tokens[self.index - 1]

    def error(self, message: str, at: _Token | None = None, hint: str = "") -> SpecError:
        token = at or self.here
        return SpecError(message, self.source, token.column, len(token.text), hint)


def _refusal(parameter: Parameter, value: object) -> ValueError:
    try:
        parameter.fit(value)
    except ValueError as error:
        return error
    raise AssertionError("a value that fits is not refused")


def _unescape(found: re.Match[str]) -> str:
    r"""What a backslash and the next character mean; one that escapes nothing stays where it is: ``\d``."""
    character = found[1]
    return _UNESCAPED.get(character, character if character in "\\'\"" else found[0])
