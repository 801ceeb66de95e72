"""`textgym rescore`, on a run of `textgym train` and on dumps of other trainers."""

import json

import pytest
from typer.testing import CliRunner

from textgym.cli.app import app

RUN = (
    "--pretrain-tokens",
    10_000,
    "--steps",
    1000,
    "--eval-prompts",
    12,
    "--tokenizer",
    "word",
    "--max-new-tokens",
    12,
)
SPEC = "fluency - repetition(n=2)"


@pytest.fixture(scope="module")
def run(tiny_corpus, tmp_path_factory):
    """A finished run."""
    out = tmp_path_factory.mktemp("rescore") / "run"
    command = ["train", "--corpus", tiny_corpus, "--reward", SPEC, *RUN, "--envs", 16, "--out", out, "--quiet"]
    result = CliRunner().invoke(app, [*map(str, command)])
    assert result.exit_code == 0, result.stderr
    return out


def test_a_run_under_its_own_reward_is_what_it_was(textgym, run):
    result = textgym("rescore", run, "--reward", SPEC, "--json")
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    assert told["texts"] == told["recorded"] == told["applicable"] == 24
    assert told["agreement"]["spearman"] == pytest.approx(1)
    assert told["progress"]["new"] == told["progress"]["old"]
    summary = json.loads((run / "summary.json").read_text())
    assert told["progress"]["new"]["before"] == pytest.approx(summary["before"]["reward"])
    assert told["progress"]["new"]["after"] == pytest.approx(summary["after"]["reward"])
    assert told["components"]["fluency"]["after"] == pytest.approx(summary["after"]["reward/fluency"])
    assert told["rise"] == told["fall"] == []


def test_another_reward_is_compared_in_a_table(textgym, run):
    result = textgym("rescore", run, "--reward", "length - 2*distinct")
    assert result.exit_code == 0, result.stderr
    for part in ("24 in", f"old       {SPEC}", "new       length - 2*distinct", "old reward", "  distinct"):
        assert part in result.stdout
    for part in ("over all: Spearman", "within ", "another text is the best of", "rise most", "fall most"):
        assert part in result.stdout
    assert max(map(len, result.stdout.splitlines()[2:])) <= 80


def test_another_tokenizer_reads_the_texts_anew(textgym, run):
    result = textgym("rescore", run, "--reward", "length", "--tokenizer", "char", "--json")
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    assert told["components"]["length"]["mean"] > 12  # characters: words are 12 at most


def test_a_dump_of_verl_needs_no_task(textgym, tmp_path):
    dump = tmp_path / "rollouts"
    dump.mkdir()
    for step in (1, 2):
        rows = [
            {"input": f"q{i}", "output": "so " * (i + step), "gts": "x", "score": -i, "step": step} for i in range(5)
        ]
        (dump / f"{step}.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    told = json.loads(textgym("rescore", dump, "--reward", "length", "--json").stdout)
    assert told["texts"] == 10
    assert told["progress"]["new"]["verdict"] in ("progress", "no certain change")
    assert told["agreement"]["spearman"] < 0


def test_rollouts_without_rewards_are_only_scored(textgym, jsonl):
    result = textgym("rescore", jsonl([{"completion": "one two"}, {"completion": "three"}]), "--reward", "length")
    assert result.exit_code == 0
    assert "no reward was recorded" in result.stdout
    assert "2 without a recorded reward" in result.stdout


@pytest.mark.parametrize(
    ("where", "arguments", "message"),
    [
        ("empty", ["--reward", "length"], "holds no rollouts"),
        ("nowhere", ["--reward", "fluency"], "no such file"),
        ("run", ["--reward", "lenght"], "Did you mean 'length'"),
        ("run", ["--reward", "length", "--task", "docstring"], "Did you mean 'docstrings'"),
        ("file", ["--reward", "fluency"], "--task NAME"),
        ("bad", ["--reward", "length"], "line 2: it is no JSON"),
    ],
)
def test_bad_input_is_one_line(textgym, run, jsonl, tmp_path, where, arguments, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.jsonl").write_text('{"completion": "a"}\n{\n')
    places = {"run": run, "file": jsonl([{"completion": "a"}]), "bad": tmp_path / "bad.jsonl"}
    result = textgym("rescore", places.get(where, tmp_path / where), *arguments)
    assert result.exit_code == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_a_task_that_changed_is_said(textgym, run, tmp_path):
    summary = json.loads((run / "summary.json").read_text())
    other = tmp_path / "run"
    other.mkdir()
    (other / "summary.json").write_text(json.dumps({**summary, "task_signature": "other"}))
    (other / "episodes.jsonl").write_bytes((run / "episodes.jsonl").read_bytes())
    result = textgym("rescore", other, "--reward", "length", "--json", "--quiet")
    assert result.exit_code == 0
    assert "no longer what the run was trained on" in result.stderr
