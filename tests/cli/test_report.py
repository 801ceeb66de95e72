"""`textgym report`: page and tables from rows alone, of one folder or of several."""

import csv
import json
import shutil

import pytest
from textgym.benchmarks.rewards.simulated import Simulated, rows

from textgym.reports.results import Results, read_rows

DESIGNS = (Simulated("mine", gold=0.2, proxy=1.0), Simulated("theirs", "length", gold=-0.1, proxy=1.0, length=0.5))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder of rows: two designs and what they are compared with."""
    folder = tmp_path_factory.mktemp("results")
    for row in rows(DESIGNS, prompts=20):
        Results(folder).append(row)
    return folder


@pytest.fixture
def results(saved, tmp_path):
    """A copy of it."""
    return shutil.copytree(saved, tmp_path / "results")


def test_rows_alone_make_page_and_tables(textgym, results):
    before = (results / "rows.jsonl").read_bytes()
    result = textgym("report", results)
    assert result.exit_code == 0, result.stderr
    assert (results / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    tables = list((results / "tables").glob("*.csv"))
    assert tables and all(len(list(csv.reader(path.read_text("utf-8").splitlines()))) > 1 for path in tables)
    assert (results / "rows.jsonl").read_bytes() == before
    assert "mine" in result.stdout and str(results) in result.stdout.replace("\n", "")


def test_the_same_rows_make_the_same_report(textgym, results):
    def made():
        assert textgym("report", results).exit_code == 0
        return {path.name: path.read_bytes() for path in (results / "report.html", *(results / "tables").iterdir())}

    assert made() == made()


def test_tables_of_an_earlier_report_are_taken_away(textgym, results):
    (results / "tables").mkdir()
    (results / "tables" / "gone.csv").touch()
    (results / "tables" / "notes.txt").touch()
    assert textgym("report", results).exit_code == 0
    assert not (results / "tables" / "gone.csv").exists() and (results / "tables" / "notes.txt").exists()


def test_json_says_what_the_report_comes_to_and_where_it_is(textgym, results, tmp_path):
    told = json.loads(textgym("report", results, "--out", tmp_path / "there", "--json").stdout)
    assert told["title"] and told["summary"] and told["facts"]
    assert told["page"] == str(tmp_path / "there" / "report.html")
    assert told["tables"] == sorted(str(path) for path in (tmp_path / "there" / "tables").iterdir())
    assert not (results / "report.html").exists() and not (tmp_path / "there" / "rows.jsonl").exists()


def test_several_folders_make_one_report_with_all_their_rows(textgym, results, tmp_path):
    first, second, both = tmp_path / "first", tmp_path / "second", tmp_path / "both"
    for place, row in enumerate(read_rows(results)):
        Results(first).append(row)
        if place % 2:
            Results(second).append(row)
    own = next(iter(rows([Simulated("own")], prompts=20, seed=9)))
    Results(second).append(own | {"key": "0" * 16})
    assert textgym("report", first, second, "--out", both).exit_code == 0
    keys = [row["key"] for row in read_rows(both)]
    assert len(keys) == len(set(keys)) and set(keys) == {row["key"] for row in read_rows(first)} | {"0" * 16}
    assert (both / "report.html").exists() and not (first / "report.html").exists()


def test_one_of_the_folders_may_take_the_rows_of_the_others(textgym, results, tmp_path):
    own = next(iter(rows([Simulated("own")], prompts=20, seed=9)))
    Results(tmp_path / "second").append(own | {"key": "0" * 16})
    count = len(list(read_rows(results)))
    assert textgym("report", results, tmp_path / "second", "--out", results).exit_code == 0
    assert len(list(read_rows(results))) == count + 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["results", "results"], "say where, --out DIR"),
        (["results", "--out", "page.html"], "name a folder"),
        (["nowhere"], "nowhere"),
        (["results", "--out", "results/rows.jsonl"], "name a folder"),
    ],
)
def test_what_cannot_be_done_is_said(textgym, results, monkeypatch, arguments, message):
    monkeypatch.chdir(results.parent)
    result = textgym("report", *arguments)
    assert result.exit_code == 1 and result.stderr.startswith("error: ") and message in result.stderr


def test_an_unreadable_row_is_told_with_its_number(textgym, results):
    lines = (results / "rows.jsonl").read_bytes().splitlines(keepends=True)
    (results / "rows.jsonl").write_bytes(lines[0] + b"{broken\n" + b"".join(lines[1:]))
    result = textgym("report", results)
    assert result.exit_code == 1 and "rows.jsonl, line 2" in result.stderr.replace("\n", " ")
    assert not (results / "report.html").exists()


def test_a_page_that_cannot_be_written_leaves_the_earlier_one(textgym, results, monkeypatch):
    from textgym.text import store

    (results / "report.html").write_text("earlier")

    def full(path, data):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(store, "write_atomic", full)
    result = textgym("report", results)
    assert result.exit_code == 1 and "No space left on device" in result.stderr
    assert (results / "report.html").read_text() == "earlier"
