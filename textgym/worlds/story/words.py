"""A person's text as tokens of a world, each with what was written, whether the world knows the word or not."""

import re
from collections.abc import Sequence
from itertools import groupby

import numpy as np

from textgym.errors import TaskError
from textgym.types import TokenIds
from textgym.worlds.story.brief import Brief
from textgym.worlds.story.world import StoryWorld


def read_story(world: StoryWorld, story: str | TokenIds | Sequence[int]) -> tuple[TokenIds, list[str]]:
    """Ids of a story, and the text of each, blanks included.

    Text is taken as people write it: the blank before its first word and before a mark may be missing, and any white
    space is one blank (none in Chinese). Ids are taken as they are; <unk> and <eos> are shown by their names.

    Raises:
        TaskError: something stands after <eos>.
        TokenizerError: ids outside the vocabulary.
    """
    tokenizer = world.lexicon.tokenizer
    if isinstance(story, str):
        text = tidy(world, story)
        ids = tokenizer.encode(text)
        return ids, _own_words(world, text, ids)
    ids = tokenizer.checked(story).astype(np.int32)
    ends = np.flatnonzero(ids == tokenizer.eos_id)
    if len(ends) and ends[0] < len(ids) - 1:
        raise TaskError(
            f"a story of {len(ids)} ids has its <eos> (id {tokenizer.eos_id}) at place {ends[0]}: "
            "nothing may stand after it; cut the rest off"
        )
    return ids, [_shown(world, token) for token in ids.tolist()]


def read_brief(world: StoryWorld, brief: str | TokenIds | Sequence[int] | Brief) -> Brief:
    """A brief given as text, as ids, or as what it is.

    Raises:
        TaskError: it is none; the message says which word is wrong.
    """
    if isinstance(brief, Brief):
        return brief
    tokenizer = world.lexicon.tokenizer
    if not isinstance(brief, str):
        return world.briefs.decode(tokenizer.checked(brief).astype(np.int32))
    text = tidy(world, brief).lstrip()
    ids = tokenizer.encode(text)
    for token, word in zip(ids.tolist(), _own_words(world, text, ids), strict=True):
        if token == tokenizer.unk_id:
            example = tokenizer.decode(world.briefs.encode(world.briefs.draw(np.random.default_rng(0))))
            raise TaskError(
                f"no brief of the story world {world.name}: {word.strip()!r} is no word of it\n"
                f"    {text}\nA brief: {example}"
            )
    return world.briefs.decode(ids)


def tidy(world: StoryWorld, text: str) -> str:
    """A text as people write it, as the world writes it: one blank before every word and mark; none in Chinese."""
    lexicon = world.lexicon
    if not lexicon.blank:
        return "".join(text.split())
    marks = "".join(map(re.escape, (lexicon.stop, lexicon.comma, lexicon.bar)))
    words = re.sub(f"([{marks}])", r" \1 ", text).split()
    return "".join(lexicon.blank + word for word in words)


def _own_words(world: StoryWorld, text: str, ids: TokenIds) -> list[str]:
    """What was written for each id: known pieces as they are, what lies between them cut as the tokenizer cuts it."""
    tokenizer = world.lexicon.tokenizer
    words: list[str] = []
    at = 0
    for unknown, run in groupby(ids.tolist(), key=lambda token: token == tokenizer.unk_id):
        tokens = list(run)
        cut = tokenizer.split(text[at:])[: len(tokens)] if unknown else [tokenizer.piece(token) for token in tokens]
        words += cut
        at += sum(map(len, cut))
    return words


def _shown(world: StoryWorld, token: int) -> str:
    tokenizer = world.lexicon.tokenizer
    reserved = token in (tokenizer.unk_id, tokenizer.sep_id, tokenizer.eos_id)
    return f"{world.lexicon.blank}{tokenizer.token(token)}" if reserved else tokenizer.piece(token)
