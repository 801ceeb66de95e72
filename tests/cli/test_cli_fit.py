import json

import pytest

from textgym import scorers as s
from textgym.envs.taskless import TasklessContext

GOOD = [f"a warm and moving film, number {i}" for i in range(12)]
BAD = [f"a dull and lifeless film, number {i}" for i in range(12)]


@pytest.fixture
def reviews(jsonl):
    rows = [{"text": text, "label": label} for label, texts in (("good", GOOD), ("bad", BAD)) for text in texts]
    return jsonl(rows, "reviews.jsonl")


@pytest.fixture
def pairs(jsonl):
    rows = [
        {"prompt": f"p {i}", "chosen": good, "rejected": bad}
        for i, (good, bad) in enumerate(zip(GOOD, BAD, strict=True))
    ]
    return jsonl([*rows, *({**row, "prompt": row["prompt"] + " again"} for row in rows)], "pairs.jsonl")


def test_a_classifier_is_fitted_saved_and_used_by_the_expression_that_is_printed(textgym, reviews, tmp_path, jsonl):
    out = tmp_path / "model"
    result = textgym("fit", "classifier", "-i", reviews, "--out", out, "--json")
    assert result.exit_code == 0, result.stderr
    said = json.loads(result.stdout)
    assert said["labels"] == ["bad", "good"] and said["heldout"] == 4 and said["accuracy"] == 1.0
    assert said["expression"] == f"classifier('{out}', 'good')" and "cross-validating" in result.stderr
    scored = textgym(
        "score", said["expression"], "-i", jsonl([{"completion": "moving and warm"}, {"completion": "dull"}])
    )
    values = [json.loads(line)["score"] for line in scored.stdout.splitlines()]
    assert values[0] > 0.5 > values[1]


def test_a_file_may_hold_the_texts_of_one_label_a_line_each(textgym, tmp_path):
    for name, texts in (("yes.txt", GOOD), ("no=.txt", BAD)):
        (tmp_path / name).write_text("\n".join(texts))
    result = textgym(
        "fit", "classifier", "-i", f"fresh={tmp_path / 'yes.txt'}", "-i", f"rotten={tmp_path / 'no=.txt'}",
        "--out", tmp_path / "model", "--quiet",
    )  # fmt: skip
    assert result.exit_code == 0 and result.stderr == ""
    assert "fresh, rotten" in result.stdout and "accuracy 1.000" in result.stdout
    assert f"textgym score \"classifier('{tmp_path / 'model'}', 'rotten')\" --input FILE" in result.stdout


def test_a_table_may_name_its_columns_otherwise(textgym, tmp_path):
    rows = [f'"{text}",{stars}' for stars, texts in ((5, GOOD), (1, BAD)) for text in texts]
    (tmp_path / "reviews.csv").write_text("review,stars\n" + "\n".join(rows))
    arguments = ["fit", "classifier", "-i", tmp_path / "reviews.csv", "--text", "review", "--label", "stars", "--json"]
    assert json.loads(textgym(*arguments, "--out", tmp_path / "model").stdout)["labels"] == ["1", "5"]


@pytest.mark.parametrize("backend", ["linear", "transformer"])
def test_a_preference_model_is_fitted_to_pairs(textgym, pairs, tmp_path, backend):
    out = tmp_path / "model"
    result = textgym("fit", "preference", "-i", pairs, "--out", out, "--backend", backend, "--epochs", 8, "--json")
    assert result.exit_code == 0, result.stderr
    said = json.loads(result.stdout)
    assert said["rows"] + said["heldout"] == 24 and said["accuracy"] >= 0.5 and "calibration" in said
    values = s.parse(said["expression"]).score_texts([GOOD[0], BAD[0]], ["p 0"] * 2, context=TasklessContext())
    assert values[0] >= values[1]


def test_gold_may_label_the_pairs(textgym, tmp_path):
    result = textgym(
        "fit", "preference", "--task", "story", "--gold", "gold.quality", "--pairs", 40, "--out", tmp_path / "model"
    )
    assert result.exit_code == 0, result.stderr
    assert "story-small writes 40 pairs for gold.quality to label" in result.stderr
    assert "accuracy" in result.stdout and f"preference('{tmp_path / 'model'}')" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["classifier", "-i", "one=good.txt"], "there is 'one': give rows of at least two labels"),
        (["classifier", "-i", "good.txt"], "lines of one label are given as LABEL=FILE"),
        (["classifier", "-i", "empty.jsonl"], "holds no rows to learn from"),
        (["classifier", "-i", "nowhere.jsonl"], "cannot read nowhere.jsonl"),
        (["classifier", "-i", "a=good.txt", "-i", "b=few.txt"], "label 'b' has 2 rows, and 10 of each"),
        (["classifier", "-i", "reviews.jsonl", "--label", "stars"], "row 1 has no 'stars'"),
        (["preference", "-i", "reviews.jsonl"], "row 1 has no 'chosen'"),
        (["preference", "-i", "few.jsonl"], "1 pairs are too few"),
        (
            ["preference", "-i", "pairs.jsonl", "--backend", "transformer", "--size", "huge"],
            "unknown model size 'huge'",
        ),
        (["preference", "--gold", "nonsense", "--task", "story"], "unknown scorer 'nonsense'"),
    ],
)
def test_what_cannot_be_learned_from_is_said(textgym, reviews, pairs, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.txt").write_text("\n".join(GOOD))
    (tmp_path / "few.txt").write_text("one\ntwo")
    (tmp_path / "few.jsonl").write_text('{"chosen": "a", "rejected": "b"}')
    (tmp_path / "empty.jsonl").write_text("")
    result = textgym("fit", *arguments, "--out", "model", "--quiet")
    assert result.exit_code == 1 and message in " ".join(result.stderr.split()), result.stderr


def test_pairs_come_from_a_file_or_from_gold(textgym, pairs, tmp_path):
    for arguments in ([], ["-i", pairs, "--gold", "length"]):
        result = textgym("fit", "preference", *arguments, "--out", tmp_path / "model")
        assert result.exit_code == 2 and "--gold SPEC" in result.stderr


def test_a_folder_that_is_not_empty_is_left_alone(textgym, reviews, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine").write_text("x")
    result = textgym("fit", "classifier", "-i", reviews, "--out", tmp_path / "model")
    assert result.exit_code == 1 and "is there already and not empty" in " ".join(result.stderr.split())
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["mine"]
