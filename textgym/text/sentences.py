"""Where sentences and words begin and end, in spaced scripts and in Chinese and Japanese.

Plain rules, no model: a unit is a line, or a sentence within a line.
"""

import re

CJK = "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
"""Characters of scripts without spaces (Han, Hiragana, Katakana), as the inside of a regular-expression class."""

_CLOSERS = "\"'”’»)\\]}」』）】》〉〕］｝"
_ABBREVIATION = re.compile(
    r"(?:\b(?:Mr|Mrs|Ms|Dr|St|Prof|Jr|Sr|vs|cf|[eE]\.g|[iI]\.e|approx)|(?<![\w.])[A-HJ-Z])\.\s*$", flags=re.ASCII
)
_BOUNDARY = re.compile(  # the lookbehinds keep long runs of marks linear
    rf"(?<![.?!…])[.?!…]+[{_CLOSERS}]*\s+"  # a spaced script wants whitespace behind the mark: 3.14 stays whole
    rf"|(?<![。！？…])(?=…*[。！？])[。！？…]+[{_CLOSERS}]*\s*"
    r"|\n\s*"
)
_WORD = re.compile(rf"[{CJK}]|(?:(?![{CJK}])\w)+(?:['’](?:(?![{CJK}])\w)+)*")
_CJK_CHARACTER = re.compile(f"[{CJK}]")


def split_units(text: str) -> list[str]:
    """A text cut into lines and sentences, lossless: ``"".join(split_units(text)) == text``.

    Whitespace stays at the end of the unit before it (at the very beginning it opens the first unit), so that every
    later unit begins with something visible. An abbreviation (Mr., e.g., an initial) does not end a sentence.

    >>> split_units("It is 3.14 m. Mr. Fox said so! 好。走吧")
    ['It is 3.14 m. ', 'Mr. Fox said so! ', '好。', '走吧']
    """
    units: list[str] = []
    start = len(text) - len(text.lstrip())
    begin = 0
    for match in _BOUNDARY.finditer(text, start):
        end = match.end()
        is_abbreviation = match[0][0] == "." and _ABBREVIATION.search(text, max(begin, end - 24), end)
        if end == begin or (is_abbreviation and "\n" not in match[0]):
            continue
        units.append(text[begin:end])
        begin = end
    if begin < len(text):
        units.append(text[begin:])
    return units


def sentences(text: str) -> list[str]:
    """The units of a text without the whitespace around them; blank ones are left out."""
    return [unit.strip() for unit in split_units(text) if not unit.isspace()]


def words(text: str) -> list[str]:
    """The words of a text, lower-cased, without punctuation; each Chinese or Japanese character is one.

    >>> words("Don't stop, 明月!")
    ["don't", 'stop', '明', '月']
    """
    return _WORD.findall(text.lower())


def cjk_share(text: str) -> float:
    """The share of Chinese and Japanese characters among those that are not whitespace, 0 to 1; 0 for a blank text."""
    visible = sum(map(len, text.split()))
    return len(_CJK_CHARACTER.findall(text)) / visible if visible else 0.0
