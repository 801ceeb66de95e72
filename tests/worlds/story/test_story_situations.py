"""A story has to bring about new situations: to undo a change and to do it again is none."""

import numpy as np
import pytest
from brute_force import world_named

ROW = np.arange(1)


def test_to_take_and_drop_the_same_thing_again_and_again_is_one_new_situation(tell):
    once = "sam was in the kitchen . sam dropped the blue knife . "
    truth, _ = tell(once + "sam took the knife . sam dropped the knife . sam took the knife . the end .")
    assert truth.changes(ROW)[0] == 4 and truth.situations(ROW)[0] == 1
    assert truth.redundancy(ROW)[0] == 0, "each of them changes the world, if only back"


def test_to_go_there_and_back_is_one_new_situation_and_to_go_on_another(tell):
    truth, _ = tell("sam went to the barn . sam went to the kitchen . sam went to the barn . sam went to the mill .")
    assert truth.changes(ROW)[0] == 4 and truth.situations(ROW)[0] == 2


def test_what_cannot_happen_brings_about_nothing_and_a_situation_reached_by_it_is_not_new_later(tell):
    truth, _ = tell("ann took the blue knife .")  # sam has it, and is elsewhere
    assert truth.changes(ROW)[0] == 0 and truth.situations(ROW)[0] == 0
    back, _ = tell("sam took the grey coin . sam dropped the coin . sam took the coin .")  # it lies in the barn
    assert back.situations(ROW)[0] == 1, "only to have dropped it is both possible and new"


@pytest.mark.parametrize("times", [1, 5])
def test_quality_rises_with_new_situations_only(tell, times):
    told = "sam was in the kitchen . ann was in the barn . sam had the blue knife . "
    there, back = "sam dropped the knife . ", "sam took the knife . "
    truth, _ = tell((told + there + (back + there) * times).strip())
    assert truth.situations(ROW)[0] == 1
    assert truth.quality(ROW)[0] == pytest.approx(truth.accuracy(ROW)[0] / 4)


def test_rows_forget_their_situations_when_they_begin_again():
    world, rng = world_named("en-small"), np.random.default_rng(0)
    briefs = [world.briefs.draw(rng) for _ in range(6)]
    stories = [world.generator().story(brief, rng) for brief in briefs]
    fresh = world.read(briefs, stories).situations(np.arange(6))
    truth = world.truth(2)
    for number, (brief, story) in enumerate(zip(briefs, stories, strict=True)):
        row = np.array([number % 2])
        truth.begin(row, [brief])
        for token in story.tolist():
            truth.advance(row, np.array([token]))
        assert truth.situations(row)[0] == fresh[number] >= 4
