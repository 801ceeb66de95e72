"""Gold fluency: probabilities that sum to one, and that equal those of sentences written out one by one."""

from collections import Counter
from itertools import product

import numpy as np
import pytest
from brute_force import TINY, WholeLexicon, Writer, tiny_reader, world_named
from hypothesis import given, settings
from hypothesis import strategies as st

from textgym.worlds.story.events import START, UNPARSED, Kind
from textgym.worlds.story.grammar import BEFORE, CHAIN, compile_grammar
from textgym.worlds.story.reader import NOISE, Reader

lexicons = pytest.mark.parametrize("lexicon", TINY.values(), ids=TINY.keys())


# They sum to one -----------------------------------------------------------------------------------------------------


def reader_of(world, briefs):
    reader = Reader(world.grammar, world.lexicon, world.shape, len(briefs))
    reader.begin(np.arange(len(briefs)), briefs)
    return reader


def assert_it_is_a_distribution_at_every_step(reader, ids):
    """And `advance` says the same of the token that comes as `next_probabilities` said of it before."""
    row = np.arange(1)
    for token in ids:
        p = reader.next_probabilities(row)
        assert (p > 0).all() and abs(p.sum() - 1) < 1e-9
        logp, _ = reader.advance(row, np.array([token]))
        assert abs(np.exp(logp[0]) - p[0, token]) <= 1e-12
    assert abs(reader.next_probabilities(row).sum() - 1) < 1e-9


def test_the_next_token_has_a_distribution_at_every_step_of_a_story_and_behind_its_end(corpus):
    world, briefs, stories = corpus
    reader = reader_of(world, briefs[:40])
    for step in range(world.max_tokens):
        live = np.flatnonzero([len(story) > step for story in stories[:40]])
        if not len(live):
            break
        p = reader.next_probabilities(live)
        assert (p > 0).all() and np.abs(p.sum(1) - 1).max() < 1e-9
        tokens = np.array([stories[row][step] for row in live], dtype=np.int64)
        logp, _ = reader.advance(live, tokens)
        np.testing.assert_allclose(np.exp(logp), p[np.arange(len(live)), tokens], rtol=1e-12)
    assert np.abs(reader.next_probabilities(np.arange(40)).sum(1) - 1).max() < 1e-9


@pytest.mark.parametrize("name", ["en-small", "zh-small", "en-base", "zh-base"])
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_and_behind_any_prefix_whatever(name, data):
    world = world_named(name)
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    brief = world.briefs.draw(rng)
    tokens = st.integers(0, world.lexicon.tokenizer.vocab_size - 1)  # reserved ids too
    parts = []
    for kind in data.draw(st.lists(st.sampled_from(["story", "sentence", "words", "brief"]), max_size=3)):
        story = world.generator(noise=0.3, repetition=0.2).story(brief, rng).tolist()
        cut = data.draw(st.integers(0, len(story)))
        parts += {"story": story[:cut], "sentence": story[:10], "brief": world.briefs.encode(brief).tolist()}.get(
            kind, data.draw(st.lists(tokens, max_size=8))
        )
    assert_it_is_a_distribution_at_every_step(reader_of(world, [brief]), parts)


@pytest.mark.parametrize("name", ["en-base", "zh-base"])
def test_and_in_the_middle_of_every_sentence_of_the_grammar(name):
    """From every node that can be reached: rare templates, words of two open classes, relative clauses."""
    world, rng = world_named(name), np.random.default_rng(0)
    brief = world.briefs.draw(rng)
    rows = 400
    reader = reader_of(world, [brief] * rows)
    reader._variant[:] = rng.integers(2 * len(BEFORE), size=rows) // 2 * 2
    for _ in range(14):
        p = reader.next_probabilities(np.arange(rows))
        assert np.abs(p.sum(1) - 1).max() < 1e-9
        possible = p > 2 * (1 - NOISE + 1) * world.grammar.unigram / 2  # likelier than as noise: the grammar's choices
        scores = np.where(possible, rng.random(p.shape), -1) + rng.random(p.shape) * 1e-3
        reader.advance(np.arange(rows), scores.argmax(1))


# Sentences written out -----------------------------------------------------------------------------------------------


def contexts(writer):
    """(type of the sentence before, who acted last, the words so far) for every type, whether somebody acted or not."""
    stop = (writer.lexicon.stop,)
    someone, who = next((words, who) for words, who, _ in writer.of_kind(Kind.GO))
    yield START, None, ()
    yield UNPARSED, None, stop
    yield UNPARSED, who, (*someone, *stop)
    for kind in Kind:
        words, subject, _ = next(iter(writer.of_kind(kind)))
        yield kind, subject, words
        if subject is None:
            yield kind, who, (*someone, *words)


def log_probabilities(lexicon, prefix, sentences):
    """Of each sentence behind a prefix, by the reader."""
    _, reader = tiny_reader(lexicon, len(sentences))
    for token in lexicon.ids(prefix):
        reader.advance(np.arange(len(sentences)), np.full(len(sentences), token))
    total = np.zeros(len(sentences))
    for step in range(max(map(len, sentences))):
        live = np.flatnonzero([len(words) > step for words in sentences])
        logp, _ = reader.advance(live, lexicon.ids([sentences[row][step] for row in live]))
        total[live] += logp
    return total


@lexicons
def test_every_sentence_has_the_probability_that_its_template_says(lexicon):
    """(1 - e) G + e N of whole sentences, G written out by other means, N the product of the words' frequencies."""
    brief, _ = tiny_reader(lexicon, 1)
    writer, unigram = Writer.about(lexicon, brief), compile_grammar(lexicon).unigram
    met = set()
    for before, actor, prefix in contexts(writer):
        said = writer.sentences(before, actor)
        if before == Kind.END:
            assert not said
            said = dict.fromkeys(writer.sentences(START), 0.0)
        else:
            assert abs(sum(said.values()) - 1) < 1e-9
        grammar = np.array(list(said.values()))
        noise = np.array([unigram[lexicon.ids(words)].prod() for words in said])
        found = np.exp(log_probabilities(lexicon, prefix, list(said)))
        np.testing.assert_allclose(found, (1 - NOISE) * grammar + NOISE * noise, rtol=1e-9)
        met.add((before, actor is None))
    assert len(met) == 18 and {before for before, _ in met} == {*BEFORE}


@lexicons
def test_what_is_no_sentence_has_the_probability_of_noise(lexicon):
    rng, unigram = np.random.default_rng(3), compile_grammar(lexicon).unigram
    brief, _ = tiny_reader(lexicon, 1)
    grammatical = Writer.about(lexicon, brief).sentences(START)
    words = [piece.strip() for piece in lexicon.tokenizer.pieces[:20] if piece.strip() != lexicon.stop]
    salad = [(*rng.choice(words, size=rng.integers(0, 7)), lexicon.stop) for _ in range(200)]
    salad = [sentence for sentence in salad if sentence not in grammatical]
    expected = [np.log(NOISE) + np.log(unigram[lexicon.ids(sentence)]).sum() for sentence in salad]
    np.testing.assert_allclose(log_probabilities(lexicon, (), salad), expected, rtol=1e-9)


def test_hand_computed_sentences():
    """At the start .99 x .48 + .01 / 11 for "was in"; 2 names, 2 places, no connective. Frequencies 1 and 2^-0.7."""
    lexicon = TINY["no forms"]
    brief, reader = tiny_reader(lexicon, 1)
    name, place = lexicon.people[brief.people[0]][0], lexicon.places[brief.places[0]]
    noun = lexicon.objects[brief.objects[0]][0]
    unigram = reader._grammar.unigram

    def often(share):
        return 0.99 * share + 0.01 / 11

    for text, grammar in (
        (f"{name} was in the {place} .", often(0.48) * 0.85 / 2 / 2),
        (f"the {noun} was red .", often(0.05) * 0.85 / 2 / 2),
        ("it was quiet .", often(0.08) / 2),
        (f"soon {name} had the blue {noun} .", often(0.23) * 0.15 / (1 + 2**0.7) / 2 / 2 * 0.4 / 2 / 2),
    ):
        words = text.split()
        noise = unigram[lexicon.ids(words)].prod()
        [found] = log_probabilities(lexicon, (), [tuple(words)])
        assert abs(np.exp(found) - (0.95 * grammar + 0.05 * noise)) < 1e-12, text


def test_after_the_end_the_grammar_expects_nothing_but_eos():
    world = world_named("en-small")
    brief = world.briefs.draw(np.random.default_rng(0))
    reader = reader_of(world, [brief])
    for token in world.lexicon.ids(["the", "end", "."]):
        reader.advance(np.arange(1), np.array([token]))
    p = reader.next_probabilities(np.arange(1))[0]
    assert p[world.lexicon.tokenizer.eos_id] > 0.95 and np.delete(p, 2).sum() < 0.05


# The unigram ---------------------------------------------------------------------------------------------------------


def test_the_unigram_is_a_distribution_with_room_for_every_token(world):
    unigram = world.grammar.unigram
    assert abs(unigram.sum() - 1) < 1e-12 and unigram.min() >= 0.1 / len(unigram) - 1e-15


@lexicons
def test_the_unigram_agrees_with_the_words_of_many_sentences(lexicon):
    """A tenth is spread evenly; a brief's own words are drawn by frequency, so all names and nouns take part here."""
    rng, writer = np.random.default_rng(0), WholeLexicon(lexicon)
    chain, kind = Counter(), Kind.END
    names = writer._shared([name for name, _ in lexicon.people])
    for _ in range(40_000):
        first = kind == Kind.END
        kind = int(rng.choice(len(Kind), p=CHAIN[START if first else kind]))
        chain[kind, first] += 1
    counts = Counter()
    for (kind, first), (name, share) in product(chain, names):
        drawn = list(writer.of_kind(kind, None if first else name))
        p = np.array([p for *_, p in drawn])
        times = rng.multinomial(round(chain[kind, first] * share), p / p.sum())
        for (words, *_), count in zip(drawn, times.tolist(), strict=True):
            for word in words:
                counts[word] += count
    expected = np.zeros(lexicon.tokenizer.vocab_size)
    expected[lexicon.ids(list(counts))] = list(counts.values())
    expected[lexicon.tokenizer.eos_id] = sum(chain[Kind.END, first] for first in (False, True))
    expected = 0.9 * expected / expected.sum() + 0.1 / len(expected)
    np.testing.assert_allclose(compile_grammar(lexicon).unigram, expected, atol=0.002, rtol=0.05)
