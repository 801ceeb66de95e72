"""The whole report: its summary, what rows cannot support, what is missing, and tables as files."""

import csv
import io
import json
import re

import pytest
from textgym.benchmarks.rewards.simulated import Simulated, rows

from textgym.reports.blocks import Column, Interval, Report, Section, Table
from textgym.reports.rewards.report import ANALYSES, rewards_report, tables_csv

DESIGNS = [
    Simulated("good", gold=0.1, proxy=1, kl=3),
    Simulated("hacked", "keywords", gold=-0.2, proxy=2, kl=12),
    Simulated("truth", "gold.quality", gold=0.4, proxy=3, kl=6),
]


def told_of(designs=DESIGNS, **settings):
    return json.loads(json.dumps(list(rows(designs, **settings))))


@pytest.fixture(scope="module")
def told():
    return told_of(checkpoints=2, seeds=5, prompts=100, texts=1)


@pytest.fixture(scope="module")
def report(told):
    return rewards_report(told)


def words(report):
    return " ".join(report.summary)


def test_the_summary_says_who_is_best_by_how_much_at_what_kl_and_who_was_hacked(report):
    first, second, third = report.summary[:3]
    assert re.match(r"truth is best, with gold quality (0\.9|1\.0)\d \[", first)
    assert " nats. good comes next" in first and "certainty above 0.99" in first
    assert second.startswith("Of rewards that need no truth: good is best, with gold quality")
    assert third.startswith("Hacked") and re.search(r"hacked \(gold -0\.(1[89]|2)", third)


def test_nobody_is_called_best_who_is_not_for_certain(brief):
    same = [Simulated("one", gold=0.1, proxy=1), Simulated("two", gold=0.1, proxy=1)]
    first = rewards_report(told_of(same, seeds=2)).summary[0]
    assert "has the highest gold quality 0." in first and "that is not certain" in first
    alone = rewards_report(told_of(same[:1])).summary[0]
    assert alone.startswith("one has gold quality") and "comes next" not in alone


def test_what_rows_cannot_support_is_said(report, brief):
    cannot = [sentence for sentence in report.summary if sentence.startswith("These rows cannot say")]
    assert len(cannot) == 1 and re.search(r"same KL: they ended at \d\.\d to 1\d", cannot[0])
    quick = words(rewards_report(told_of(prompts=40)))
    assert "its texts and hold for it alone" in quick and "all runs began as one checkpoint" in quick
    assert "40 held-out briefs" in quick
    assert "to 5 runs" not in quick


@pytest.fixture
def brief(monkeypatch):
    """Reports without sections, where the summary is what matters."""
    monkeypatch.setattr("textgym.reports.rewards.report.ANALYSES", {})


def test_designs_that_differ_in_more_than_the_reward_are_told(told, brief):
    changed = json.loads(json.dumps(told))
    for row in changed:
        if row["job"]["design"] == "hacked":
            row["job"] |= {"agent": "ppo", "tokens": 5}
    assert "designs differ in agent and tokens too" in words(rewards_report(changed))


def test_the_same_rows_and_seed_give_the_same_report(monkeypatch):
    """Pictures included; every analysis takes its draws from the seed alone."""
    kept = {analysis: "" for analysis in ANALYSES if analysis.__name__ in ("leaderboard", "length_share", "matrix")}
    monkeypatch.setattr("textgym.reports.rewards.report.ANALYSES", kept)
    told = told_of(seeds=2, texts=0)
    assert rewards_report(told) == rewards_report(json.loads(json.dumps(told)))


def test_another_seed_gives_other_intervals_about_the_same_figures(told, report, brief):
    other = rewards_report(told, seed=1)
    assert other.summary != report.summary and other.facts["seed of intervals"] == "1"
    assert other.summary[0].split("[")[0] == report.summary[0].split("[")[0]


def test_no_rows_and_yardsticks_alone_give_a_report_that_says_so():
    empty = rewards_report([])
    assert empty.summary == ["These rows hold no finished run of a design."]
    bare = rewards_report(told_of([]))
    assert bare.summary == empty.summary
    missing = bare.sections[-1]
    assert missing.name == "missing" and "A leaderboard needs runs" in " ".join(missing.text)


def test_each_analysis_is_in_the_report_or_said_to_be_missing(report):
    names = {section.name for section in report.sections}
    assert {"alarms", "leaderboard", "pairs", "matrix", "length", "axes", "curves", "stories", "missing"} <= names
    assert len(report.sections) - 1 + len(report.sections[-1].text) == len(ANALYSES)


def test_failed_jobs_are_counted_and_listed_with_what_happened(told, brief):
    failed = {name: told[-1][name] for name in ("format", "key", "versions")}
    failed |= {"job": told[-1]["job"] | {"seed": 99}, "failure": "out of <memory>"}
    found = rewards_report([*told, failed])
    assert "1 job failed" in words(found)
    assert found.sections[-1].blocks[0].rows == [["truth", "designs", 1, 99, "out of <memory>"]]


def test_sections_of_a_second_task_have_names_of_their_own(told):
    other = [row | {"job": row["job"] | {"task": "影评 2"}} for row in told_of()]
    found = rewards_report([*told_of(), *other])
    names = [section.name for section in found.sections]
    assert len(set(names)) == len(names) and "leaderboard" in names and "leaderboard-b" in names
    assert any(sentence.startswith("On 影评 2: truth is best") for sentence in found.summary)


def test_a_further_task_without_designs_is_told_by_what_it_has_and_misses_nothing():
    learned = [
        Simulated("few labels", "classifier", gold=0.1 * d - 0.08 * d * d, kl=d * d, experiment="sentiment",
                  variant={"labels": 100, "beta": 1 / d})
        for d in (0.5, 1.0, 1.5, 2.0, 3.0)
    ]  # fmt: skip
    found = rewards_report([*told_of(texts=0), *told_of(learned, task="reviews", texts=0, prompts=200)])
    [peak] = [sentence for sentence in found.summary if "became less of the truth" in sentence]
    assert peak.startswith("On reviews") and "few labels beyond 0." in peak
    assert not any(sentence.startswith("reviews:") for sentence in found.sections[-1].text)


def test_rows_of_several_versions_are_told(told, brief):
    mixed = [row | {"versions": {"textgym": str(place % 2)}} for place, row in enumerate(told)]
    found = rewards_report(mixed)
    assert "several sets of versions" in " ".join(found.sections[-1].text) and "versions, set 2" in found.facts


def test_tables_are_written_with_ends_and_marks_in_columns_of_their_own():
    table = Table(
        "A table.",
        [Column("design"), Column("gold"), Column("runs")],
        [["a, b", Interval(0.5, 0.25, 0.75), 3], ['"c"', None, 1]],
        {(0, 1): "hacked"},
    )
    report = Report("", [], [Section("one", "", (), [table, table])])
    found = tables_csv(report)
    assert list(found) == ["one", "one-2"]
    read = list(csv.DictReader(io.StringIO(found["one"])))
    assert read[0] == {"design": "a, b", "gold": "0.5", "gold low": "0.25", "gold high": "0.75",
                       "gold mark": "hacked", "runs": "3"}  # fmt: skip
    assert read[1]["design"] == '"c"' and read[1]["gold"] == read[1]["gold mark"] == ""


def test_every_table_of_a_report_becomes_a_rectangle(report):
    for text in tables_csv(report).values():
        assert len({len(row) for row in csv.reader(io.StringIO(text))}) == 1


def test_a_name_that_a_spreadsheet_would_compute_is_text_in_a_table():
    table = Table("A table.", [Column("design"), Column("gold")], [["=1+1", -0.5], ["-length", 1.0]])
    [text] = tables_csv(Report("", [], [Section("one", "", (), [table])])).values()
    assert [row[0] for row in csv.reader(io.StringIO(text))][1:] == ["'=1+1", "'-length"]
    assert "-0.5" in text and "'-0.5" not in text
