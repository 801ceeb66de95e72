"""Contradictions made by hand: each kind is found in the sentence that makes it; a falsehood is not always one."""

import numpy as np
import pytest
from brute_force import BRIEF, world_named

# sam kitchen , ann barn , blue knife sam , red cup mill , grey coin barn
BY_KIND = {
    "a person is elsewhere": "sam was in the kitchen . ann was in the barn . sam was in the mill .",
    "a person has gone elsewhere": "sam was in the kitchen . sam went to the mill . sam was in the kitchen .",
    "another colour": "the knife was blue . sam was in the kitchen . the knife was red .",
    "another colour in passing": "sam had the blue knife . he was in the kitchen . he dropped the green knife .",
    "an object is elsewhere": "the cup lay in the mill . the coin lay in the barn . the cup lay in the barn .",
    "an object lies and is held": "the cup lay in the mill . sam had the cup .",
    "an object is held by another": "sam had the knife . ann was in the barn . ann had the knife .",
    "an object was given away": "sam met ann . sam gave the knife to ann . sam had the knife .",
    "going where one is": "sam was in the kitchen . sam went to the kitchen .",
    "going where one has just gone": "sam was in the kitchen . sam went to the barn . he walked to the barn .",
    "taking what is not there": "sam was in the kitchen . the cup lay in the mill . sam took the cup .",
    "taking what is held": "ann was in the barn . sam had the knife . ann picked the knife up .",
    "taking what one holds": "sam had the knife . he took the knife .",
    "dropping what one has not": "the cup lay in the mill . sam was in the kitchen . sam dropped the cup .",
    "dropping what one has dropped": "sam was in the kitchen . sam dropped the knife . he put the knife down .",
    "giving away what one has not": "sam had the knife . ann gave the knife to sam .",
    "giving to somebody elsewhere": "sam was in the kitchen . ann was in the barn . sam gave the knife to ann .",
    "meeting somebody elsewhere": "sam was in the kitchen . ann was in the barn . sam met ann .",
    "what follows from a meeting": "sam met ann . sam was in the kitchen . ann was in the barn .",
    "what follows from two takings": "sam took the cup . the coin lay in the barn . sam took the coin . he dropped the "
    "coin . he dropped the cup . the cup lay in the mill .",
    "what was carried along": "sam was in the kitchen . sam had the knife . he went to the barn . he dropped the "
    "knife . the knife lay in the kitchen .",
    "somebody else lies by the way": "sam was in the kitchen . sam gave the knife to ann . ann was in the mill .",
    # in Chinese
    "人在别处": "小明在厨房里。小红在谷仓里。小明在磨坊里。",
    "颜色不同": "小刀是蓝色的。小明在厨房里。他有红色的小刀。",
    "东西在别处": "杯子放在磨坊里。铜钱放在谷仓里。杯子放在谷仓里。",
    "东西在别人手里": "小明有小刀。小红在谷仓里。小红有小刀。",
    "去了已在的地方": "小明在厨房里。小明去了厨房。",
    "拿起不在这里的东西": "小明在厨房里。杯子放在磨坊里。小明拿起了杯子。",
    "放下没有的东西": "杯子放在磨坊里。小明丢下了杯子。",
    "给了不在一起的人": "小明在厨房里。小红在谷仓里。小明把小刀给了小红。",
    "遇见不在一起的人": "小明在厨房里。小红在谷仓里。小明遇见了小红。",
}


def flags(verdicts, name):
    return [bool(getattr(judged.whole, name)[0]) for judged in verdicts]


@pytest.mark.parametrize("text", BY_KIND.values(), ids=BY_KIND.keys())
def test_it_is_found_in_the_last_sentence_and_not_before(text, tell):
    truth, verdicts = tell(text)
    assert flags(verdicts, "contradicts") == [False] * (len(verdicts) - 1) + [True]
    assert truth.contradictions(np.arange(1))[0] == 1 / len(verdicts) and truth.unparsed(np.arange(1))[0] == 0


def test_a_false_story_may_be_consistent(tell):
    """Every sentence is false under the brief, and none contradicts another."""
    truth, verdicts = tell(
        "sam was in the attic . ann was in the mill . the knife was red . the knife lay in the attic . he took the "
        "knife . ann had the cup . the coin lay in the attic ."
    )
    assert not any(flags(verdicts, "contradicts"))
    assert flags(verdicts, "unfaithful") == [True] * 4 + [False] + [True] * 2, "in truth sam had the knife ... "
    assert truth.accuracy(np.arange(1))[0] < 0 and truth.quality(np.arange(1))[0] == 0


def test_the_truth_contradicts_a_lie_without_being_one(tell):
    _, verdicts = tell("sam was in the attic . sam was in the kitchen . sam was in the kitchen .")
    assert flags(verdicts, "contradicts") == [False, True, False]
    assert flags(verdicts, "unfaithful") == [True, False, False]


def test_a_lie_is_unfaithful_at_once_and_contradictory_only_where_the_reader_can_know(tell):
    _, verdicts = tell("ann had the knife . ann was in the barn . sam had the knife .")
    assert flags(verdicts, "unfaithful") == [True, False, False]
    assert flags(verdicts, "contradicts") == [False, False, True]


def test_a_story_that_keeps_to_what_is_known_is_true_and_new_in_every_sentence(tell):
    truth, verdicts = tell(
        "sam was in the kitchen . he had the blue knife . ann was in the barn . then she took the grey coin . "
        "sam walked to the barn . he gave the knife to ann . sam met ann . the end ."
    )
    row = np.arange(1)
    assert not any(flags(verdicts, "contradicts")) and not any(flags(verdicts, "unfaithful"))
    assert flags(verdicts, "changes") == [False, False, False, True, True, True, False, False]
    assert flags(verdicts, "informs") == [True, True, True, True, False, False, False, False]
    assert truth.changes(row)[0] == 3 and truth.redundancy(row)[0] == 1 / 7  # that they met was known
    # both places, the knife, its colour, the coin, its colour: six facts of eight
    assert truth.accuracy(row)[0] == pytest.approx(6 / 8) and truth.quality(row)[0] == pytest.approx(
        6 / 8 * 6 / 7 * 3 / 4
    )


def test_what_cannot_happen_takes_effect_but_is_no_change_of_the_world(tell):
    """sam takes a cup that is elsewhere: the story goes on as if he had it, which the reader is told from then on."""
    truth, verdicts = tell(
        "sam was in the kitchen . the cup lay in the mill . sam took the cup . sam dropped the cup ."
    )
    assert flags(verdicts, "contradicts") == flags(verdicts, "unfaithful") == [False, False, True, False]
    assert flags(verdicts, "changes") == [False, False, False, True] and truth.changes(np.arange(1))[0] == 1


def test_a_relative_clause_and_a_colour_are_claims_of_their_own():
    world = world_named("en-base")
    tokenizer, row = world.lexicon.tokenizer, np.arange(1)
    brief = BRIEF.replace("ann barn ,", "ann barn , eve mill ,")
    story = " ann , who was in the mill , had the blue knife ."
    truth = world.read([world.briefs.decode(tokenizer.encode(brief))], [tokenizer.encode(story)])
    assert truth.unfaithfulness(row)[0] == 1 and truth.contradictions(row)[0] == 0
    story += " sam , who had the cup , was in the kitchen . ann , who was in the barn , met eve ."
    truth = world.read([world.briefs.decode(tokenizer.encode(brief))], [tokenizer.encode(story)])
    assert truth.contradictions(row)[0] == pytest.approx(1 / 3)
