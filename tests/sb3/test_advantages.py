"""Returns and baselines, by hand and by law."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from textgym.sb3.advantages import batch_mean, discounts, group_standardised, leave_one_out, returns_to_go

ALL = np.ones(4, bool)


def test_returns_to_go_by_hand():
    rewards = np.array([[1.0, 0], [2, 5], [4, 0]])
    np.testing.assert_allclose(returns_to_go(rewards, 0.5), [[1 + 1 + 1, 2.5], [4, 5], [4, 0]])
    np.testing.assert_allclose(returns_to_go(rewards, 1.0)[0], rewards.sum(0))
    np.testing.assert_allclose(discounts(3, 0.5)[:, 0], [1, 0.5, 0.25])


def test_each_text_is_measured_by_the_others_of_its_group():
    found = leave_one_out(np.array([[1.0, 3, 10, 20]]), 2, ALL)
    np.testing.assert_allclose(found, [[3, 1, 20, 10]])
    np.testing.assert_allclose(leave_one_out(np.array([[1.0, 3, 5, 7]]), 4, ALL), [[5, 13 / 3, 11 / 3, 3]])


def test_a_text_that_failed_is_nobodys_baseline():
    valid = np.array([True, False, True, True])
    found = leave_one_out(np.array([[1.0, np.nan, 5, 7]]), 4, valid)
    np.testing.assert_allclose(found[0, [0, 2, 3]], [6, 4, 3])
    assert leave_one_out(np.array([[1.0, np.nan, 5, 7]]), 2, valid)[0, 0] == 0, "no other of its group is left"
    np.testing.assert_allclose(batch_mean(np.array([[1.0, np.nan, 5, 6]]), valid), [[4, 4, 4, 4]])


def test_group_advantages_by_hand():
    """Group (1, 3): mean 2, sample deviation sqrt 2. Group (5, 5): no deviation, and advantages of exactly 0."""
    found = group_standardised(np.array([[1.0, 3, 5, 5]]), 2, ALL, std=True)
    np.testing.assert_allclose(found, [[-(0.5**0.5), 0.5**0.5, 0, 0]], rtol=1e-3)
    assert (group_standardised(np.array([[1.0, 3, 5, 5]]), 2, ALL, std=False) == [[-1, 1, 0, 0]]).all()


def test_a_failed_text_has_no_advantage_and_does_not_move_its_group():
    found = group_standardised(np.array([[1.0, np.nan, 3, 5]]), 4, np.array([True, False, True, True]), std=False)
    np.testing.assert_allclose(found, [[-2, 0, 0, 2]])


values = hnp.arrays(np.float64, (3, 6), elements=st.floats(-100, 100))


@settings(deadline=None, max_examples=50)
@given(values, st.sampled_from([2, 3, 6]), st.integers(0, 5), st.floats(-100, 100))
def test_a_left_out_mean_does_not_depend_on_the_text_itself(returns, group, row, other):
    before = leave_one_out(returns, group, np.ones(6, bool))
    changed = returns.copy()
    changed[:, row] = other
    after = leave_one_out(changed, group, np.ones(6, bool))
    np.testing.assert_allclose(after[:, row], before[:, row], atol=1e-9)


@settings(deadline=None, max_examples=50)
@given(values, st.sampled_from([2, 3, 6]))
def test_leaving_one_out_is_the_groups_mean_but_for_a_factor(returns, group):
    """R_i - mean of the others = G / (G - 1) (R_i - mean of the group)."""
    valid = np.ones(6, bool)
    centred = group_standardised(returns[:1], group, valid, std=False)
    apart = returns[:1] - leave_one_out(returns[:1], group, valid)
    np.testing.assert_allclose(apart, centred * group / (group - 1), atol=1e-9)


@settings(deadline=None, max_examples=50)
@given(values, st.floats(0, 1))
def test_returns_obey_bellman(rewards, gamma):
    found = returns_to_go(rewards, gamma)
    np.testing.assert_allclose(found[:-1], rewards[:-1] + gamma * found[1:], atol=1e-9)
    np.testing.assert_allclose(found[-1], rewards[-1])
    assert found[0, 0] == pytest.approx(sum(gamma**t * rewards[t, 0] for t in range(3)), abs=1e-9)
