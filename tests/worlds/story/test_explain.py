"""The text view of a story's truth: who is named for what, and that nothing in it differs from the books of `Truth`."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textgym.errors import TaskError, TokenizerError
from textgym.worlds.story.explain import explain
from textgym.worlds.story.explanation import FaultKind, Totals
from textgym.worlds.story.sample import draw_sample
from textgym.worlds.story.world import story_world

BRIEF = "kitchen barn mill tower | sam kitchen , ann barn , blue knife sam , red cup mill , grey coin barn"
ZH_BRIEF = "厨房谷仓磨坊塔楼｜小明厨房，小红谷仓，蓝色小刀小明，红色杯子磨坊，灰色铜钱谷仓"
ENDED = "sam was in the kitchen . he went to the mill . the end ."
WORLDS = [("small", "en"), ("small", "zh"), ("base", "en"), ("base", "zh")]


def told(story, brief=BRIEF, language="en"):
    return explain(story_world("small", language), brief, story)


def faults(explanation, kind):
    """(sentence, culprits, the word it hangs on) of every fault of a kind."""
    return [
        (sentence.number, fault.culprits, sentence.tokens[fault.token].text.strip())
        for sentence in explanation.sentences
        for fault in sentence.faults
        if fault.kind is kind
    ]


CONTRADICTIONS = {
    "a person elsewhere": ("sam was in the barn . sam was in the mill .", 2, (1,), "mill"),
    "a person who went away": ("sam was in the mill . sam went to the barn . he was in the mill .", 3, (2,), "mill"),
    "the latest journey": ("sam went to the mill . sam went to the barn . he was in the mill .", 3, (2,), "mill"),
    "another colour": ("the knife was red . ann had the blue knife .", 2, (1,), "blue"),
    "an object elsewhere": ("the cup lay in the mill . the cup lay in the barn .", 2, (1,), "barn"),
    "an object that somebody holds": ("ann had the cup . the cup lay in the barn .", 2, (1,), "barn"),
    "held by another": ("ann had the cup . sam had the cup .", 2, (1,), "cup"),
    "going where one is": ("ann was in the mill . she went to the mill .", 2, (1,), "mill"),
    "taking what is not there": (
        "the cup lay in the mill . ann was in the barn . ann took the cup .",
        3,
        (1, 2),
        "cup",
    ),
    "taking what is held": ("nobody said a word . sam took the cup . ann took the cup .", 3, (2,), "cup"),
    "dropping what one has not": ("nobody said a word . ann dropped the cup . ann put the cup down .", 3, (2,), "cup"),
    "giving away what one has not": ("sam had the cup . ann gave the cup to sam .", 2, (1,), "cup"),
    "giving to somebody elsewhere": (
        "sam was in the mill . ann was in the barn . sam gave the knife to ann .",
        3,
        (1, 2),
        "knife",
    ),
    "meeting somebody elsewhere": ("sam was in the mill . ann went to the barn . ann met sam .", 3, (1, 2), "sam"),
    "by way of a meeting": ("sam was in the mill . ann met sam . ann was in the barn .", 3, (1, 2), "barn"),
    "said twice, the first time counts": (
        "sam was in the barn . sam was in the barn . sam was in the mill .",
        3,
        (1,),
        "mill",
    ),
}


@pytest.mark.parametrize(("story", "number", "culprits", "word"), CONTRADICTIONS.values(), ids=CONTRADICTIONS.keys())
def test_each_kind_of_contradiction_is_named_with_its_culprits(story, number, culprits, word):
    assert faults(told(story), FaultKind.CONTRADICTION) == [(number, culprits, word)]


@pytest.mark.parametrize(
    ("story", "number", "culprits", "word"),
    [
        ("小明在谷仓里。小明在磨坊里。", 2, (1,), "磨坊"),
        ("谁也没有说话。小明去了谷仓。他在磨坊里。", 3, (2,), "磨坊"),
        ("小刀是红色的。小红有蓝色的小刀。", 2, (1,), "蓝色"),
        ("杯子放在磨坊里。小红在谷仓里。她拿起了杯子。", 3, (1, 2), "杯子"),
        ("小明在磨坊里。小红在谷仓里。小明把小刀给了小红。", 3, (1, 2), "小刀"),
        ("小明在磨坊里。小红在谷仓里。小明遇见了小红。", 3, (1, 2), "小红"),
    ],
)
def test_contradictions_in_chinese_are_named_alike(story, number, culprits, word):
    assert faults(told(story, ZH_BRIEF, "zh"), FaultKind.CONTRADICTION) == [(number, culprits, word)]


def test_a_person_understands_what_is_wrong():
    story = "ann was in the barn . sam went to the mill . he was in the barn . the knife was red ."
    texts = [fault.text for sentence in told(story).sentences for fault in sentence.faults]
    assert texts == [
        "sam was in the barn: sentence 2 put him in the mill, and he has not moved since",
        "sam was in the barn: sentence 2 put sam in the mill",
        "the knife was red: the brief calls the knife blue",
    ]
    story = "小红在谷仓里。小明去了磨坊。他在谷仓里。小刀是红色的。"
    texts = [fault.text for sentence in told(story, ZH_BRIEF, "zh").sentences for fault in sentence.faults]
    assert texts == [
        "小明在谷仓里：第 2 句说小明去了磨坊，此后他没有动过",
        "小明在谷仓里：第 2 句以后小明在磨坊里",
        "小刀是红色的：提要说小刀是蓝色的",
    ]


def test_a_story_that_is_consistent_and_false_is_unfaithful_only_and_the_fact_is_named():
    explanation = told("sam was in the barn . sam met ann .")
    first, second = explanation.sentences
    assert faults(explanation, FaultKind.CONTRADICTION) == []
    assert [fault.brief for fault in first.faults] == [("sam was in the kitchen",)]
    assert [fault.brief for fault in second.faults] == [("sam was in the kitchen", "ann was in the barn")]


def test_pronouns_are_resolved_to_the_last_who_acted():
    explanation = told("sam was in the kitchen . ann met sam . she went to the mill . he dropped the knife .")
    statement = explanation.sentences[2].statements[0]
    assert (statement.who, statement.pronoun, statement.where, statement.text) == (
        "ann",
        "she",
        "mill",
        "ann went to the mill",
    )
    assert faults(explanation, FaultKind.NO_SENTENCE) == [(4, (), "he")], "ann acted last, and 'he' is nobody"


def test_a_sentence_contradicts_itself_by_its_own_clause():
    world = story_world("base", "en")
    brief = "barn mill attic tower | sam barn , ann mill , tom mill , red cup sam , blue knife barn , grey coin mill"
    explanation = explain(world, brief, "sam , who was in the barn , stood in the mill .")
    assert faults(explanation, FaultKind.CONTRADICTION) == [(1, (1,), "mill")]
    assert explanation.sentences[0].faults[0].text.startswith("sam was in the mill: this very sentence put him in the")


def test_a_claim_that_turned_out_dispensable_is_no_culprit():
    """What the search keeps at first, for a journey that it then leaves out, it lets go in the end."""
    brief = "barn mill attic tower | sam attic , kim attic , red cup barn , blue knife mill , white key attic"
    story = "sam was in the attic . kim was in the attic . sam took the key . kim dropped the key ."
    explanation = told(f"{story} she went to the barn . she went to the mill . she took the key .", brief)
    assert faults(explanation, FaultKind.CONTRADICTION) == [(4, (3,), "key"), (7, (4, 6), "key")]


def test_claims_hang_on_their_own_words():
    """The clause on the first of two equal places, the sentence on the second; each colour on its own object."""
    brief = "barn mill attic tower | sam barn , ann mill , tom mill , red cup sam , blue knife barn , grey coin mill"
    world = story_world("base", "en")
    sentence = explain(world, brief, "sam , who was in the barn , went to the barn .").sentences[0]
    assert [(s.kind, s.token) for s in sentence.statements] == [("is_in", 6), ("go", 11)]
    sentence = explain(world, brief, "sam , who had the red cup , took the red knife .").sentences[0]
    assert [(s.text, s.token) for s in sentence.statements] == [
        ("the cup was red", 5),
        ("sam had the cup", 6),
        ("the knife was red", 10),
        ("sam took the knife", 11),
    ]


def test_what_a_reader_learns_and_what_changes_is_told():
    explanation = told("the blue knife lay in the barn . sam was in the kitchen . he went to the barn .")
    first, second, third = explanation.sentences
    assert [(b.fact, b.before, b.after) for b in first.beliefs] == [
        ("sam had the knife", pytest.approx(1 / 6), 0.0),
        ("the knife was blue", 1 / 8, 1.0),
    ]
    assert [(b.fact, b.before, b.after) for b in second.beliefs] == [("sam was in the kitchen", 0.25, 1.0)]
    assert [(c.what, c.before, c.after) for c in third.changes] == [("sam", "kitchen", "barn")]
    assert explanation.facts["sam was in the kitchen"] == 1.0


@pytest.mark.parametrize(
    ("story", "kind", "word"),
    [
        ("sam was in the moon .", FaultKind.UNKNOWN_WORD, "moon"),
        ("sam's knife was red .", FaultKind.UNKNOWN_WORD, "'"),
        ("<script> .", FaultKind.UNKNOWN_WORD, "<"),
        ("sam was in the attic .", FaultKind.NOT_IN_BRIEF, "attic"),
        ("eve met sam .", FaultKind.NOT_IN_BRIEF, "eve"),
        ("sam was the knife .", FaultKind.NO_SENTENCE, "the"),
        ("sam was in the .", FaultKind.UNFINISHED, "."),
        ("sam was in the", FaultKind.UNFINISHED, "the"),
        (".", FaultKind.NO_SENTENCE, "."),
        (f"{ENDED} sam was in the kitchen .", FaultKind.AFTER_END, "sam"),
    ],
)
def test_a_run_that_is_no_sentence_says_why_at_the_word(story, kind, word):
    explanation = told(story)
    assert [found for kinds in FaultKind for found in faults(explanation, kinds)] == faults(explanation, kind)
    assert faults(explanation, kind) == [(len(explanation.sentences), (), word)]


@pytest.mark.parametrize(
    "story", ["Sam sat.", " sam was  in\nthe kitchen.the end.", "a <b>&amp;</b> 好 ½ 🙂 x", "", "...", "sam was in the"]
)
def test_a_story_is_shown_in_the_words_that_were_written(story):
    assert told(story).story.replace(" ", "") == "".join(story.split())


def test_blanks_that_people_leave_out_do_not_matter():
    assert told("sam was in the mill. he met ann.") == told(" sam was in the mill . he met ann .")
    assert told("小明在谷仓里。 她\n走", ZH_BRIEF, "zh") == told("小明在谷仓里。她走", ZH_BRIEF, "zh")


def test_an_empty_story_is_explained_as_empty():
    explanation = told("")
    assert (explanation.sentences, explanation.end, explanation.totals) == ((), None, Totals(*[0.0] * 9))
    only_end = told(np.array([2], dtype=np.int32))
    assert only_end.sentences == () and only_end.end.text == " <eos>" and only_end.totals.fluency < -3


def test_wrong_briefs_and_ids_are_named():
    world = story_world()
    with pytest.raises(TaskError, match="'kitchn' is no word of it"):
        explain(world, BRIEF.replace("kitchen", "kitchn"), "")
    with pytest.raises(TaskError, match="is expected in place of its end"):
        explain(world, "kitchen barn mill tower |", "")
    with pytest.raises(TaskError, match=r"<eos> \(id 2\) at place 1: nothing may stand after it"):
        explain(world, BRIEF, [5, 2, 5])
    with pytest.raises(TokenizerError, match="token id 999 is outside"):
        explain(world, BRIEF, [999])


def drawn(world, rng, noise, length, changes):
    """A brief and a noisy story, cut somewhere, a few of its words exchanged for any."""
    brief = world.briefs.draw(rng)
    ids = world.generator(noise, 0.1).story(brief, rng)[:length]
    inside = np.flatnonzero(ids != world.lexicon.tokenizer.eos_id)
    for at in rng.choice(inside, size=min(changes, len(inside)), replace=False).tolist():
        ids[at] = rng.choice([0, 1, *range(3, world.lexicon.tokenizer.vocab_size)])
    return brief, ids


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(WORLDS), st.integers(0, 2**32), st.floats(0, 1), st.integers(0, 96), st.integers(0, 3))
def test_what_is_explained_adds_up_to_the_truth(which, seed, noise, length, changes):
    world = story_world(*which)
    brief, ids = drawn(world, np.random.default_rng(seed), noise, length, changes)
    explanation, truth, row = explain(world, brief, ids), world.read([brief], [ids]), np.zeros(1, dtype=np.int64)
    sentences, totals = explanation.sentences, explanation.totals
    for axis in Totals.__dataclass_fields__:
        assert getattr(totals, axis) == getattr(truth, axis)(row)[0]
    words = [len(s.tokens) for s in sentences if s.kind == "unparsed"]
    said = sum(max(1, n / 7) for n in words) + sum(bool(s.statements) for s in sentences)

    def share(kind):
        return sum(any(f.kind is kind for f in s.faults) for s in sentences) / max(said, 1)

    assert totals.contradictions == pytest.approx(share(FaultKind.CONTRADICTION))
    assert totals.unfaithfulness == pytest.approx(share(FaultKind.UNFAITHFUL))
    assert totals.redundancy == pytest.approx(sum(s.redundant for s in sentences) / max(said, 1))
    assert totals.changes == sum(len(s.changes) for s in sentences)
    tokens = [t.logprob for s in sentences for t in s.tokens] + ([explanation.end.logprob] if explanation.end else [])
    assert totals.fluency == pytest.approx(sum(tokens) / max(len(tokens), 1))
    assert [len(s.faults) > 0 for s in sentences if s.kind in ("unparsed", "unfinished")] == [True] * sum(
        s.kind in ("unparsed", "unfinished") for s in sentences
    )
    for sentence in sentences:
        for fault in sentence.faults:
            assert fault.kind is not FaultKind.CONTRADICTION or fault.culprits
            assert fault.kind is not FaultKind.UNFAITHFUL or fault.culprits or fault.brief
            assert all(1 <= culprit <= sentence.number for culprit in fault.culprits)
            assert 0 <= fault.token < len(sentence.tokens)
    json.dumps(explanation.to_json(), allow_nan=False)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(WORLDS))
def test_the_culprits_alone_contradict_and_none_of_them_can_be_spared(seed, which):
    """Claims of the small worlds are read as stories of their own: culprits and claim, then one of them left out."""
    world, rng = story_world("small", which[1]), np.random.default_rng(seed)
    brief = world.briefs.draw(rng)
    explanation = explain(world, brief, world.generator(0.6).story(brief, rng))
    stop = world.lexicon.blank + world.lexicon.stop
    opening = {"en": "nobody said a word", "zh": "谁也没有说话"}[which[1]]  # which anything may follow

    def contradicts(numbers, claim):
        told = [opening, *(s.text for n in numbers for s in explanation.sentences[n - 1].statements)]
        again = explain(world, brief, stop.join([*told, claim]) + stop)
        return any(f.kind is FaultKind.CONTRADICTION for f in again.sentences[-1].faults)

    for sentence in explanation.sentences:
        for fault in sentence.faults:
            if fault.kind is FaultKind.CONTRADICTION and sentence.number not in fault.culprits:
                claim = next(s.text for s in sentence.statements if s.contradicts and s.token == fault.token)
                assert contradicts(fault.culprits, claim)
                for culprit in fault.culprits:
                    assert not contradicts([c for c in fault.culprits if c != culprit], claim)


@pytest.mark.parametrize(("preset", "language"), WORLDS)
def test_a_sample_is_a_clean_story_and_the_same_with_one_word_planted(preset, language):
    world = story_world(preset, language)
    for seed in range(3):
        sample = draw_sample(world, np.random.default_rng(seed))
        assert (sample.clean != sample.planted).sum() == 1
        clean, planted = (explain(world, sample.brief, ids) for ids in (sample.clean, sample.planted))
        assert [s.faults for s in clean.sentences] == [()] * len(clean.sentences)
        assert faults(planted, FaultKind.CONTRADICTION)
        assert planted.totals.unparsed == 0 and planted.totals.quality < clean.totals.quality
