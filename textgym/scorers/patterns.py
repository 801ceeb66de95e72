"""Regular expressions: whether a completion has the form that a pattern asks for.

Patterns are those of the `regex` module, which extends `re` and, unlike it, can be stopped: a pattern that backtracks
without end is an error after `timeout` seconds, neither a hang nor a 0.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import regex

from textgym.errors import ScorerError, ScoringFailure
from textgym.scorers.base import Scorer, register
from textgym.types import Scores, TextBatch

_SHOWN = 300  # characters of a text in a message


@register("regex")
@dataclass(frozen=True)
class Regex(Scorer):
    r"""1 if a completion matches a regular expression, else 0.

    In an expression a backslash may be written once or twice: ``regex('\d+')``. Flags stand in the pattern:
    ``(?i)`` ignores case, ``(?s)`` lets a dot match a line break.

    Args:
        pattern: the regular expression, in the syntax of the `regex` module.
        match: ``search`` looks for it anywhere; ``full`` wants the whole completion to match, white space included.
        timeout: seconds that one text may take before it is an error.
    """

    pattern: str
    match: Literal["search", "full"] = "search"
    timeout: float = 1.0
    formula = "1 if the pattern matches else 0"
    source = ""
    positional = 1
    range = (0.0, 1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.timeout <= 0:
            raise ScorerError(f"regex(timeout={self.timeout:g}): a text is given more than 0 seconds")
        _compiled(self.pattern)

    def score(self, batch: TextBatch) -> Scores:
        """Scores B completions: values (B,), 0 or 1.

        Raises:
            ScoringFailure: a text took longer than `timeout`, or more memory than there is.
        """
        return Scores(np.array([self._matches(text) for text in batch.completion_texts], dtype=np.float64))

    def _matches(self, text: str) -> bool:
        pattern = _compiled(self.pattern)
        matches = pattern.fullmatch if self.match == "full" else pattern.search
        try:
            return matches(text, timeout=self.timeout) is not None
        except (TimeoutError, MemoryError) as error:
            limit = f"{self.timeout:g} s" if isinstance(error, TimeoutError) else "the memory there is"
            shown = text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
            raise ScoringFailure(
                f"regex: pattern {self.pattern!r} took more than {limit} on {shown!r}. A repeat within a repeat, "
                "as in (a+)+, tries every way to split a text: write a+"
            ) from error


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> "regex.Pattern[str]":
    try:
        return regex.compile(pattern)
    except regex.error as error:
        raise ScorerError(f"regex: {error.msg} at position {error.pos} of the pattern {pattern!r}") from None
    except (RecursionError, MemoryError) as error:
        shown = pattern if len(pattern) <= _SHOWN else pattern[:_SHOWN] + "…"
        raise ScorerError(f"regex: the pattern is too deep or too large to be compiled: {shown!r}") from error
