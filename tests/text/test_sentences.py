"""Units are lossless, and end where a reader would say a sentence or a line ends."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textgym.text.sentences import cjk_share, sentences, split_units, words

tricky = st.text(st.sampled_from(list('ab AI.?!…。！？，"”」)\n\t 3好月Mr')), max_size=40)


@settings(max_examples=200, deadline=None)
@given(st.one_of(tricky, st.text(max_size=40)))
def test_units_joined_are_the_text_and_only_a_blank_text_has_a_blank_unit(text: str) -> None:
    units = split_units(text)
    assert "".join(units) == text
    assert all(units)
    assert text.isspace() or not any(unit.isspace() for unit in units)
    assert not any(unit[0].isspace() for unit in units[1:])
    assert sentences(text) == [unit.strip() for unit in units if unit.strip()]


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("", []),
        ("   ", ["   "]),
        ("One. Two!  Three?", ["One. ", "Two!  ", "Three?"]),
        ('He said "Go." Then (at last!) he went.', ['He said "Go." ', "Then (at last!) ", "he went."]),
        ("Pi is 3.14, e is 2.7 or so.", ["Pi is 3.14, e is 2.7 or so."]),
        ("Mr. Fox, e.g. a fox, met J. Bear.", ["Mr. Fox, e.g. a fox, met J. Bear."]),
        ("So do I. You know.", ["So do I. ", "You know."]),
        ("Wait... what? Well… yes.", ["Wait... ", "what? ", "Well… ", "yes."]),
        ("first line\n\n  second\nthird", ["first line\n\n  ", "second\n", "third"]),
        ("\n\nfirst", ["\n\nfirst"]),
        ("Mr.\nFox", ["Mr.\n", "Fox"]),
        ("床前明月光，疑是地上霜。舉頭望明月，低頭思故鄉。", ["床前明月光，疑是地上霜。", "舉頭望明月，低頭思故鄉。"]),
        ("「好！」他說。走吧", ["「好！」", "他說。", "走吧"]),
        ("真的？！是的……走。", ["真的？！", "是的……走。"]),
    ],
)
def test_units_by_hand(text: str, units: list[str]) -> None:
    assert split_units(text) == units


@pytest.mark.parametrize(
    "text", ["." * 200_000, " " * 200_000, "\n" * 200_000, "。" * 200_000, '."' * 100_000, "……" * 9**5]
)
def test_long_runs_of_marks_take_linear_time(text: str) -> None:
    start = time.perf_counter()
    assert "".join(split_units(text)) == text
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't STOP, it's 3.14!", ["don't", "stop", "it's", "3", "14"]),
        ("明月几时有？ 把酒", ["明", "月", "几", "时", "有", "把", "酒"]),
        ("GPT模型 naïve", ["gpt", "模", "型", "naïve"]),
        (" ... ", []),
    ],
)
def test_words_by_hand(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_the_share_of_cjk_ignores_blanks() -> None:
    assert cjk_share("明 月\nab") == 0.5
    assert cjk_share("") == cjk_share(" \n") == 0.0
