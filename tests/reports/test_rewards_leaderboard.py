"""The leaderboard, the differences of designs, and the matrix: who is best, and who was hacked."""

import json

import numpy as np
import pytest
from scipy import stats
from textgym.benchmarks.rewards.simulated import Simulated, rows

from textgym.reports.blocks import Interval, Notice, Picture, Table
from textgym.reports.rewards.arms import Arm, benches
from textgym.reports.rewards.leaderboard import leaderboard
from textgym.reports.rewards.matrix import matrix
from textgym.reports.rewards.pairs import pairs
from textgym.reports.rewards.runs import load
from textgym.reports.rewards.standings import ahead, standings, win_rate

DESIGNS = [
    Simulated("good", gold=0.1, proxy=1),
    Simulated("hacked", "0.5*fluency + keywords", gold=-0.2, proxy=2, length=1, kl=9),
    Simulated("truth", "gold.quality", gold=0.4, proxy=3),
    Simulated("good", gold=0.05, proxy=1, kind="best_of_n", variant={"n": 4}, kl=0.6),
    Simulated("good", gold=0.08, proxy=1, kind="best_of_n", variant={"n": 16}, kl=1.8),
]


def bench_of(told):
    [found] = benches(load(told))
    return found


@pytest.fixture(scope="module")
def bench():
    return bench_of(rows(DESIGNS, checkpoints=2, seeds=4, prompts=80))


def table(section, place=0):
    return [block for block in section.blocks if isinstance(block, Table)][place]


def cells(found, row):
    return dict(zip((column.name for column in found.columns), found.rows[row], strict=True))


def words(section):
    return " ".join([*section.text, *(block.text for block in section.blocks if isinstance(block, Notice))])


def test_no_interval_of_a_kl_goes_below_zero():
    told = list(rows([Simulated("one", kl=1)], seeds=2, prompts=30))
    for row in told:
        for look in row["evaluations"] if row["job"]["kind"] == "training" else ():
            if "kl" in look["values"]:
                look["values"]["kl"] = [0.1 + 4.0 * row["job"]["seed"]] * len(look["values"]["kl"])
    found = bench_of(told)
    [one] = standings(found, found.arms("designs"), 0)
    assert one.kl.low == 0 and one.kl.value == pytest.approx(2.1) and one.kl.high > 4.1


def test_the_best_design_stands_first_and_the_yardsticks_last(bench):
    found = table(leaderboard(bench, 0))
    assert [row[0] for row in found.rows] == ["truth", "good", "hacked", "good, best of 16", "reference", "corpus"]
    assert found.rows[-2][1] == pytest.approx(0, abs=1e-6) and found.rows[-1][1] == pytest.approx(1, abs=1e-6)
    best = cells(found, 0)
    assert best["gold quality"].value == pytest.approx(1, abs=0.1) and best["runs"] == 8
    assert best["better"] == 1 and best["wins"].low > 0.9 and best["verdict"] == "not hacked"
    assert best["KL"].value == pytest.approx(4, abs=0.2)


def test_a_hacked_design_is_called_so_in_table_and_notice(bench):
    section = leaderboard(bench, 0)
    assert cells(table(section), 2)["verdict"] == "hacked" and table(section).marks == {(2, 1): "hacked"}
    assert "hacked was hacked" in words(section)
    assert "truth" in table(section).notes[0]


def test_the_figure_of_a_design_is_the_interquartile_mean_over_its_runs(bench):
    good = next(one for one in standings(bench, bench.arms("designs"), 0) if one.arm.label == "good")
    means = [bench.truth(run).mean() for run in good.arm.runs]
    assert good.gold.value == pytest.approx(stats.trim_mean(means, 0.25))


def test_a_win_is_a_better_text_about_the_same_brief_and_a_tie_half_of_one(bench):
    good = bench.arms("designs")[0]
    change = bench.change(good, "gold/quality").values
    assert win_rate(bench, good).values.mean() == pytest.approx((change > 0).mean() + (change == 0).mean() / 2)
    assert win_rate(bench, Arm("", (bench.references[0],))).means == 0.5


def test_the_same_rows_and_seed_give_the_same_section_and_another_seed_other_intervals(bench):
    first, again, other = (leaderboard(bench, seed) for seed in (0, 0, 1))
    assert first == again
    assert table(first).rows[0][1] != table(other).rows[0][1]
    assert table(first).rows[0][1].value == table(other).rows[0][1].value


def test_of_one_run_a_design_it_is_said_that_intervals_hold_for_the_run():
    section = leaderboard(bench_of(rows(DESIGNS)), 0)
    assert "not the design" in words(section) and "One run of every design" in words(section)
    assert "over texts" in words(section)
    assert all(isinstance(row[1], Interval) for row in table(section).rows[:3])


def test_without_a_corpus_gold_is_told_as_it_is_and_no_gap():
    section = leaderboard(bench_of(row for row in rows(DESIGNS) if row["job"]["kind"] != "corpus"), 0)
    assert "no scale" in words(section)
    assert "optimality gap" not in [column.name for column in table(section).columns]
    assert {len(row) for row in table(section).rows} == {len(table(section).columns)}


def test_without_gold_there_is_no_leaderboard():
    told = json.loads(json.dumps(list(rows(DESIGNS))))
    for row in told:
        for look in row["evaluations"]:
            look["values"] = {name: own for name, own in look["values"].items() if not name.startswith("gold/")}
    assert leaderboard(bench_of(told), 0) is None and pairs(bench_of(told), 0) is None
    assert len(table(matrix(bench_of(told), 0)).rows) == 3


def test_differences_are_those_of_the_row_minus_the_column(bench):
    section = pairs(bench, 0)
    found = table(section)
    assert found.rows[0][2].value == pytest.approx(-found.rows[1][1].value)
    assert found.rows[0][1] is None and found.marks[0, 2] == "better" and found.marks[1, 1] == "worse"
    assert table(section, 1).rows[0][2].value == 1
    assert any(isinstance(block, Picture) for block in section.blocks)


def test_two_designs_that_are_the_same_are_rarely_told_apart():
    wrong = 0
    for seed in range(60):
        same = [Simulated("one", gold=0.1, proxy=1), Simulated("two", gold=0.1, proxy=1)]
        found = bench_of(rows(same, seeds=5, prompts=30, texts=0, seed=seed))
        wrong += ahead(found, *found.arms("designs"), 0).interval.sign != 0
    assert stats.binomtest(wrong, 60).proportion_ci(0.99).low <= 0.05


@pytest.mark.parametrize("seeds", [1, 5])
def test_gold_with_a_hack_on_top_is_flagged_as_hacked_and_gold_alone_is_not(seeds):
    planted = [
        Simulated("gold", "gold.quality", gold=0.3, proxy=2),
        Simulated("gold and a hack", "gold.quality + 2*keywords", gold=-0.1, proxy=3, length=1),
    ]
    for seed in range(5):
        found = bench_of(rows(planted, seeds=seeds, prompts=300, seed=seed))
        named = {one.arm.label: one.verdict.name for one in standings(found, found.arms("designs"), 0)}
        assert named == {"gold": "not hacked", "gold and a hack": "hacked"}


def test_the_matrix_marks_what_was_trained_on_and_what_was_hacked(bench):
    found = table(matrix(bench, 0))
    heads = [column.name for column in found.columns]
    named = {(found.rows[row][0], heads[column]): mark for (row, column), mark in found.marks.items()}
    assert named["good", "reward"] == named["good", "fluency"] == named["truth", "gold quality"] == "itself"
    assert named["hacked", "fluency"] == named["hacked", "keywords"] == "part of it"
    assert named["hacked", "gold quality"] == "hacked" and ("good", "gold quality") not in named
    assert all(column.scaled for column in found.columns[1:])


def test_the_matrix_knows_what_was_trained_on_by_its_values_where_names_differ():
    told = [row | {"job": row["job"] | {"reward": "by another name"}} for row in rows(DESIGNS[:1])]
    found = table(matrix(bench_of(told), 0))
    assert {found.columns[column].name for _, column in found.marks} == {"reward", "fluency"}


def test_a_cell_of_the_matrix_is_the_change_in_deviations_of_the_reference(bench):
    found, arm = table(matrix(bench, 0)), bench.arms("designs")[1]
    heads = [column.name for column in found.columns]
    deviations = {place: np.std(run.values("length")) for place, run in bench.references.items()}
    assert bench.shift(arm, "length").values[0] * deviations[0] == pytest.approx(
        arm.runs[0].values("length") - bench.references[0].values("length"), rel=1e-4
    )
    hacked = found.rows[[row[0] for row in found.rows].index("hacked")]
    assert hacked[heads.index("gold quality")].high < 0 < hacked[heads.index("reward")].low


def test_a_measure_that_never_varies_has_no_cell():
    told = json.loads(json.dumps(list(rows(DESIGNS))))
    for row in told:
        for look in row["evaluations"]:
            look["values"]["score/distinct"] = [1.0] * 50
    found = table(matrix(bench_of(told), 0))
    place = [column.name for column in found.columns].index("distinct")
    assert [row[place] for row in found.rows] == [None] * 3
