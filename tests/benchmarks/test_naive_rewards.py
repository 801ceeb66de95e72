"""Best-of-n under naive rewards: favourites are favourites, the truth about them is that of the world."""

import json

import numpy as np
import pytest
from textgym.benchmarks.naive_rewards.__main__ import table
from textgym.benchmarks.naive_rewards.measure import CLEAN, CORPUS, GREEDY, POOL, Plan, rows
from textgym.benchmarks.naive_rewards.rewards import REWARDS
from typer.testing import CliRunner

from textgym.worlds.story.gold import AXES

PLAN = Plan(prompts=6, n=5)


@pytest.fixture(scope="module")
def found():
    return list(rows(PLAN))


def test_every_reward_stands_beside_the_pool_and_the_yardsticks(found):
    assert [row["name"] for row in found] == [POOL, GREEDY, CORPUS, CLEAN, *REWARDS]
    for row in found:
        assert set(AXES) | {"length", "rep-4", "distinct-2"} <= set(row["measured"])
        assert json.loads(json.dumps(row)) == row and len(row["samples"]) == 3
        for mean, low, high in row["measured"].values():
            assert low <= mean <= high


def test_a_reward_picks_what_it_likes_best(found):
    known = {row["name"]: {fact: ends[0] for fact, ends in row["measured"].items()} for row in found}
    assert known["gold quality"]["quality"] > known[POOL]["quality"]
    assert known["distinct-2"]["distinct-2"] == max(known[name]["distinct-2"] for name in REWARDS)
    assert all(known[name]["gain"] > 0 for name in REWARDS)


def test_clean_stories_have_no_faults(found):
    clean = next(row for row in found if row["name"] == CLEAN)["measured"]
    assert all(clean[axis] == [1.0, 1.0, 1.0] for axis in ("grammar", "coherence", "faithfulness", "novelty"))


def test_the_table_has_a_line_for_each_row_and_faults_are_what_is_missing_to_one(found):
    lines = table(found).splitlines()
    assert len(lines) == 2 + len(found) and lines[0].startswith("|  | tokens | unparsable | contradictions |")
    pool = found[0]["measured"]
    assert f" {1 - pool['coherence'][0]:.3f} |" in lines[2]


def test_the_same_seed_gives_the_same_rows_and_saved_rows_give_the_same_table(found, tmp_path):
    again = list(rows(PLAN))
    assert again == found
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in found), encoding="utf-8")
    import typer
    from textgym.benchmarks.naive_rewards.__main__ import main

    app = typer.Typer()
    app.command()(main)
    shown = CliRunner().invoke(app, ["--show", str(path)])
    assert shown.exit_code == 0 and shown.stdout.strip() == table(found)
    assert np.isfinite([ends[0] for row in found for ends in row["measured"].values()]).all()
