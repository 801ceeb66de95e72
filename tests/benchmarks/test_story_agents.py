"""Runs on the story world: what a run leaves, how it goes on, and what the tables and the picture say of it."""

import json

import numpy as np
import pytest
import typer
from matplotlib.figure import Figure
from textgym.benchmarks.story_agents import __main__ as story_agents
from textgym.benchmarks.story_agents import measure, report
from textgym.benchmarks.story_agents.picture import _legend, draw
from textgym.benchmarks.story_agents.plan import COLLAPSES, LEARNERS, NAIVE, QUICK, RECIPES, Plan
from typer.testing import CliRunner

from textgym.errors import UnknownNameError

PLAN = Plan(rows=32, tokens=3000, naive_tokens=500, looks=2, prompts=4, best_of=12, seeds=2)


@pytest.fixture(scope="module")
def found():
    """The yardsticks, PPO's and RLOO's first run on gold, and one on distinct-2."""
    gold = {unit.case: unit for unit in reversed(list(measure.units(PLAN, "gold")))}
    naive = {unit.case: unit for unit in measure.units(PLAN, "naive")}
    [compared] = measure.units(PLAN, "compared")
    chosen = (compared, gold["PPO"], gold["RLOO"], naive[f"{NAIVE[0]}, distinct-2"])
    return json.loads(json.dumps([row for unit in chosen for row in unit.run()]))


def row(experiment, case, turn, tokens, name="", **figures):
    known = dict.fromkeys(("kl", *report.COLUMNS), 0.5) | {"distinct-2": 0.5} | figures
    story = {"sampled story": "the end .", "greedy story": "the end ."}
    measured = {"sampled": known, "greedy": known, **story}
    made = {"experiment": experiment, "case": case, "turn": turn, "tokens": tokens, "name": name}
    return {**made, "measured": measured, "config_hash": "a"}


def model(**figures):
    return row("compared", "yardsticks", 0, 0, measure.REFERENCE, **figures)


def test_every_agent_learns_from_gold_with_every_seed_and_some_from_each_naive_reward():
    gold = list(measure.units(Plan(), "gold"))
    assert len({unit.key for unit in gold}) == len(gold) == 5 * len(RECIPES)
    assert {unit.case for unit in gold} == set(RECIPES) >= set(LEARNERS)
    naive = [unit.case for unit in measure.units(Plan(), "naive")]
    assert sorted(naive) == sorted(f"{agent}, {name}" for agent in NAIVE for name in COLLAPSES)


def test_rows_of_runs_never_share_a_stream():
    seeds = sorted(Plan().run_seeds(5))
    assert np.diff(seeds).min() > Plan().rows and seeds[0] >= 0
    assert Plan().run_seeds(2) == Plan().run_seeds(5)[:2]


def test_a_run_is_looked_at_until_its_tokens_are_written(found):
    run = [row for row in found if row["case"] == "RLOO"]
    assert [row["tokens"] >= least for row, least in zip(run, (1500, 3000), strict=True)] == [True, True]
    for way in ("sampled", "greedy"):
        assert np.isfinite(list(run[0]["measured"][way].values())).all()
    assert run[0]["measured"]["sampled"]["kl"] > 0 and "kl" not in run[0]["measured"]["greedy"]


def test_the_model_is_no_nats_from_itself_and_the_best_of_n_has_the_most_gold(found):
    own, best, corpus = found[:3]
    assert own["name"] == measure.REFERENCE and own["measured"]["sampled"]["kl"] == pytest.approx(0, abs=1e-6)
    assert best["name"] == "best of 12" and best["measured"]["sampled"]["kl"] == pytest.approx(np.log(12) - 11 / 12)
    assert corpus["measured"]["sampled"]["contradictions"] < own["measured"]["sampled"]["contradictions"]
    assert best["measured"]["sampled"]["gold"] > own["measured"]["sampled"]["gold"]


def test_a_run_on_a_naive_reward_says_what_it_is_paid(found):
    paid = found[-1]["measured"]["sampled"]
    assert found[-1]["reward"] == "distinct" and paid["reward"] == pytest.approx(paid["distinct-2"], abs=0.2)


def test_the_same_seed_gives_the_same_run(found):
    unit = next(unit for unit in measure.units(PLAN, "gold") if unit.case == "RLOO")
    assert json.loads(json.dumps(unit.run())) == [row for row in found if row["case"] == "RLOO"]


def test_what_was_run_is_not_run_again(tmp_path, monkeypatch):
    ran = []
    monkeypatch.setattr(measure.Unit, "run", lambda self: ran.append(self.case) or [self_row(self)])
    out = tmp_path / "rows.jsonl"
    story_agents.measure(PLAN, "gold", out, only="PPO")
    story_agents.measure(PLAN, "gold", out, minutes=-1)
    assert ran == ["PPO", "PPO"]
    story_agents.measure(PLAN, "gold", out)
    assert len(ran) == 2 * len(RECIPES) and ran.count("PPO") == 2
    with pytest.raises(UnknownNameError, match="Did you mean 'gold'"):
        story_agents.measure(PLAN, "golf", out)


def self_row(unit):
    experiment, case, turn, config_hash = unit.key
    return {"experiment": experiment, "case": case, "turn": turn, "config_hash": config_hash}


def test_of_a_run_the_last_look_counts_and_intervals_are_over_runs():
    looks = [row("gold", "PPO", turn, tokens, gold=gold) for turn, tokens, gold in
             ((1, 10, 0.9), (1, 20, 0.1), (2, 10, 0.9), (2, 20, 0.3))]  # fmt: skip
    ends = report.last(looks)["PPO"]
    assert report.column(ends, "gold") == [0.1, 0.3]
    mean, low, high = report.interval([0.1, 0.3])
    assert (mean, high - low) == (pytest.approx(0.2), pytest.approx(2 * 12.7062 * 0.1, rel=1e-4))
    assert "| PPO | 2 | 20 | 0.5 | 0.50 | 0.200 [-1.071, 1.471] |" in report.table(looks, "sampled")


@pytest.mark.parametrize(
    ("figures", "met"),
    [
        ({}, "yes"),
        ({"contradictions": 0.11}, "NO"),
        ({"kl": 10.1}, "NO"),
        ({"length": 51}, "NO"),
        ({"rep-4": 0.21}, "NO"),
    ],
)
def test_what_was_asked_is_met_only_where_all_of_it_is(figures, met):
    own = model(contradictions=0.2, length=64, **{"rep-4": 0.1})
    reached = {"contradictions": 0.1, "kl": 10.0, "length": 52, "rep-4": 0.2} | figures
    said = report.asked([own, row("gold", "GRPO", 1, 10, **reached)])
    assert said.splitlines()[-1].endswith(f"| {met} |") and "| GRPO |" in said


def test_without_the_model_or_a_learner_nothing_is_asked():
    assert report.asked([model()]) == "" == report.asked([row("gold", "PPO", 1, 10)])


def test_the_legend_names_each_agent_and_each_naive_reward_once():
    cases = [f"{agent}, {reward}" for agent in NAIVE for reward in ("sum of log p", "distinct-2")]
    axes = Figure().subplots()
    for case in ("corpus", *cases, *cases):
        axes.plot([0, 1], label=case)
    assert [line.get_label() for line in _legend(axes)] == ["corpus", "sum of log p", "distinct-2", *NAIVE]


def test_rows_are_shown_as_tables_and_a_picture_without_measuring(found, tmp_path, monkeypatch):
    monkeypatch.setattr(measure.Unit, "run", lambda self: pytest.fail("measured"))
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in found), encoding="utf-8")
    app = typer.Typer()
    app.command()(story_agents.main)
    shown = CliRunner().invoke(app, ["--show", str(path)])
    assert shown.exit_code == 0, shown.output
    naive = f"| {NAIVE[0]}, distinct-2 | 1 |"
    for words in ("on gold", "sampled, at the end", "greedy, at the end", naive, "| corpus |"):
        assert words in shown.output
    assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    draw(found[:3], tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


def test_options_of_the_command_reach_the_measurement(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(story_agents, "measure", lambda *given: asked.append(given))
    app = typer.Typer()
    app.command()(story_agents.main)
    out = tmp_path / "rows.jsonl"
    CliRunner().invoke(app, ["gold", "--out", str(out), "--only", "PPO", "--tokens", "9", "--seeds", "3"])
    CliRunner().invoke(app, ["--out", str(out), "--quick", "--minutes", "5"])
    assert asked[0] == (Plan(tokens=9, seeds=3), "gold", out, "PPO", float("inf"))
    assert asked[1] == (QUICK, None, out, "", 5)
