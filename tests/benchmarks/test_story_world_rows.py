import io
import json
import platform

import numpy as np
import pytest
import typer
from rich.console import Console
from textgym.benchmarks.speed.rows import read
from textgym.benchmarks.story_world import __main__ as story_world
from textgym.benchmarks.story_world.measure import Plan, fluency, possible_worlds, write
from typer.testing import CliRunner


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """The rows of a tiny run."""
    out = tmp_path_factory.mktemp("story_world") / "rows.jsonl"
    app = typer.Typer()
    app.command()(story_world.main)
    result = CliRunner().invoke(app, ["--out", str(out), "--stories", "40", "--repeats", "1"])
    assert result.exit_code == 0, result.output
    return out


def test_every_part_of_both_presets_leaves_a_row_that_can_be_read_by_itself(measured):
    found = read(measured)
    parts = {"fluency", "filter", "truth", "environment", "generator"}
    assert {(row["case"], row["name"]) for row in found} == {(p, part) for p in ("small", "base") for part in parts}
    for row in found:
        assert row["versions"]["textgym"] and row["machine"]["cores"] and row["seed"] == 0 and row["threads"] == 1
        assert row["measured"]["stories_per_second"] > 0 and row["config"]["plan"]["stories"] == 40
    assert platform.node() not in measured.read_text(encoding="utf-8")


def test_the_table_is_made_from_rows_alone(measured):
    rows = read(measured)
    for row in rows:
        row["measured"]["stories_per_second"] = 12_345.0
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(story_world.table(json.loads(json.dumps(rows))))
    text = console.export_text()
    assert text.count("12,345") == 30 and "20,000" in text and "generator" in text


def test_the_filter_is_given_all_that_the_reader_found():
    plan = Plan(stories=30)
    corpus = write("small", plan)
    seconds, found = fluency(corpus)
    sentences = sum(len(ended.rows) for ended in found)
    stop = corpus.world.lexicon.id_of(corpus.world.lexicon.stop)
    assert sentences == sum(int(np.count_nonzero(story == stop)) for story in corpus.stories)
    assert seconds > 0 and possible_worlds(corpus, found) > 0
