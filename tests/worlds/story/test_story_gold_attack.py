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
    """The truth about the best text that is found for each brief, and the mean quality of clean stories."""
    world = world_named(name)
    asked, stories, good = clean(world, 3, 200)
    limit = int(share * np.mean([len(ids) for ids in stories]))
    found = [Search(world, brief, limit, n, population).best(generations)[1] for n, brief in enumerate(asked[:briefs])]
    return world.read(asked[:briefs], [np.array(ids, dtype=np.int32) for ids in found]), good.mean()


def test_a_search_finds_no_short_text_that_is_worth_as_much_as_a_clean_story():
    truth, good = search("en-small", briefs=2, generations=60)
    assert 0.05 < truth.quality(np.arange(2)).mean() < 0.75 * good, "and the search does find something"


@pytest.mark.slow
@pytest.mark.parametrize("name", WORLDS)
def test_nor_does_a_longer_search(name):
    truth, good = search(name, briefs=2, generations=400, population=96, share=0.4)
    assert 0.2 < truth.quality(np.arange(2)).mean() < good


@pytest.mark.slow
@pytest.mark.parametrize("name", WORLDS)
def test_what_is_worth_more_than_clean_stories_on_average_is_a_story_without_a_fault(name):
    """At full length a search finds those that tell more than the average: true, consistent, nothing twice."""
    truth, good = search(name, briefs=2, generations=300, population=96, share=1.0)
    rows = np.arange(2)
    assert truth.quality(rows).mean() > good, "it is allowed to find the best stories there are"
    for row in rows[truth.quality(rows) > good]:
        for axis in (truth.unparsed, truth.contradictions, truth.unfaithfulness, truth.redundancy):
            assert axis(rows)[row] == 0
        assert truth.situations(rows)[row] >= 4
