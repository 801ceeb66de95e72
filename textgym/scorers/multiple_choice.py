r"""Multiple choice: which letter a text chooses.

A letter stands alone and is a capital. The first of these that the text has decides, its last occurrence if there are
several: what follows ``####``; ``\boxed{B}``; what follows "answer is", "answer:" or "答案是"; a letter that the text
begins with or is, as in "B", "(B)", "B. Paris"; a letter in parentheses anywhere.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from textgym.errors import ScorerError
from textgym.scorers.answers import AnswerScorer
from textgym.scorers.base import register
from textgym.scorers.numerals import plain

_LETTER = r"[\s*_$]*(?:\\text\{{)?\(?([{}])(?![\w'’])"
_MARKS = (
    r"####" + _LETTER,
    r"\\boxed\s?\{{" + _LETTER,
    r"(?:\b[Aa]nswer\b[^\n.:=]{{0,40}}?(?:\bis\b|[:=])|答案[^\n。:]{{0,10}}?[是为為:])" + _LETTER,
    r"\A[\s*_]*\(?([{}])(?:[\s*_]*\Z|[*_]*[).:、])",
    r"\(([{}])\)",
)


@register("choice")
@dataclass(frozen=True)
class Choice(AnswerScorer):
    """1 if a completion chooses the letter of its reference, else 0.

    Both are read by the same rule (see `textgym.scorers.multiple_choice`): "(B)", "B. Paris", "The answer is B." and
    "**Answer:** B" choose B; "A dog" chooses nothing and scores 0. A reference without a letter is not applicable.

    Args:
        field: the field of the metadata that holds the letter; none for the references.
        letters: those that may be chosen.
    """

    letters: str = "ABCDE"
    formula = "1 if letter(completion) = letter(reference) else 0"
    source = "Hendrycks et al. 2021 (MMLU), whose answers are letters"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not re.fullmatch("[A-Z]{2,26}", self.letters):
            raise ScorerError(f"{self}: letters are two or more capitals, e.g. 'ABCD'")

    def right(self, text: str, answers: Sequence[Any]) -> bool | None:
        """Whether the text chooses the letter of an answer; None if no answer has one."""
        due = {letter for letter in (chosen(str(answer), self.letters) for answer in answers) if letter}
        return chosen(text, self.letters) in due if due else None


def chosen(text: str, letters: str) -> str:
    """The letter that a text chooses; empty if it chooses none."""
    text = plain(text)
    for mark in _MARKS:
        found = re.findall(mark.format(letters), text)
        if found:
            return str(found[-1])
    return ""
