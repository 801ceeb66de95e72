"""One thing varied, compositions, constraints, length, alarms: what sections say of rows whose effects are known."""

import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textgym.benchmarks.rewards.simulated import Simulated, rows

from textgym.reports.blocks import Interval, Notice, Picture, Table
from textgym.reports.rewards.alarms import alarms
from textgym.reports.rewards.arms import benches
from textgym.reports.rewards.axes import axes
from textgym.reports.rewards.bootstrap import Sample
from textgym.reports.rewards.lagrangian import lagrangian
from textgym.reports.rewards.length_share import explained, length_share
from textgym.reports.rewards.pareto import front, pareto
from textgym.reports.rewards.pinned import pinned
from textgym.reports.rewards.proxies import proxies
from textgym.reports.rewards.runs import load
from textgym.reports.rewards.traces import averaged, curves
from textgym.reports.rewards.variants import delivery, gamma, kl_place, normalisation

GOOD = Simulated("good", gold=0.1, proxy=1)


def told_of(designs, **settings_):
    return json.loads(json.dumps(list(rows(designs, **{"seeds": 3, "prompts": 60} | settings_))))


def bench_of(told):
    [found] = benches(load(told))
    return found


def values(key, experiment, effects):
    return [Simulated("good", gold=gold, proxy=1, experiment=experiment, variant={key: value})
            for value, gold in effects.items()]  # fmt: skip


def table(section, place=0):
    return [block for block in section.blocks if isinstance(block, Table)][place]


def words(section):
    return " ".join(block.text for block in section.blocks if isinstance(block, Notice))


@pytest.mark.parametrize(
    ("analysis", "experiment", "key", "effects"),
    [
        (gamma, "gamma", "gamma", {0.9: 0.0, 0.95: 0.1, 1.0: 0.3}),
        (delivery, "delivery", "delivery", {"per_token": 0.2, "terminal": 0.3, "shaped": 0.1}),
        (kl_place, "kl_place", "kl_in", {"loss": 0.1, "reward": 0.3}),
        (normalisation, "normalisation", "scale_advantages", {True: 0.0, False: 0.3}),
    ],
)
def test_what_is_varied_is_held_against_the_usual_value_in_pairs(analysis, experiment, key, effects):
    bench = bench_of(told_of(values(key, experiment, effects), run_sd=0.005, prompts=200))
    found = table(analysis(bench, 0))
    usual, *others = found.rows
    assert usual[3] is None and effects[_value(usual[1], effects)] == 0.3
    assert len(others) == len(effects) - 1
    for place, row in enumerate(others, 1):
        expected = (effects[_value(row[1], effects)] - 0.3) / 0.4
        assert row[3].value == pytest.approx(expected, abs=0.1) and row[3].high < 0
        assert found.marks[place, 3] == "worse"
    assert analysis(bench_of(told_of([GOOD])), 0) is None


def _value(shown, effects):
    return next(value for value in effects if str(value) == shown)


def test_places_of_the_kl_are_compared_at_each_beta_and_at_the_same_kl():
    designs = [
        Simulated("good", gold=0.1 * kl**0.5 + 0.1 * (place == "loss"), kl=kl, experiment="kl_place",
                  variant={"kl_in": place, "beta": beta})
        for place in ("reward", "loss") for beta, kl in ((0.5, 1.0), (0.1, 9.0))
    ]  # fmt: skip
    told = told_of(designs, run_sd=0.0)
    for row in told:
        row["job"] |= {name: row["job"]["variant"].get(name, row["job"][name]) for name in ("kl_in", "beta")}
    section = kl_place(bench_of(told), 0)
    names = [(design, place) for design in ("good, beta 0.5", "good, beta 0.1") for place in ("reward", "loss")]
    assert [tuple(row[:2]) for row in table(section).rows] == names
    at_four = {row[0]: row[3].value for row in table(section, 1).rows}
    assert at_four["good, in the loss"] - at_four["good, in the reward"] == pytest.approx(0.25, abs=0.15)


@pytest.mark.parametrize(
    ("grammar", "coherence", "said"),
    [(0.3, -0.3, "one was traded"), (0.0, 0.0, "no such trade is certain"), (-0.3, -0.3, "there was no such trade")],
)
def test_a_discount_trades_grammar_for_coherence_only_where_both_moved(grammar, coherence, said):
    told = told_of(values("gamma", "gamma", {0.9: 0.1, 1.0: 0.1}))
    for row in told:
        if row["job"]["variant"].get("gamma") == 0.9:
            for look in row["evaluations"]:
                for axis, effect in (("grammar", grammar), ("coherence", coherence)):
                    own = look["values"].get(f"gold/{axis}", [])
                    look["values"][f"gold/{axis}"] = [value + effect for value in own]
    assert said in words(gamma(bench_of(told), 0))


def test_alarms_are_raised_on_what_collapsed_and_on_nothing_else():
    told = told_of([GOOD, Simulated("long", gold=0.1, length=1), Simulated("short", gold=0.1, length=-0.7)])
    for row in told:
        if row["job"]["design"] == "short":
            for look in row["evaluations"]:
                look["values"] |= {"ended": [0.0] * 60, "entropy": [0.1] * 60, "filler": [0.6] * 60}
    section = alarms(bench_of(told), 0)
    found = table(section)
    raised = {(found.rows[row][0], found.columns[column].name) for row, column in found.marks}
    assert raised == {("long", "length"), ("long", "rep-4")} | {
        ("short", name) for name in ("length", "ended by EOS", "entropy", "filler")
    }
    assert "long: length 1" in words(section) and found.rows[-1][0] == "reference"
    assert "No design raised" in words(alarms(bench_of(told_of([GOOD])), 0))


def test_a_few_odd_texts_raise_no_alarm():
    told = told_of([GOOD], seeds=1)
    for look in told[-1]["evaluations"]:
        look["values"]["filler"] = [0.1] * 57 + [2.5] * 3
    assert "No design raised" in words(alarms(bench_of(told), 0))


def test_without_a_reference_nothing_can_be_alarming():
    assert alarms(bench_of(row for row in told_of([GOOD]) if row["job"]["kind"] != "reference"), 0) is None


def sample(values):
    return Sample(np.asarray(values, np.float64), np.zeros(len(values), np.int64))


@given(st.floats(-2, 2), st.floats(-1, 1), st.integers(1, 4))
@settings(max_examples=20, deadline=None)
def test_a_gain_that_is_a_line_in_length_splits_into_slope_and_rest(slope, rest, runs):
    x = np.random.default_rng(0).normal(10, 3, (runs, 40))
    found = explained(sample(x), sample(rest + slope * x))
    assert found["slope"].value == pytest.approx(slope, abs=1e-6)
    assert found["same"].value == pytest.approx(rest, abs=1e-5)
    assert found["along"].value + found["same"].value == pytest.approx(found["gain"].value)


def test_a_gain_is_all_length_or_none_of_it():
    rng = np.random.default_rng(1)
    x = rng.normal(20, 5, (3, 300))
    noise = 0.1 * rng.normal(size=x.shape)
    longer, better = explained(sample(x), sample(0.1 * x + noise)), explained(sample(x), sample(2 + noise))
    assert longer["share"].value == pytest.approx(1, abs=0.05) and longer["same"].interval.sign == 0
    assert better["share"].value == pytest.approx(0, abs=0.05) and better["same"].interval.sign == 1


def test_texts_that_are_all_as_long_as_before_explain_nothing_by_length():
    found = explained(sample(np.zeros((2, 30))), sample(np.ones((2, 30))))
    assert found["share"].value == 0 and found["same"].interval == Interval(1, 1, 1)


def test_the_share_of_length_is_told_only_of_a_gain_that_is_certain():
    found = table(length_share(bench_of(told_of([Simulated("good", gold=0.2, proxy=1), Simulated("none", gold=0)])), 0))
    shares = {(row[0], row[1]): row[5] for row in found.rows}
    assert shares["good", "gold quality"] is not None and shares["none", "gold quality"] is None
    assert length_share(bench_of(told_of([])), 0) is None


def test_the_front_is_what_no_other_point_beats():
    points = np.array([[0, 1], [1, 0], [0.4, 0.4], [0.3, 0.3], [1, 0]], float)
    assert front(points).tolist() == [True, True, True, False, True]
    assert front(np.stack([points, -points])).shape == (2, 5)


@given(st.integers(1, 8), st.integers(0, 5))
def test_some_point_is_always_on_the_front_and_it_keeps_when_axes_are_stretched(size, seed):
    points = np.random.default_rng(seed).normal(size=(size, 2))
    assert front(points).any() and (front(points) == front(np.exp(points))).all()


def test_compositions_that_are_beaten_are_not_on_the_front():
    weights = {"both": (0.3, 3.0), "proxy": (0.0, 4.0), "beaten": (-0.2, 1.0)}
    designs = [Simulated(name, gold=gold, proxy=proxy, experiment="composition", variant={"weights": name})
               for name, (gold, proxy) in weights.items()]  # fmt: skip
    section = pareto(bench_of(told_of(designs)), 0)
    found = table(section)
    assert {found.rows[place][0] for place, _ in found.marks} == {"both", "proxy"}
    assert found.rows[2][3] < 0.05 < 0.9 < found.rows[0][3]
    assert pareto(bench_of(told_of(designs[:1])), 0) is None


def test_prices_are_drawn_and_told_with_their_targets():
    kept = ("price/rep-4", "price/rep-4 mean")
    designs = [Simulated("held", gold=0.1, experiment="lagrangian", variant={"target": target}, curve=kept)
               for target in (0.1, 0.2)]  # fmt: skip
    section = lagrangian(bench_of(told_of(designs)), 0)
    assert [row[1] for row in table(section).rows] == ["rep-4, target 0.1", "rep-4, target 0.2"]
    assert table(section).rows[0][2] == pytest.approx(1) and table(section).rows[0][3] == pytest.approx(1)
    assert "mean" not in section.blocks[1].alternative
    assert lagrangian(bench_of(told_of([GOOD])), 0) is None


def test_curves_are_means_over_runs_up_to_where_the_shortest_ends():
    first, second = (np.array([0.0, 10, 20]), np.array([0.0, 1, 2])), (np.array([0.0, 10]), np.array([2.0, 3]))
    line = averaged("a", [first, second], 0)
    assert line.x.tolist() == [0, 10] and line.y.tolist() == [1, 2]
    assert line.low.tolist() == [0, 1] and line.high.tolist() == [2, 3]
    assert averaged("a", [first], 0).low is None and averaged("a", [], 0) is None


def test_learning_curves_say_where_they_end_and_rewards_are_in_deviations():
    section = curves(bench_of(told_of([GOOD])), 0)
    assert "KL, nats a text: good ends at 4.00" in section.blocks[0].alternative
    bare = [row | {"curve": [], "evaluations": row["evaluations"][-1:]} for row in told_of([])]
    assert curves(bench_of(bare), 0) is None


def test_axes_of_the_truth_have_a_radar_where_the_corpus_is_better_on_three():
    section = axes(bench_of(told_of([Simulated("good", gold=0.2)])), 0)
    assert isinstance(section.blocks[0], Picture) and re.search(r"good: quality 0\.[45]", section.blocks[0].alternative)
    assert [row[0] for row in table(section).rows] == ["good", "reference", "corpus"]
    bare = axes(bench_of(row for row in told_of([GOOD]) if row["job"]["kind"] != "corpus"), 0)
    assert not any(isinstance(block, Picture) for block in bare.blocks)


def test_pinned_briefs_stand_side_by_side_with_what_is_known_of_each_text():
    told = told_of([GOOD, Simulated("good", kind="best_of_n", variant={"n": 4})])
    told[2]["texts"][0]["credit"][0] = None
    section = pinned(bench_of(told), 0)
    assert [block.prompt[-1] for block in section.blocks] == ["0", "1"]
    titles = [story.title for story in section.blocks[0].stories]
    assert titles[:3] == ["corpus, sampled", "corpus, greedy", "reference, sampled"]
    assert titles[4:] == ["good, sampled", "good, greedy", "good, best of 4"]
    story = section.blocks[1].stories[4]
    assert story.totals["gold quality"] == pytest.approx(told[2]["evaluations"][-2]["values"]["gold/quality"][1])
    assert section.blocks[0].stories[4].credit[0] == 0.0 and story.marks[0].severe
    assert pinned(bench_of(told_of([GOOD], texts=0)), 0) is None


def test_learned_rewards_are_told_with_what_is_known_of_them():
    told = told_of(
        [Simulated("learned", kind="fit", variant={"pairs": 100, "size": "tiny"}, experiment="proxies")], seeds=1
    )
    known = {"agreement": 0.7, "agreement, low": 0.6, "agreement, high": 0.75, "heldout": 20}
    told[-1] |= {"evaluations": [], "facts": {**known, "path": "somewhere", "loss": None}}
    found = table(proxies(bench_of(told), 0))
    assert found.rows == [["learned", 100, "tiny", Interval(0.7, 0.6, 0.75), 20]]
    assert [column.name for column in found.columns] == ["reward", "pairs", "size", "agreement", "heldout"]
    assert [column.digits for column in found.columns[-2:]] == [3, 0]
