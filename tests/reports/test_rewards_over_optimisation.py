"""Gold over KL: interpolation at equal KL, areas, and the laws of over-optimisation with their peaks."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from textgym.benchmarks.rewards.simulated import Simulated, rows

from textgym.reports.blocks import Interval, Notice, Table
from textgym.reports.canvas import PALETTE
from textgym.reports.rewards.arms import Arm, benches
from textgym.reports.rewards.distance import Curve
from textgym.reports.rewards.frontier import Frontier, frontiers, picked
from textgym.reports.rewards.gao import BEST_OF_N, RL, fit
from textgym.reports.rewards.kl_matched import at_nats, kl_matched
from textgym.reports.rewards.over_optimisation import fitted, over_optimisation
from textgym.reports.rewards.runs import load

BETAS = {1.0: 0.5, 0.3: 1.0, 0.1: 2.25, 0.03: 4.0, 0.01: 9.0, 0.003: 16.0}
"""Beta, and the KL that it leads to here."""


def over_betas(gold, name="fluency", reward="fluency"):
    """A design at every beta; `gold` by d."""
    return [
        Simulated(name, reward, gold=gold(kl**0.5), kl=kl, experiment="kl", variant={"beta": beta})
        for beta, kl in BETAS.items()
    ]


def bench_of(designs, **settings_):
    settings_ = {"run_sd": 0.0, "text_sd": 0.02, "prompts": 150} | settings_
    told = json.loads(json.dumps(list(rows(designs, **settings_))))
    for row in told:
        row["job"]["beta"] = row["job"]["variant"].get("beta", row["job"]["beta"])
        row["evaluations"] = [look for look in row["evaluations"] if look["final"]]
    [found] = benches(load(told))
    return found


def curve(kl, gold, texts=50, checkpoint=0, noise=0.0, seed=0):
    """A curve whose texts are all alike, or differ by noise."""
    kl, gold = (np.repeat(np.asarray(one, np.float64)[:, None], texts, 1) for one in (kl, gold))
    return Curve(
        list(kl), list(gold + noise * np.random.default_rng(seed).standard_normal(gold.shape)), 0.0, checkpoint
    )


def table(section):
    return next(block for block in section.blocks if isinstance(block, Table))


def test_gold_between_two_points_is_linear_in_the_root_of_kl():
    found = curve([1.0, 9.0], [0.2, 0.8])
    assert found.at(np.sqrt([1.0, 4.0, 9.0])) == pytest.approx([0.2, 0.5, 0.8])
    assert found.at(np.array([0.0, 0.5])) == pytest.approx([0.0, 0.1])
    assert np.isnan(found.at(np.array([3.01]))).all()


@given(st.integers(1, 6), st.integers(0, 20))
def test_between_points_it_is_numpys_interpolation(points, seed):
    rng = np.random.default_rng(seed)
    kl, gold, at = rng.uniform(0, 9, points), rng.normal(size=points), np.sort(rng.uniform(0, 4, 7))
    order, reach = np.argsort(kl), np.sqrt(kl.max())
    expected = np.interp(at, [0.0, *np.sqrt(kl[order])], [0.0, *gold[order]])
    found = curve(kl, gold).at(at)
    assert np.isnan(found).tolist() == (at > reach).tolist()
    assert found[at <= reach] == pytest.approx(expected[at <= reach])


def test_texts_that_are_drawn_again_are_the_same_at_every_distance():
    found = curve([1.0, 4.0], [0.2, 0.4])
    distance, gold = found.drawn(0)
    assert distance == pytest.approx(np.tile([1.0, 2.0], (len(distance), 1)))
    assert gold == pytest.approx(np.tile([0.2, 0.4], (len(gold), 1)))
    assert found.drawn_at(np.array([1.5]), 0) == pytest.approx(np.full((len(gold), 1), 0.3))


def test_looks_at_the_first_texts_are_drawn_with_the_same_texts_as_looks_at_all():
    own = np.random.default_rng(0).standard_normal(40)
    found = Curve([np.ones(20), np.ones(40)], [own[:20], np.concatenate([own[:20], own[:20]])], 0.0, 0)
    _, gold = found.drawn(0)
    assert np.corrcoef(gold.T)[0, 1] > 0.6 and found.points[1] == pytest.approx([own[:20].mean()] * 2)


@pytest.mark.parametrize("seeds", [1, 3])
def test_at_equal_kl_designs_come_out_as_they_were_made(seeds):
    bench = bench_of(over_betas(lambda d: 0.1 * d) + over_betas(lambda d: -0.05 * d, "bad"), seeds=seeds)
    found = at_nats(frontiers(bench), 0)
    for nats in (1, 2, 4, 8):
        good, bad = found[nats]
        assert good.value == pytest.approx(0.1 * nats**0.5 / 0.4, abs=0.03)
        assert bad.value == pytest.approx(-0.05 * nats**0.5 / 0.4, abs=0.03)
        assert good.low < good.value < good.high < good.value + 0.1


def test_nothing_is_said_beyond_the_furthest_run():
    short = [one for one in over_betas(lambda d: 0.1 * d) if one.kl < 5]
    bench = bench_of(short + over_betas(lambda d: 0.1 * d, "far"))
    values = at_nats(frontiers(bench), 0)
    assert values[2][0] is not None and values[8][0] is None and values[8][1] is not None


def test_of_several_curves_the_shortest_says_how_far_they_reach():
    """With four of them the interquartile mean would leave the one that does not reach out, and favour the others."""
    curves = [curve([1.0, last], [0.1, 0.2]) for last in (9.0, 9.0, 9.0, 3.0)]
    found = Frontier("fluency", Arm("fluency", ()), curves, [1.0, 0.1])
    assert found.estimate(np.array([1.5]), 0) is not None and found.estimate(np.array([2.0]), 0) is None
    assert found.reach == pytest.approx(3**0.5) and np.isnan(found.at(np.array([2.0]))).all()


def test_the_area_is_taken_as_far_as_all_designs_reach():
    section = kl_matched(bench_of(over_betas(lambda d: 0.1 * d) + over_betas(lambda d: 0.2 * d, "better")), 0)
    found = table(section)
    heads = [column.name for column in found.columns]
    areas = [row[heads.index("area")] for row in found.rows]
    assert areas[1].value == pytest.approx(2 * areas[0].value, rel=0.1)
    assert areas[0].value == pytest.approx(0.1 * 2 / 0.4, abs=0.03)
    assert not any(isinstance(block, Notice) for block in section.blocks)
    assert found.marks[1, heads.index("area")] == "best" == found.marks[1, 1]
    assert "upper envelope" in section.blocks[-1].svg


def test_designs_of_one_picture_have_colours_of_their_own():
    others = [Simulated(f"other {place}", gold=0.1) for place in range(len(PALETTE) - 1)]
    early, late = over_betas(lambda d: 0.01 * d, "early"), over_betas(lambda d: 0.02 * d, "late")
    svg = kl_matched(bench_of([*early, *others, *late]), 0).blocks[-1].svg
    assert [f"--series-{place}," in svg for place in (1, 2, 3, 4)] == [True, True, True, False], "with the envelope"
    apart = kl_matched(bench_of([*early, *others[:3], *late]), 0).blocks[-1].svg
    assert f"--series-{len(PALETTE)}," in apart, "as in all other pictures, where that tells them apart"


def test_the_corpus_is_drawn_where_a_design_comes_near_it():
    drawn = [kl_matched(bench_of(over_betas(lambda d, s=slope: s * d)), 0).blocks[-1].svg for slope in (0.02, 0.2)]
    assert [">corpus<" in svg for svg in drawn] == [False, True]


def test_fewer_than_six_betas_are_told_and_none_give_no_section():
    few = kl_matched(bench_of(over_betas(lambda d: 0.1 * d)[:4], prompts=50), 0)
    assert isinstance(few.blocks[0], Notice) and "Fewer than 6" in few.blocks[0].text
    assert kl_matched(bench_of([Simulated("fluency", gold=0.1)]), 0) is None


def test_runs_as_planned_join_the_curve_of_their_design_if_all_else_is_the_same():
    planned = Simulated("fluency", gold=0.25, kl=6.25)
    [joined] = frontiers(bench_of([*over_betas(lambda d: 0.1 * d), planned]))
    assert len(joined.curves[0].kl) == 7
    [apart] = frontiers(bench_of([*over_betas(lambda d: 0.1 * d, reward="keywords"), planned]))
    assert len(apart.curves[0].kl) == 6


def test_a_seed_that_was_run_at_one_of_many_betas_draws_no_curve():
    bench = bench_of(over_betas(lambda d: 0.1 * d), checkpoints=2, seeds=2)
    further = tuple(run for run in bench.runs if run.job["seed"] == 0 or run.job["variant"] == {"beta": 0.1})
    [one] = frontiers(replace(bench, runs=further))
    assert len(one.curves) == 2 and one.reach == pytest.approx(4, rel=0.05)
    assert [len(one.curves) for one in frontiers(bench)] == [4]


def test_the_kl_of_the_best_of_n_is_the_known_one():
    bench = bench_of(
        [Simulated("fluency", gold=0.1 * place, kl=kl, kind="best_of_n", variant={"n": 2**place})
         for place, kl in ((1, 0.19), (2, 0.64), (3, 1.2))]
    )  # fmt: skip
    [found] = picked(bench)
    assert found.curves[0].points[0] ** 2 == pytest.approx([0.19, 0.64, 1.2], rel=0.1) and found.strengths == [2, 4, 8]


@settings(max_examples=25, deadline=None)
@given(st.sampled_from([RL, BEST_OF_N]), st.floats(0.1, 2), st.floats(0.05, 1))
def test_a_law_is_found_again_and_its_peak_is_the_highest_point(law, alpha, beta):
    d = np.sqrt(np.array([0.25, 0.5, 1, 2, 4, 9, 16, 30]))
    true = np.array([alpha, beta])
    found = fit(law, [curve(d**2, law.gold(true, d))], 0)
    assert found.coefficients == pytest.approx(true, rel=1e-6) and found.explained == pytest.approx(1)
    top = law.peak(true)
    if 0.05 < top < 20:
        best = minimize_scalar(lambda at: -law.gold(true, at), bounds=(1e-3, 4 * top), method="bounded")
        assert best.x == pytest.approx(float(top), rel=1e-2)
    assert found.lost(found.coefficients) >= -1e-9


def test_a_law_has_an_interval_that_holds_it_over_texts_and_over_runs():
    d = np.sqrt(np.array([0.25, 1, 2, 4, 9, 16]))
    gold = RL.gold(np.array([0.5, 0.3]), d)
    for curves in (
        [curve(d**2, gold, noise=0.1)],
        [curve(d**2, gold, noise=0.3, seed=seed, checkpoint=seed // 3) for seed in range(6)],
    ):
        found = fit(RL, curves, 0)
        low, high = np.percentile(found.draws, [2.5, 97.5], axis=0)
        assert (low < [0.5, 0.3]).all() and (high > [0.5, 0.3]).all() and (high - low < 0.3).all()


def test_too_few_or_equal_distances_determine_no_law():
    assert fit(RL, [curve([1.0, 2.0, 4.0], [0.1, 0.2, 0.3])], 0) is None
    assert fit(RL, [curve([1.0] * 6, [0.1] * 6)], 0) is None
    assert fit(RL, [curve([0.0] * 6, [0.1] * 6)], 0) is None


def test_a_reward_that_is_over_optimised_has_a_peak_and_loses_after_it():
    law = RL
    falling, rising = np.array([0.1, 0.12]), np.array([0.1, 0.005])
    bench = bench_of(
        over_betas(lambda d: float(law.gold(falling, d)), "falling")
        + over_betas(lambda d: float(law.gold(rising, d)), "rising"),
        seeds=3,
    )
    found = fitted(bench, 0)
    assert found["falling", RL].peak == pytest.approx(float(law.peak(falling)) ** 2, rel=0.25)
    section = over_optimisation(bench, 0)
    cells = {row[0]: dict(zip([column.name for column in table(section).columns], row, strict=True))
             for row in table(section).rows}  # fmt: skip
    assert isinstance(cells["falling"]["peak"], Interval) and cells["falling"]["lost after it"].low > 0
    assert cells["rising"]["peak"] is None and cells["rising"]["lost after it"] is None
    assert list(table(section).marks.values()) == ["beyond these rows"]


def test_proxies_of_each_size_have_a_law_of_their_own():
    designs = [
        Simulated("learned", "preference", gold=0.1 * kl**0.5, kl=kl, experiment="proxies",
                  variant={"pairs": pairs, "size": "tiny", "beta": beta})
        for pairs in (100, 1000) for beta, kl in BETAS.items()
    ]  # fmt: skip
    found = fitted(bench_of(designs), 0)
    named = fitted(bench_of([replace(one, name=f"tiny, {one.variant['pairs']} pairs") for one in designs]), 0)
    assert [name for name, _ in named] == ["tiny, 100 pairs", "tiny, 1000 pairs"]
    assert [name for name, _ in found] == ["learned, pairs 100, size tiny", "learned, pairs 1000, size tiny"]
