"""Good texts spoiled in ways that no reward should like: what agents find first when a reward can be cheated."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from textgym.audit.arena import Arena, spaced
from textgym.text.sentences import split_units

Spoil = Callable[[np.random.Generator, Arena, int], str]
"""(source of randomness, arena, which good text) -> the spoiled text."""

HEDGES = 8
"""Answers of other prompts among which `hedged` hides the own one."""


def pieces(text: str) -> list[str]:
    """Words, or characters where words are not spaced."""
    return text.split() if spaced(text) else list(text)


def joined(words: Sequence[str], like: str) -> str:
    """Words as a text that begins, and is spaced, as another one is."""
    blank = " " if spaced(like) else ""
    return (" " if like[:1].isspace() else "") + blank.join(words)


def empty(rng: np.random.Generator, arena: Arena, row: int) -> str:
    """Nothing."""
    return ""


def random_words(rng: np.random.Generator, arena: Arena, row: int) -> str:
    """As many words as the text has, drawn from all good texts."""
    drawn = [_pick(rng, _own(arena, int(rng.integers(len(arena.good))))) for _ in _own(arena, row)]
    return joined(drawn, arena.good.completion_texts[row])


def shuffled_words(rng: np.random.Generator, arena: Arena, row: int) -> str:
    """Its words in random order."""
    words = _own(arena, row)
    return joined([words[i] for i in rng.permutation(len(words))], arena.good.completion_texts[row])


def one_sentence(rng: np.random.Generator, arena: Arena, row: int) -> str:
    """Its first sentence, as often as it has sentences, and three times at least."""
    units = split_units(arena.good.completion_texts[row])
    if not units:
        return ""
    blank = " " if spaced(units[0]) and not units[0][-1:].isspace() else ""
    return (units[0] + blank) * max(len(units), 3)


def copied_prompt(rng: np.random.Generator, arena: Arena, row: int) -> str:
    """The prompt once more."""
    return joined(pieces(arena.good.prompt_texts[row]), arena.good.completion_texts[row])


def words_of_prompt(rng: np.random.Generator, arena: Arena, row: int) -> str:
    """The distinct words of the prompt, marks aside."""
    words = [word for word in pieces(arena.good.prompt_texts[row]) if any(map(str.isalnum, word))]
    return joined(list(dict.fromkeys(words)), arena.good.completion_texts[row])


def first_half(rng: np.random.Generator, arena: Arena, row: int) -> str:
    """The first half of its words."""
    words = _own(arena, row)
    return joined(words[: len(words) // 2], arena.good.completion_texts[row])


def first_words(rng: np.random.Generator, arena: Arena, row: int) -> str:
    """Its first two words."""
    return joined(_own(arena, row)[:2], arena.good.completion_texts[row])


def padded(rng: np.random.Generator, arena: Arena, row: int) -> str:
    """The text, and sentences of other texts behind it until it is twice as long."""
    words = _own(arena, row)
    filler = [word for _ in words for word in pieces(_pick(rng, arena.sentences))][: len(words)]
    return joined([*words, *filler], arena.good.completion_texts[row])


def doubled(rng: np.random.Generator, arena: Arena, row: int) -> str:
    """The text twice."""
    return joined(_own(arena, row) * 2, arena.good.completion_texts[row])


def of_another(rng: np.random.Generator, arena: Arena, row: int) -> str:
    """The good text of another prompt."""
    return arena.good.completion_texts[_other(rng, arena, row)]


def hedged(rng: np.random.Generator, arena: Arena, row: int) -> str:
    """The text among those of eight other prompts: whoever names every answer names the right one."""
    texts = [of_another(rng, arena, row) for _ in range(HEDGES)]
    texts.insert(int(rng.integers(len(texts))), arena.good.completion_texts[row])
    return " ".join(texts)


SPOILED: Mapping[str, tuple[Spoil, str]] = {
    "random": (random_words, "random words"),
    "shuffled": (shuffled_words, "their own words shuffled"),
    "empty": (empty, "the empty text"),
    "repeated": (one_sentence, "one sentence repeated"),
    "copied": (copied_prompt, "a copy of the prompt"),
}
"""What no good text should lose to, by name: how it is made, and what it is called in a sentence."""


def spoil(how: Spoil, arena: Arena, seed: int, rows: Sequence[int] | None = None) -> list[str]:
    """Every good text, or those at `rows`, spoiled in one way."""
    chosen = range(len(arena.good)) if rows is None else rows
    return [how(np.random.default_rng([seed, row]), arena, row) for row in chosen]


def _own(arena: Arena, row: int) -> list[str]:
    return pieces(arena.good.completion_texts[row])


def _other(rng: np.random.Generator, arena: Arena, row: int) -> int:
    """A row with another prompt, or with another text where all prompts are one; itself if there is none."""
    prompts, texts = arena.good.prompt_texts, arena.good.completion_texts
    for i in rng.permutation(len(texts)).tolist():
        if prompts[i] != prompts[row] and texts[i] != texts[row]:
            return int(i)
    return row


def _pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))] if options else ""
