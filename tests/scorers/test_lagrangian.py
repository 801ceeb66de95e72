"""Constraints with a price: the node, its multiplier, and dual ascent where everything is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scorer_fakes import FakeContext

from textgym import scorers as s
from textgym.errors import ScorerError, SpecError
from textgym.scorers.constrained import load_multiplier_state, multiplier_state, multipliers
from textgym.scorers.delivery import Delivery
from textgym.scorers.reward import bind_reward

TEXTS = ["the cat", "the cat sat", "the cat sat on the mat"]


def bound(text):
    return bind_reward(text, FakeContext())


def scores(reward):
    return reward.score(FakeContext().batch(TEXTS, ended=False)).values


def test_a_term_is_minus_the_price_of_what_exceeds_the_target():
    reward = bound("lagrangian(length, target=3, start=0.5)")
    assert scores(reward).tolist() == [0.5, 0.0, -1.5]
    above = bound("lagrangian(length, target=3, keep='above', start=0.5)")
    assert scores(above).tolist() == [-0.5, 0.0, 1.5]


def test_the_price_is_nothing_until_it_moves_and_that_of_each_bound_reward_is_its_own():
    one, other = bound("distinct + lagrangian(length, 3)"), bound("distinct + lagrangian(length, 3)")
    assert scores(one).tolist() == scores(bound("distinct")).tolist()
    (price,) = multipliers(one.bound).values()
    price.ascend(8.0)
    assert price.value == pytest.approx(0.1 * (8 - 3))
    assert scores(one).tolist() != scores(other).tolist()
    assert one.signature == other.signature, "an expression is data: the price is state"


@given(st.lists(st.floats(0, 20), max_size=30), st.floats(0.01, 3), st.sampled_from(["below", "above"]))
@settings(max_examples=50, deadline=None)
def test_the_price_follows_dual_ascent_and_never_leaves_its_bounds(means, rate, keep):
    reward = bound(f"lagrangian(length, target=5, keep='{keep}', rate={rate!r}, start=1, most=4)")
    ((_, price),) = multipliers(reward.bound).items()
    due, sign = 1.0, 1 if keep == "below" else -1
    for mean in means:
        price.ascend(mean)
        due = min(max(due + rate * sign * (mean - 5), 0.0), 4.0)
        assert price.value == pytest.approx(due) and 0 <= price.value <= 4


def test_the_state_of_prices_comes_and_goes_by_the_text_of_their_terms():
    text = "lagrangian(length, 3) + lagrangian(repetition, 0.1, start=2.0)"
    one, other = bound(text), bound(text)
    multipliers(one.bound)["lagrangian(length, 3)"].value = 0.25
    state = multiplier_state(one.bound)
    assert state == {"lagrangian(length, 3)": 0.25, "lagrangian(repetition, 0.1, start=2)": 2.0}
    load_multiplier_state(other.bound, state)
    assert multiplier_state(other.bound) == state
    load_multiplier_state(other.bound, {})
    assert multiplier_state(other.bound)["lagrangian(length, 3)"] == 0.0, "a state from before begins at the start"


def test_it_is_paid_at_the_end_whatever_the_delivery():
    reward = bound("repetition(n=1) + lagrangian(length, 3, start=1)")
    delivery = Delivery(reward, "per_token")
    assert [str(term) for _, term in delivery.terms] == ["repetition(n=1)"]
    assert Delivery(bound("lagrangian(length, 3)"), "shaped").terms == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lagrangian(repetition, 1)", "never costs anything: repetition lies between 0 and 1"),
        ("lagrangian(repetition, 0, keep='above')", "never costs anything"),
        ("lagrangian(repetition, -0.1)", "can never be kept"),
        ("lagrangian(repetition, 1.5, keep='above')", "can never be kept"),
        ("lagrangian(length, 3, rate=0)", "must be above 0"),
        ("lagrangian(length, 3, start=101)", "between 0 and most, which is 100"),
        ("lagrangian(length, 3, start=-1)", "between 0 and most"),
        ("lagrangian(lagrangian(length, 3), 1)", "cannot hold another"),
        ("standard(lagrangian(length, 3))", "no fixed mean"),
        ("cache(distinct + lagrangian(length, 3))", "around the other terms"),
    ],
)
def test_what_cannot_be_meant_is_refused(text, message):
    with pytest.raises((SpecError, ScorerError), match=message):
        s.parse(text)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("distinct + lagrangian(length)", "lagrangian(length)"),
        ("lagrangian(length, target='x')", "'x'"),
        ("lagrangian(length, 3, keep='under')", "'under'"),
        ("lagrangian(lenght, 3)", "lenght"),
        ("lagrangian(length, 3, goal=1)", "goal"),
    ],
)
def test_mistakes_are_underlined_where_they_stand(text, place):
    with pytest.raises(SpecError) as caught:
        s.parse(text)
    error = caught.value
    assert text.index(place) <= error.column < text.index(place) + len(place)


def optimum(reward_of, constraint, target, rate, rounds=6000):
    """Softmax policy over a few texts under exact gradients, with dual ascent beside it; means of the last rounds."""
    reward = bound(f"lagrangian(length, target={target}, rate={rate})")
    ((_, price),) = multipliers(reward.bound).items()
    logits, kept = np.zeros(len(reward_of)), []
    for _ in range(rounds):
        policy = np.exp(logits - logits.max())
        policy /= policy.sum()
        paid = reward_of - price.value * (constraint - target)
        logits += 0.5 * policy * (paid - policy @ paid)
        price.ascend(float(policy @ constraint))
        kept.append((policy @ constraint, price.value))
    return np.array(kept)


def test_the_mean_comes_to_the_target_from_above_and_the_price_to_that_of_the_linear_program():
    # Texts of length 1, 4 and 9 worth 0, 2 and 3: at a mean length of 6 the best mixture is of 4 and 9, and a token
    # is worth (3 - 2) / (9 - 4).
    kept = optimum(np.array([0.0, 2.0, 3.0]), np.array([1.0, 4.0, 9.0]), target=6, rate=0.002)
    assert kept[:200, 0].max() > 7, "at first it costs nothing to break the constraint"
    assert kept[-2000:, 0].mean() == pytest.approx(6, abs=0.15)
    assert kept[-2000:, 1].mean() == pytest.approx(1 / 5, abs=0.03)


def test_the_price_of_a_slack_constraint_goes_to_nothing():
    kept = optimum(np.array([3.0, 0.0]), np.array([2.0, 8.0]), target=6, rate=0.01, rounds=500)
    assert kept[-1, 1] == 0.0 and kept[-1, 0] < 6
