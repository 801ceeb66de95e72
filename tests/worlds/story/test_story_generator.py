"""Stories parse back to what they were meant to say, and clean ones say nothing false and nothing twice."""

from itertools import pairwise

import numpy as np
import pytest
from brute_force import WORLDS, world_named

from textgym.worlds.story.events import UNPARSED, Kind
from textgym.worlds.story.truth import ENOUGH_CHANGES

STORIES = 300


def read(world, briefs, stories):
    """The truth, and what each sentence of each row was read as."""
    truth, said = world.truth(len(stories)), [[] for _ in stories]
    truth.begin(np.arange(len(stories)), briefs)
    for step in range(max(map(len, stories))):
        live = np.flatnonzero([len(ids) > step for ids in stories])
        _, judged = truth.advance(live, np.array([stories[row][step] for row in live], dtype=np.int64))
        if judged is not None:
            ended = judged.sentences
            for row, kind, events in zip(ended.rows, ended.kinds, ended.events.tolist(), strict=True):
                said[row].append((int(kind), [tuple(event) for event in events if event[0] >= 0]))
    return truth, said


def assert_read_as_meant(world, count, seed, **noise):
    rng = np.random.default_rng(seed)
    briefs = [world.briefs.draw(rng) for _ in range(count)]
    generator = world.generator(**noise)
    written = [generator.story_and_events(brief, rng) for brief in briefs]
    truth, said = read(world, briefs, [ids for ids, _ in written])
    for (ids, meant), found in zip(written, said, strict=True):
        assert [events for _, events in found] == [[tuple(told) for told in sentence] for sentence in meant]
        assert found[-1] == (Kind.END, []) and UNPARSED not in dict(found)
        text = world.lexicon.tokenizer.decode(ids)
        assert world.lexicon.tokenizer.encode(text).tolist() == ids[:-1].tolist()
        assert len(ids) <= world.max_tokens and ids[-1] == world.lexicon.tokenizer.eos_id
    return truth, np.arange(count)


def assert_clean(truth, rows):
    for axis in (truth.unparsed, truth.contradictions, truth.unfaithfulness, truth.redundancy):
        assert (axis(rows) == 0).all()
    assert (truth.situations(rows) >= ENOUGH_CHANGES).all() and (truth.accuracy(rows) > 0).all()
    np.testing.assert_allclose(truth.quality(rows), truth.accuracy(rows))


def test_clean_stories_are_read_as_they_were_meant_and_have_no_fault(world):
    assert_clean(*assert_read_as_meant(world, STORIES, 0))


def test_noisy_stories_are_read_as_they_were_meant_too(world):
    assert_read_as_meant(world, STORIES, 1, noise=0.2, repetition=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_thousands_of_stories(world, seed):
    assert_clean(*assert_read_as_meant(world, 1000, seed))
    assert_read_as_meant(world, 1000, seed, noise=0.04, repetition=0.03)


def test_the_corpus_contradicts_itself_in_three_sentences_of_a_hundred():
    """WORLD.md: noise of 4% and 3% of copied sentences."""
    truth, rows = assert_read_as_meant(world_named("en-small"), 1500, 2, noise=0.04, repetition=0.03)
    assert 0.02 < truth.contradictions(rows).mean() < 0.04
    assert truth.contradictions(rows).mean() < truth.unfaithfulness(rows).mean() < 0.1
    assert 0.01 < truth.redundancy(rows).mean() < 0.1


def test_the_same_seed_writes_the_same_story(world):
    brief = world.briefs.draw(np.random.default_rng(0))
    first, again, other = (world.generator().story(brief, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.tolist() == again.tolist() != other.tolist()


def test_sentences_of_all_types_are_told_and_with_every_word(world):
    """But for words that no story says: the marks of a brief, and places as they open one."""
    rng, said, kinds = np.random.default_rng(3), set(), set()
    for _ in range(600):
        ids, meant = world.generator().story_and_events(world.briefs.draw(rng), rng)
        said.update(ids.tolist())
        kinds.update(told.kind for sentence in meant for told in sentence)
    lexicon = world.lexicon
    unsaid = {0, 1, lexicon.id_of(lexicon.bar), lexicon.id_of(lexicon.comma), *lexicon.opening_places.tolist()}
    assert kinds == {kind for kind in Kind if kind not in (Kind.FILLER, Kind.END)}
    assert said | unsaid == {*range(lexicon.tokenizer.vocab_size)}


@pytest.mark.parametrize("name", WORLDS)
def test_a_word_means_one_thing(name):
    lexicon = world_named(name).lexicon
    kinds = [
        [person for person, _ in lexicon.people],
        lexicon.places,
        [noun for noun, _ in lexicon.objects],
        lexicon.colours,
        lexicon.pronouns,
        lexicon.connectives,
        [*{form for forms in lexicon.forms.values() for form in forms}],
        [lexicon.stop],
        [lexicon.bar],
        [lexicon.comma],
        [*{word for words in lexicon.classes.values() for word in words}],
    ]
    words = [word for kind in kinds for word in kind]
    assert len(words) == len({*words})
    named = {word for kind in kinds[:6] for word in kind}
    assert named.isdisjoint(word for texts in lexicon.templates.values() for text in texts for word in text.split())


def test_more_frequent_words_come_first_where_the_lexicon_says_so():
    world, rng = world_named("en-base"), np.random.default_rng(0)
    met = np.zeros(len(world.lexicon.places))
    for _ in range(2000):
        met[world.briefs.draw(rng).places] += 1
    assert met[:6].min() > met[-20:].max() and all(a.mean() > b.mean() for a, b in pairwise(np.array_split(met, 3)))


def test_every_brief_has_a_man_and_a_woman_and_every_situation_is_as_likely():
    world, rng = world_named("en-small"), np.random.default_rng(0)
    briefs = [world.briefs.draw(rng) for _ in range(4000)]
    genders = [{world.lexicon.people[i][1] for i in brief.people} for brief in briefs]
    assert all(pair == {"m", "f"} for pair in genders)
    at, where = (np.bincount(np.concatenate([getattr(b, name) for b in briefs])) for name in ("at", "where"))
    assert len(at) == 4 and np.abs(at / at.sum() - 1 / 4).max() < 0.02
    assert len(where) == 6 and np.abs(where / where.sum() - 1 / 6).max() < 0.02
    assert min(np.bincount(np.concatenate([b.people for b in briefs]))) > 0
