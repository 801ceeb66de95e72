"""Agents beside exact answers: rows, tables and picture; a killed measurement goes on where it stopped."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from textgym.benchmarks.oracle import credit, regret
from textgym.benchmarks.oracle import estimators as gradients
from textgym.benchmarks.oracle.__main__ import EXPERIMENTS, main, measure, units
from textgym.benchmarks.oracle.cases import CASES
from textgym.benchmarks.oracle.learners import BASELINES, LEARNERS, NEAR
from textgym.benchmarks.oracle.report import report
from textgym.benchmarks.speed.rows import latest, read
from typer.testing import CliRunner

import textgym
from textgym.errors import UnknownNameError
from textgym.oracle import solve


def one_of(learners, name):
    return next(one for one in learners if one.name == name)


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """Rows of a few pieces of each experiment."""
    path = tmp_path_factory.mktemp("oracle") / "oracle.jsonl"
    for part in ("bigram: RLOO", "bigram: DQN", "bigram: baselines", "RLOO, KL in the", "KL: the loss"):
        measure(units("regret", quick=True), path, part)
    measure(units("credit", quick=True), path, "REINFORCE, leave")
    measure(list(gradients.units(replace(gradients.QUICK, texts=2_500))), path, "wrong sign")
    return path


def test_every_experiment_has_its_cases():
    assert [unit.case for unit in units("estimators", quick=True)] == [case.name for case in CASES]
    plan = regret.Plan(seeds=2)
    assert len(list(regret.units(plan))) == 1 + 2 * (2 * len(LEARNERS) + len(NEAR) + 2)
    every = units(None, quick=True)
    assert {unit.experiment for unit in every} == set(EXPERIMENTS) and len({unit.key for unit in every}) == len(every)
    with pytest.raises(UnknownNameError, match="regrett"):
        units("regrett", quick=True)


def test_a_row_says_what_was_run_and_under_which_versions(out):
    for row in read(out):
        assert {"experiment", "case", "turn", "config", "config_hash", "versions", "name", "measured"} <= set(row)
        assert json.loads(json.dumps(row)) == row
    plan = regret.QUICK
    changed = next(iter(regret.units(replace(plan, beta=0.1))))
    assert changed.key != next(iter(regret.units(plan))).key


def test_a_learning_curve_begins_before_the_first_update_and_falls(out):
    (row,) = (row for row in read(out) if row["case"] == "bigram: RLOO")
    curve = row["curve"]
    assert curve[-1] == row["measured"]
    assert [point["tokens"] >= due for point, due in zip(curve, (0, 750, 1500), strict=True)] == [True] * 3
    assert curve[0]["tokens"] == 0 and curve[-1]["sampled"] < curve[0]["sampled"]
    assert all(point["greedy"] >= 0 and point["sampled"] >= 0 for point in curve)


def test_an_agent_that_is_greedy_is_worth_the_same_in_both_ways(out):
    (row,) = (row for row in read(out) if row["case"] == "bigram: DQN")
    assert all(point["sampled"] == point["greedy"] for point in row["curve"])


def test_baselines_are_measured_from_the_uniform_policy(out):
    found = {row["name"]: row["measured"]["sampled"] for row in read(out) if row["case"] == "bigram: baselines"}
    assert tuple(found) == BASELINES
    assert found["random"] == 1 and found["best_of_n"] < 1


def test_the_played_text_of_beam_search_is_worth_what_the_oracle_says():
    plan = replace(regret.QUICK, horizon=2)
    task = textgym.micro("bigram", vocab_size=4, horizon=2)
    tree, values = solve(task).tree, []
    for place, action in zip(*np.nonzero(tree.ends), strict=True):
        values.append(tree.totals[place, action])
    with regret._network(plan, "bigram", 0) as folder:
        found = regret._played(regret.Learner("beam", "beam", rows=1), plan, "bigram", folder, 0)
    assert np.isclose(values, found, atol=1e-6).any()


def test_near_a_reference_a_run_begins_at_a_kl_of_0(out):
    rows = [row for row in read(out) if "RLOO, KL in the" in row["case"]]
    assert len(rows) == 2 and {row["beta"] for row in rows} == {regret.QUICK.beta}
    for point in (point for row in rows for point in row["curve"]):
        assert (point["kl"] < 1e-6) == (point["tokens"] == 0)
        assert point["best_kl"] > 0.05


def test_where_the_kl_in_the_loss_leads_is_no_better_than_the_soft_optimum():
    """At the last token both are one: nothing comes later."""
    (row,) = regret.stands_still(regret.QUICK)
    assert 1e-4 < row["measured"]["soft"] < 0.5
    (row,) = regret.stands_still(replace(regret.QUICK, horizon=1))
    assert abs(row["measured"]["soft"]) < 1e-9


def test_the_exact_advantages_correlate_fully_with_themselves():
    """Of a policy that has converged on nothing: whole returns of texts of one token are advantages but for V."""
    plan = replace(credit.QUICK, horizon=1, rollouts=3)
    one = one_of(credit.CREDITED, "REINFORCE, whole return")
    first = credit.credited(plan, "terminal", one, 0)[0]["measured"]["start"]
    assert first["correlation"] == pytest.approx(1, abs=1e-3) and first["tokens"] == 0


def test_credit_is_measured_at_the_start_and_later(out):
    rows = [row for row in read(out) if row["experiment"] == "credit"]
    assert [row["delivery"] for row in rows] == list(credit.DELIVERIES)
    for row in rows:
        start, end = row["measured"]["start"], row["measured"]["end"]
        assert start["tokens"] == 0 < credit.QUICK.tokens <= end["tokens"]
        assert all(0.1 < each["correlation"] < 1 for each in (start, end))


def test_what_is_there_is_not_measured_again(out, monkeypatch):
    before = out.read_bytes()
    monkeypatch.setattr(regret, "learned", lambda *about: pytest.fail(f"again: {about}"))
    measure(units("regret", quick=True), out, "bigram: RLOO")
    measure(units("regret", quick=True), out, "grammar: RLOO", minutes=0)
    assert out.read_bytes() == before


def test_saved_rows_give_the_table_and_the_picture(out):
    app = typer.Typer()
    app.command()(main)
    shown = CliRunner().invoke(app, ["--show", str(out)])
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.strip() == report(latest(read(out)))
    assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    tables = shown.stdout.split("\n\n")
    assert len(tables) == 4 and "| wrong sign | wrong | return | 1 | -" in tables[0]
    assert "| RLOO | 2k |" in tables[1] and "| where the KL in the loss leads | none |" in tables[2]


def test_a_mistyped_experiment_is_named():
    app = typer.Typer()
    app.command()(main)
    shown = CliRunner().invoke(app, ["credits"])
    assert shown.exit_code == 2 and "credit" in shown.output


def test_the_level_is_shared_among_the_right_estimators():
    right = sum(case.kind == "unbiased" for case in CASES)
    assert gradients.is_biased({"measured": {"p": 0.009 / right}})
    assert not gradients.is_biased({"measured": {"p": 0.011 / right}})


def test_the_page_shows_the_tables_of_its_rows():
    docs = Path(__file__).parents[2] / "docs"
    page = (docs / "agents-proved.md").read_text(encoding="utf-8")
    for table in report(latest(read(docs / "agents-proved.jsonl"))).split("\n\n"):
        assert table in page
