"""Intervals over runs, texts or both: what is drawn again, and that few runs do not make them too narrow."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from textgym.reports.blocks import Interval
from textgym.reports.rewards.aggregate import improvement, optimality_gap, profile
from textgym.reports.rewards.bootstrap import (
    BOTH,
    RUNS,
    TEXTS,
    Sample,
    estimate,
    iqm,
    run_choices,
    strata,
    stretch,
)


def sample(values, checkpoints=None):
    values = np.asarray(values, np.float64)
    return Sample(values, np.array(checkpoints if checkpoints is not None else [0] * len(values), np.int64))


def runs(means, checkpoints=None, texts=40):
    """Runs whose texts are all alike."""
    return sample(np.repeat(np.asarray(means, np.float64)[:, None], texts, 1), checkpoints)


def test_the_interquartile_mean_leaves_out_a_quarter_at_either_end():
    assert iqm(np.array([100.0, 1, 2, 3, 4, 5, 6, -100])) == pytest.approx(3.5)
    assert iqm(np.array([1.0, 2, 6])) == pytest.approx(3)
    assert iqm(np.array([[0.0, 1, 2, 9], [1, 1, 1, 1]])) == pytest.approx([1.5, 1])


@given(st.integers(1, 30), st.integers(0, 5))
def test_the_interquartile_mean_is_scipys(size, seed):
    values = np.random.default_rng(seed).normal(size=(3, size))
    assert iqm(values) == pytest.approx(stats.trim_mean(values, 0.25, axis=-1))


def test_runs_are_drawn_again_within_their_checkpoint_only():
    chosen = run_choices((0, 0, 1, 1, 1), 0)
    assert set(chosen[:, :2].ravel()) == {0, 1} and set(chosen[:, 2:].ravel()) == {2, 3, 4}
    far_apart = estimate(runs([0, 0.1, 10, 10.1], [0, 0, 1, 1]), seed=1).interval
    together = estimate(runs([0, 0.1, 10, 10.1]), seed=1).interval
    assert far_apart.high - far_apart.low < 0.5 < together.high - together.low


def test_a_checkpoint_of_one_run_does_not_pretend_that_it_never_varies():
    assert strata(runs([1, 2, 3], [0, 1, 2])).tolist() == [0, 0, 0]
    assert strata(runs([1, 2, 3], [4, 4, 7])).tolist() == [0, 0, 0]
    assert strata(runs([1, 2, 3, 4], [4, 4, 7, 7])).tolist() == [0, 0, 1, 1]
    found = estimate(runs([1, 2, 3], [0, 1, 2])).interval
    assert found.low < 1.5 and found.high > 2.5


def test_one_run_has_an_interval_over_texts_that_is_the_usual_one():
    values = np.random.default_rng(0).normal(1, 2, (1, 400))
    found = estimate(sample(values), unit=RUNS)
    half = stats.t.ppf(0.975, 399) * values.std(ddof=1) / 20
    assert found.unit == TEXTS and found.value == pytest.approx(values.mean())
    assert [found.interval.low, found.interval.high] == pytest.approx(
        [values.mean() - half, values.mean() + half], abs=0.1 * half
    )


def test_one_text_of_one_run_has_no_interval():
    assert estimate(sample([[1.0]])).interval is None


def test_few_runs_have_intervals_about_as_wide_as_students():
    means = np.random.default_rng(3).normal(0, 1, 6)
    found = estimate(runs(means), lambda rows: rows.mean(-1)).interval
    half = stats.t.ppf(0.975, 5) * means.std(ddof=1) / np.sqrt(6)
    assert (found.high - found.low) / (2 * half) == pytest.approx(1, abs=0.15)
    assert stretch(runs(np.zeros(1000)), RUNS) == pytest.approx(1, abs=0.01)


def test_both_adds_what_runs_and_what_texts_may_differ_by():
    rng = np.random.default_rng(0)
    many = sample(rng.normal(0, 1, (12, 1)) + rng.normal(0, 1, (1, 60)) + rng.normal(0, 1, (12, 60)))
    spread = {unit: estimate(many, unit=unit).draws.std() for unit in (RUNS, TEXTS, BOTH)}
    assert spread[BOTH] == pytest.approx(np.hypot(spread[RUNS], spread[TEXTS]), rel=0.05)
    assert min(spread[RUNS], spread[TEXTS]) > 0.05


def test_a_text_that_is_not_known_counts_in_no_mean():
    known = sample([[1.0, np.nan, 3.0], [5.0, 5.0, np.nan]])
    assert known.means.tolist() == [2, 5]
    for unit in (RUNS, TEXTS, BOTH):
        assert estimate(known, unit=unit).value == pytest.approx(3.5)
    assert estimate(sample([[1.0, np.nan, 1.0]])).interval == Interval(1, 1, 1)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 5), st.integers(1, 30), st.integers(0, 3), st.floats(-5, 5))
def test_intervals_hold_their_estimate_move_with_the_values_and_repeat_with_the_seed(rows, texts, seed, shift):
    values = np.random.default_rng(seed).normal(0, 1, (rows, texts))
    for unit in (RUNS, TEXTS, BOTH):
        first, again = (estimate(sample(values), unit=unit, seed=seed).interval for _ in range(2))
        moved = estimate(sample(values + shift), unit=unit, seed=seed).interval
        if first is None:
            assert moved is None and rows * texts == 1
            continue
        assert first == again and first.low <= first.value <= first.high
        assert [moved.low, moved.high] == pytest.approx([first.low + shift, first.high + shift], abs=1e-6)


def called_different(trials, checkpoints, seeds, unit, statistic=iqm, run_sd=0.5):
    """How often two designs that are drawn alike come out as different."""
    rng, runs_ = np.random.default_rng(7), checkpoints * seeds
    origin, wrong = np.repeat(np.arange(checkpoints), seeds), 0
    for _ in range(trials):
        noise = rng.normal(0, 1, (2, runs_, 30)) + run_sd * rng.normal(0, 1, (2, runs_, 1))
        wrong += estimate(sample(noise[0] - noise[1], origin), statistic, unit=unit).interval.sign != 0
    return stats.binomtest(wrong, trials).proportion_ci(0.99)


@pytest.mark.parametrize(("checkpoints", "seeds", "unit"), [(1, 1, TEXTS), (1, 5, RUNS), (3, 2, RUNS), (3, 5, RUNS)])
def test_designs_that_are_the_same_come_out_as_different_one_time_in_twenty(checkpoints, seeds, unit):
    run_sd = 0 if unit == TEXTS else 0.5
    found = called_different(400, checkpoints, seeds, unit, lambda rows: rows.mean(-1), run_sd)
    assert found.low <= 0.05 <= found.high


@pytest.mark.parametrize(("checkpoints", "seeds", "unit"), [(1, 5, RUNS), (2, 5, RUNS), (1, 3, BOTH)])
def test_interquartile_means_and_both_units_come_out_as_different_no_more_often(checkpoints, seeds, unit):
    assert called_different(200, checkpoints, seeds, unit).low <= 0.05


def test_without_the_stretch_they_would_come_out_as_different_far_too_often(monkeypatch):
    monkeypatch.setattr("textgym.reports.rewards.bootstrap.stretch", lambda sample, unit: 1.0)
    assert called_different(200, 1, 5, RUNS, lambda rows: rows.mean(-1)).low > 0.05


def test_a_run_is_better_as_often_as_mann_and_whitney_count():
    first, second = np.array([1.0, 2, 5, 7]), np.array([0.0, 2, 3])
    found = improvement(runs(first), runs(second))
    u = stats.mannwhitneyu(first, second).statistic
    assert found.value == pytest.approx(u / 12) and 0 <= found.low < found.value < found.high <= 1
    flipped = improvement(runs(second), runs(first))
    assert flipped.value == pytest.approx(1 - found.value)


def test_three_runs_that_are_all_better_do_not_prove_that_all_are():
    found = improvement(runs([4, 5, 6]), runs([1, 2, 3]))
    assert found.value == found.high == 1 and found.low == pytest.approx(0.025 ** (1 / 3))


def test_the_gap_counts_what_is_missing_to_one_and_profiles_what_is_above_a_threshold():
    scores = np.array([0.0, 0.5, 2.0, 1.0])
    assert optimality_gap(scores) == pytest.approx((1 + 0.5) / 4)
    assert profile(scores, np.array([-1.0, 0.5, 1.5, 3.0])).tolist() == [1, 0.5, 0.25, 0]
