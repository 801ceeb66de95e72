"""A clean story beside the same one with a planted contradiction: what `explain` is shown on."""

from dataclasses import dataclass

import numpy as np

from textgym.types import TokenIds
from textgym.worlds.story.brief import Brief
from textgym.worlds.story.world import StoryWorld


@dataclass(frozen=True)
class Sample:
    """Two stories about one brief.

    Attributes:
        brief: what both are about.
        clean: nothing in it is false.
        planted: the same but for one word; a sentence of it contradicts the story.
    """

    brief: Brief
    clean: TokenIds
    planted: TokenIds


def draw_sample(world: StoryWorld, rng: np.random.Generator, brief: Brief | None = None) -> Sample:
    """Draws a story and spoils one word of it.

    Args:
        world: the story world.
        rng: decides on everything.
        brief: what the story is about; drawn if not given.
    """
    known = world.briefs.draw(rng) if brief is None else brief
    while True:
        clean = world.generator().story(known, rng)
        spoilt = _spoilt(world, known, clean)
        rates = world.read([known] * len(spoilt), spoilt).contradictions(np.arange(len(spoilt)))
        if (rates > 0).any():
            fewest = np.flatnonzero(rates == rates[rates > 0].min())
            return Sample(known, clean, spoilt[int(rng.choice(fewest))])


def _spoilt(world: StoryWorld, brief: Brief, story: TokenIds) -> list[TokenIds]:
    """Every way to put another place, object or colour in the place of one, that leaves all sentences sentences."""
    lexicon = world.lexicon
    roles = (
        lexicon.ids([lexicon.places[i] for i in brief.places.tolist()]),
        lexicon.ids([lexicon.objects[i][0] for i in brief.objects.tolist()]),
        lexicon.ids(lexicon.colours),
    )
    stories = []
    for at, token in enumerate(story.tolist()):
        for other in (int(i) for role in roles if token in role for i in role if i != token):
            stories.append(story.copy())
            stories[-1][at] = other
    truth = world.read([brief] * len(stories), stories)
    parsed = truth.unparsed(np.arange(len(stories))) == 0
    return [one for one, whole in zip(stories, parsed.tolist(), strict=True) if whole]
