"""Validation of scorers: the statistics by hand, a small run of each part, and that the page shows its rows."""

import json
from pathlib import Path

import numpy as np
import pytest
from textgym.benchmarks.scorers.order import discriminate, read_tales
from textgym.benchmarks.scorers.people import _slots
from textgym.benchmarks.scorers.rows import mean_row, spearman_row, table
from textgym.benchmarks.scorers.speed import TIMED, speed_table, speeds
from textgym.benchmarks.scorers.truth import numeric_answers, sentiment, slots_of_references

from textgym.envs.tasks import make_task
from textgym.scorers import parse

DOCS = Path(__file__).parents[2] / "docs"


def test_a_mean_is_weighted_and_its_interval_holds_it() -> None:
    row = mean_row("d", "s", "accuracy", np.array([1.0, 0.0]), chance=0.5, weights=np.array([3.0, 1.0]))
    assert row.value == 0.75
    assert (row.low, row.high, row.n) == (0.0, 1.0, 2)
    same = mean_row("d", "s", "share", np.ones(5), chance=0.0)
    assert (same.value, same.low, same.high) == (1.0, 1.0, 1.0)


def test_spearman_is_that_of_scipy_over_the_rows_that_apply() -> None:
    from scipy.stats import spearmanr

    rng = np.random.default_rng(0)
    values, human = rng.integers(5, size=60).astype(float), rng.normal(size=60)
    values[:10] = np.nan
    row = spearman_row("d", "s", values, human)
    assert row.value == pytest.approx(spearmanr(values[10:], human[10:]).statistic)
    assert row.low < row.value < row.high
    assert row.n == 50
    assert spearman_row("d", "s", np.ones(60), human).value == 0


def test_order_is_discriminated_text_by_text(tiny_corpus: Path, tmp_path: Path) -> None:
    context = make_task(corpus=tiny_corpus, cache_dir=tmp_path).context
    tale = ["One is here.", "Two are there.", "Three went by.", "Four came home.", "Five slept."]
    ties = discriminate(parse("content_words").bind(context), [tale, tale[:4]], window=4, shuffles=3)
    assert ties.tolist() == [[0.5, 2.0], [0.5, 1.0]]
    assert discriminate(parse("coherence").bind(context), [tale], shuffles=2).shape == (1, 2)


def test_tales_are_read_by_their_document(tmp_path: Path) -> None:
    path = tmp_path / "tales.csv"
    path.write_text('document_id,text\na,"One, two."\nb,Three.\na,Four.\n', encoding="utf-8")
    assert read_tales(path) == [["One, two.", "Four."], ["Three."]]


def test_slots_of_a_dialogue_act() -> None:
    assert _slots("inform(name='red door cafe';food=dont_care;near='')") == [
        ("name", "red door cafe"),
        ("food", "dont_care"),
    ]


def test_answers_labels_and_slots_are_measured_on_real_text(data: Path, tmp_path: Path) -> None:
    rows = [*numeric_answers(data, 20), *slots_of_references(data, 30), *sentiment(data, tmp_path, 150)]
    assert {row.value for row in rows if row.scorer == "numeric"} == {1.0}
    (accuracy,) = (row for row in rows if row.scorer == "slots" and row.measure == "accuracy")
    assert accuracy.value > 0.9
    text = table([row.to_json() for row in rows])
    assert text.count("\n") == len(rows) + 1


def test_speed_has_a_row_for_each_scorer(tiny_corpus: Path, tmp_path: Path) -> None:
    context = make_task(corpus=tiny_corpus, cache_dir=tmp_path).context
    rows = list(speeds(context, rows=4, tokens=6, repeats=1))
    assert [row["scorer"] for row in rows[: len(TIMED)]] == list(TIMED)
    assert all(row["texts_per_cpu_second"] > 0 for row in rows[: len(TIMED)])
    assert {row["scorer"] for row in rows if "growth" in row} == {"fluency", "repetition"}
    assert speed_table(rows).count("| `") == len(TIMED)


def test_the_page_shows_the_rows_that_lie_beside_it() -> None:
    lines = (DOCS / "scorer-validation.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    page = (DOCS / "scorer-validation.md").read_text(encoding="utf-8")
    assert table([row for row in rows if "measure" in row]) in page
    assert speed_table([row for row in rows if "measure" not in row]) in page
