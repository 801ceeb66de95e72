"""How values of the restaurant domain of E2E (Novikova et al. 2017) are put into words, beside the words of the value.

Patterns are matched against normalised text: tokens with one space between them, lower case, no accents, number words
as digits. Values that people use for one another stand together, as the references of the data set do: "cheap" is what
"less than £20" is called.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Phrasing:
    """Values that mean the same, and the pattern of what means them in a text.

    Attributes:
        values: as a meaning representation has them, normalised.
        pattern: a regular expression for whole tokens.
        telling: whether the words mean this slot and nothing else, so that they say it even where it was not asked for.
    """

    values: tuple[str, ...]
    pattern: str
    telling: bool = True


def _priced(words: str, alone: str, amount: str) -> str:
    noun, between = r"(?:pric\w+|costs?)", r"(?: (?:range|ranges|point|is|are|of|in|the|from|at|a|it|to|be|very))*"
    return rf"(?:{alone})|(?:{words})(?: in)? (?:{noun})|{noun}{between} (?:{words})|{amount}"


def _rated(words: str, score: int) -> str:
    noun, who = (
        r"(?:rat\w+|reviews?|reviewed|scores?|feedback)",
        r"(?: (?:customer|consumer|user|guest|overall|quality))*",
    )
    between = r"(?: (?:of|is|are|as|at|being|by|customers?|a|an|the|very|its|was|it|them|this))*"
    return (
        rf"(?:{words}){who} {noun}|{noun}{between} (?:{words})"
        rf"|{score} (?:out of|out|of) (?:a possible )?5|{score} 5|(?<!of ){score} stars?"
    )


_POUNDS = "(?:£ )?"

PHRASINGS: dict[str, tuple[Phrasing, ...]] = {
    "eattype": (
        Phrasing(("coffee shop",), r"coffee(?: ?shops?| houses?)?|cafes?"),
        Phrasing(("pub",), r"pubs?"),
        Phrasing(("restaurant",), r"restaurants?|eatery|eateries", telling=False),  # what people call any of them
    ),
    "food": (
        *(Phrasing((food,), food) for food in ("chinese", "french", "indian", "italian", "japanese")),
        Phrasing(("english",), "english|british"),
        Phrasing(("fast food",), "fast foods?"),
    ),
    "pricerange": (
        Phrasing(
            ("cheap", "less than £ 20"),
            _priced(
                r"low\w*", r"cheap\w*|inexpensive\w*|affordabl\w+|low cost|budget",
                rf"(?:less than|under|below|up to|no more than) {_POUNDS}20",
            ),
        ),
        Phrasing(
            ("moderate", "£ 20 25"),
            _priced(
                r"average|medium|mid|middle|reasonabl\w+|fair\w*", r"moderate\w*|mid range",
                rf"{_POUNDS}20(?: to| and)? {_POUNDS}25",
            ),
        ),
        Phrasing(
            ("high", "more than £ 30"),
            _priced(
                r"high\w*", r"expensive|pricey|high end|upscale|costly",
                rf"(?:more than|over|above|at least|upwards of) {_POUNDS}30|£ 30",
            ),
        ),
    ),
    "customerrating": (
        Phrasing(("low", "1 out of 5"), _rated(r"low\w*|poor\w*|bad\w*", 1)),
        Phrasing(("average", "3 out of 5"), _rated(r"average\w*|mediocre|decent\w*|moderate\w*", 3)),
        Phrasing(("high", "5 out of 5"), _rated(r"high\w*|excellent\w*|outstanding|great|top|good|well", 5)),
    ),
    "area": (
        Phrasing(
            ("city centre",),
            r"(?:city|town)(?:'s)? ?cent(?:re|er)|cent(?:re|er) of (?:the )?(?:city|town|cambridge)|downtown"
            r"|central\w*",
        ),
        Phrasing(("riverside",), r"river ?sides?|rivers?|river ?banks?|waterfront"),
    ),
}  # fmt: skip
"""Slots of few values, by their names in lower case without spaces."""

YES_NO: dict[str, str] = {"familyfriendly": r"famil(?:y|ies)|kids?(?:'s)?|child(?:ren)?(?:'s)?"}
"""What slots that are yes or no are about; of others it is their names."""

NEGATIVE: dict[str, str] = {"familyfriendly": r"adults?"}
"""What says no by itself."""

OPEN = frozenset({"name", "near"})
"""Slots whose values are names: a text holds them as they are, and may say them again."""
