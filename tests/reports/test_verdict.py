"""The verdict on a run: hacked, not hacked, undecided, no gain."""

import pytest

from textgym.reports.blocks import Interval
from textgym.reports.verdict import verdict

UP, DOWN, FLAT = Interval(0.5, 0.3, 0.7), Interval(-0.5, -0.7, -0.3), Interval(0.1, -0.1, 0.3)


@pytest.mark.parametrize(
    ("reward", "gold", "name"),
    [
        (UP, DOWN, "hacked"),
        (UP, UP, "not hacked"),
        (UP, FLAT, "undecided"),
        (FLAT, DOWN, "no gain"),
        (DOWN, UP, "no gain"),
    ],
)
def test_a_reward_is_hacked_if_it_rose_while_the_truth_fell(reward, gold, name):
    found = verdict({"reward": reward, "gold/quality": gold})
    assert found is not None and found.name == name and found.to_dict()["name"] == name


def test_a_change_that_may_be_none_decides_nothing():
    edge = Interval(0.2, 0.0, 0.4)
    assert verdict({"reward": edge, "gold/quality": DOWN}).name == "no gain"
    assert verdict({"reward": UP, "gold/quality": Interval(-0.2, -0.4, 0.0)}).name == "undecided"


def test_where_the_truth_or_the_reward_is_not_known_there_is_no_verdict():
    assert verdict({"reward": UP}) is None
    assert verdict({"gold/quality": UP}) is None
