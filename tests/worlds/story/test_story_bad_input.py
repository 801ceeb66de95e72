"""Briefs that are none are clear errors; every story whatever has a truth."""

from dataclasses import replace

import numpy as np
import pytest
from brute_force import BRIEF, BRIEF_ZH, PLAIN, world_named

from textgym.errors import TaskError, TokenizerError
from textgym.worlds.story.events import TYPES, Kind
from textgym.worlds.story.grammar import compile_grammar
from textgym.worlds.story.lexicon import WORDS_A_SENTENCE

WRONG = {
    "": "a place is expected and it is empty",
    BRIEF.replace(
        "sam kitchen", "sam tower"
    ): "'tower' is not among those that it names. Known: kitchen, barn, attic, mill",
    BRIEF.replace("knife sam", "knife tom"): "'tom' is not among those that it names. Known: sam, ann",
    BRIEF.replace("ann barn", "sam barn"): "it names a person twice, and so contradicts itself or says too little",
    BRIEF.replace("red cup", "red knife"): "it names an object twice",
    BRIEF.replace("barn mill", "barn barn"): "it names a place twice",
    BRIEF.replace("|", ","): "'|' is expected in place of ',', its token 5",
    BRIEF.replace("barn ,", "barn"): "',' is expected in place of 'blue', its token 11",
    BRIEF.replace(
        "sam kitchen", "bob kitchen"
    ): "a person is expected in place of a word that this world does not know",
    BRIEF.replace(
        "blue knife", "knife"
    ): "a colour is expected in place of 'knife', its token 12. Known: red, blue, green",
    BRIEF.replace("cup mill", "cup lamp"): "a place or a person is expected in place of 'lamp'",
    BRIEF.replace("mill attic", "mill"): "a place is expected in place of '|', its token 4",
    " ".join(BRIEF.split()[:8]): "a person is expected in place of its end",
    " ".join(BRIEF.split()[:-1]): "a place or a person is expected in place of its end",
    f"{BRIEF} .": "'.' stands behind its last fact",
    f"{BRIEF} , red key mill": "',' stands behind its last fact",
    BRIEF_ZH.replace("小红谷仓", "小明谷仓"): "it names a person twice",
}


@pytest.mark.parametrize("text", WRONG, ids=range(len(WRONG)))
def test_what_is_no_brief_says_why_and_shows_one(text):
    world = world_named("en-small" if text.isascii() else "zh-small")
    with pytest.raises(TaskError) as error:
        world.briefs.decode(world.lexicon.tokenizer.encode(text))
    first, shown, example = str(error.value).split("\n")
    assert first.startswith(f"no brief of the story world {world.name}: {WRONG[text]}")
    assert shown.split() == ["<unk>" if word == "bob" else word for word in text.split()]
    world.briefs.decode(world.lexicon.tokenizer.encode(example.removeprefix("A brief: ")))


def test_ids_outside_the_vocabulary_are_refused():
    world = world_named("en-small")
    brief = world.briefs.decode(world.lexicon.tokenizer.encode(BRIEF))
    for ids in ([5000], [-1]):
        with pytest.raises(TokenizerError, match="outside this vocabulary"):
            world.briefs.decode(np.array(ids, dtype=np.int32))
        with pytest.raises(TokenizerError, match="outside this vocabulary"):
            world.read([brief], [np.array(ids, dtype=np.int32)])


def test_a_brief_is_read_as_it_was_written(world):
    rng = np.random.default_rng(0)
    for _ in range(200):
        brief = world.briefs.draw(rng)
        ids = world.briefs.encode(brief)
        assert len(ids) == world.briefs.length
        for again in (
            world.briefs.decode(ids),
            world.briefs.decode(world.lexicon.tokenizer.encode(world.lexicon.tokenizer.decode(ids))),
        ):
            for name, value in vars(brief).items():
                np.testing.assert_array_equal(getattr(again, name), value, name)
            assert again.key() == brief.key()


def test_briefs_of_one_situation_have_one_key_and_others_have_another():
    world = world_named("en-small")
    key = {
        text: world.briefs.decode(world.lexicon.tokenizer.encode(text)).key()
        for text in (
            BRIEF,
            BRIEF.replace("kitchen barn mill attic", "attic mill kitchen barn"),
            BRIEF.replace("sam kitchen , ann barn", "ann barn , sam kitchen"),
            BRIEF.replace("blue knife sam , red cup mill", "red cup mill , blue knife sam"),
            BRIEF.replace("knife sam", "knife ann"),
            BRIEF.replace("blue", "red"),
            BRIEF.replace("mill attic", "mill tower"),
        )
    }
    values = [*key.values()]
    assert len({*values[:4]}) == 1 and len({*values}) == 4


# Stories -------------------------------------------------------------------------------------------------------------


def truth_of(world, ids):
    """All axes of one story."""
    english = BRIEF if world.shape.people == 2 else BRIEF.replace("ann barn ,", "ann barn , eve mill ,")
    if world.lexicon.blank:
        brief = world.briefs.decode(world.lexicon.tokenizer.encode(english))
    else:
        brief = world.briefs.draw(np.random.default_rng(0))
    truth, row = world.read([brief], [np.array(ids, dtype=np.int32)]), np.arange(1)
    axes = ("fluency", "unparsed", "contradictions", "unfaithfulness", "redundancy", "accuracy", "bits", "changes")
    found = {axis: float(getattr(truth, axis)(row)[0]) for axis in (*axes, "quality")}
    assert all(np.isfinite(value) for value in found.values())
    assert all(0 <= found[axis] <= 1 for axis in axes[1:5]) and -1 <= found["accuracy"] <= 1
    assert 0 <= found["quality"] <= 1 and found["fluency"] <= 0
    return found, truth.types(row)[0]


@pytest.mark.parametrize("ids", [[], [2], [2, 2, 2]], ids=["nothing", "EOS", "EOS three times"])
def test_an_empty_story_says_nothing(world, ids):
    found, types = truth_of(world, ids)
    assert not types.sum() and not any(value for axis, value in found.items() if axis != "fluency")


def test_only_full_stops_are_so_many_sentences_that_are_none(world):
    found, types = truth_of(world, [world.lexicon.id_of(world.lexicon.stop)] * 50)
    assert found["unparsed"] == 1 and types.tolist() == [0] * TYPES + [50] and found["quality"] == 0


def test_a_full_stop_that_never_comes_does_not_hide_what_is_no_sentence():
    world = world_named("en-small")
    words = world.lexicon.ids(["sam", "was", "in", "the", "kitchen", "sam", "was", "in", "the", "kitchen"])
    going, _ = truth_of(world, words[:5])
    assert going["unparsed"] == 0, "it may still become one"
    lost, types = truth_of(world, words[:6])
    assert lost["unparsed"] == 1 and not types.sum()
    stopped, types = truth_of(world, [*words[:6], 2])
    assert stopped["unparsed"] == 1 and types[TYPES] == 1


@pytest.mark.parametrize("name", ["en-small", "zh-base"])
def test_ten_thousand_tokens_have_a_truth(name):
    world, rng = world_named(name), np.random.default_rng(0)
    brief, size = world.briefs.draw(rng), world.lexicon.tokenizer.vocab_size
    stories = {
        "random": rng.integers(size, size=10_000),
        "one word": np.full(10_000, 5),
        "reserved": rng.integers(3, size=10_000),
        "the same sentences": np.tile(world.generator().story(brief, rng)[:-1], 200)[:10_000],
        "brief": np.tile(world.briefs.encode(brief), 600)[:10_000],
    }
    truth, rows = world.read([brief] * 5, [ids.astype(np.int32) for ids in stories.values()]), np.arange(5)
    for axis in (
        "fluency",
        "unparsed",
        "contradictions",
        "unfaithfulness",
        "redundancy",
        "accuracy",
        "bits",
        "quality",
    ):
        assert np.isfinite(getattr(truth, axis)(rows)).all(), axis
    assert truth.quality(rows).max() < 0.01
    assert dict(zip(stories, truth.unparsed(rows), strict=True))["one word"] == 1 and not truth.types(rows)[1].sum()


def test_reserved_ids_are_words_of_no_sentence():
    world = world_named("en-small")
    words = world.lexicon.ids(["sam", "was", "in", "the", "kitchen", "."]).tolist()
    for reserved in (0, 1):
        found, types = truth_of(world, [*words[:2], reserved, *words[2:]])
        assert found["unparsed"] == 1 and types[TYPES] == 1


def test_what_comes_after_the_end_is_no_sentence(world):
    rng = np.random.default_rng(4)
    brief = world.briefs.draw(rng)
    story, row = world.generator().story(brief, rng)[:-1], np.arange(1)
    once, twice = world.read([brief], [story]), world.read([brief], [np.concatenate([story, story])])
    for axis in ("accuracy", "changes", "bits"):
        assert getattr(once, axis)(row) == getattr(twice, axis)(row)
    assert twice.types(row)[0, Kind.END] == 1 and twice.types(row)[0, TYPES] == (story == story[-1]).sum()
    assert twice.unparsed(row)[0] >= 0.5 and twice.quality(row)[0] < 0.6 * once.quality(row)[0]


def test_a_long_run_that_is_no_sentence_counts_for_its_length():
    world = world_named("en-small")
    said = world.lexicon.ids(["sam", "met", "ann", "."]).tolist()
    brief = world.briefs.decode(world.lexicon.tokenizer.encode(BRIEF.replace("ann barn", "ann kitchen")))
    for junk in (1, WORDS_A_SENTENCE, 3 * WORDS_A_SENTENCE):
        truth = world.read([brief], [np.array([*said, *[said[0]] * (junk - 1), said[-1]], dtype=np.int32)])
        count = max(1, junk / WORDS_A_SENTENCE)
        assert truth.unparsed(np.arange(1))[0] == pytest.approx(count / (1 + count))


# Lexicons ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"places": ["barn", "cup"]}, "two meanings"),
        ({"colours": ["red", "went"]}, "two meanings"),
        ({"connectives": ["then", "sam"]}, "two meanings"),
        ({"templates": {Kind.GO: ["A went to the L", "A went to the L"]}}, "make the sentence"),
        ({"templates": {Kind.FILLER: ["it was cold", "it was <adj>"]}}, "may also stand there"),
    ],
)
def test_a_lexicon_in_which_a_word_is_two_things_is_refused(change, message):
    change = {name: {**PLAIN.templates, **value} if name == "templates" else value for name, value in change.items()}
    with pytest.raises(ValueError, match=message):
        compile_grammar(replace(PLAIN, **change))
