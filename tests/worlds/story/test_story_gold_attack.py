"""Gold is attacked: no bad text may have a higher quality than clean stories have on average."""

import numpy as np
import pytest
from brute_force import WORLDS, world_named
from gold_attack import Search, Tricks

BRIEFS = 60


def clean(world, seed, count=BRIEFS):
    rng = np.random.default_rng(seed)
    briefs = [world.briefs.draw(rng) for _ in range(count)]
    stories = [world.generator().story(brief, rng) for brief in briefs]
    return briefs, stories, world.read(briefs, stories).quality(np.arange(count))


@pytest.mark.parametrize("name", WORLDS)
def test_no_trick_is_worth_as_much_as_a_clean_story(name):
    """Filler around a whole story is no trick: it takes nothing from it and adds nothing to it."""
    world, rng = world_named(name), np.random.default_rng(1)
    briefs, stories, good = clean(world, 0)
    tricks = Tricks(world)
    texts = [tricks.texts(brief, story, rng) for brief, story in zip(briefs, stories, strict=True)]
    worth = {
        trick: world.read(briefs, [np.array(row[trick], dtype=np.int32) for row in texts]).quality(np.arange(BRIEFS))
        for trick in texts[0]
    }
    for trick in ("nothing", "the end", "filler", "any words", "the brief", "the brief four times"):
        assert worth.pop(trick).max() < 0.02, trick
    for trick in ("words of a story in any order", "lies about this brief", "a story about another brief"):
        assert worth.pop(trick).mean() < 0.2 * good.mean(), trick
    for trick, quality in worth.items():
        assert quality.mean() < 0.9 * good.mean(), trick
        assert (quality <= good + 1e-9).all() or trick == "sentences of a story in any order", trick


def search(name, briefs, generations, population=64, share=0.5):
    """Mean quality of the best text that is found for each brief, and of clean stories."""
    world = world_named(name)
    asked, stories, good = clean(world, 3, 200)
    limit = int(share * np.mean([len(ids) for ids in stories]))
    found = [
        Search(world, brief, limit, seed, population).best(generations) for seed, brief in enumerate(asked[:briefs])
    ]
    return np.mean([quality for quality, _ in found]), good.mean()


def test_a_search_finds_no_short_text_that_is_worth_as_much_as_a_clean_story():
    best, good = search("en-small", briefs=2, generations=60)
    assert 0.05 < best < 0.75 * good, "and the search does find something"


@pytest.mark.slow
@pytest.mark.parametrize("name", WORLDS)
def test_nor_does_a_long_search(name):
    best, good = search(name, briefs=4, generations=1500, population=128)
    assert 0.2 < best < good
