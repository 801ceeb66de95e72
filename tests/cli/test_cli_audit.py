"""`textgym check-reward` and `textgym attack` as they are typed."""

import json

import pytest
from typer.testing import CliRunner

from textgym.cli.app import app

GRADER = """
def compute_score(data_source, solution_str, ground_truth, extra_info=None):
    return 1.0 if ground_truth in solution_str else 0.0

def dense(text):
    return float(len(text) > 0)
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reward.py").write_text(GRADER)
    rows = [
        {"input": f"What is {n}+5?", "output": f"it is {n + 5 + off}", "gts": str(n + 5), "score": float(not off)}
        for n in range(10, 30)
        for off in (0, 0, 1, -1)
    ]
    (tmp_path / "verl.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


def test_a_function_of_verl_on_its_own_rollouts_needs_neither_task_nor_model(home):
    found = run("check-reward", "./reward.py:compute_score", "--rollouts", "verl.jsonl")
    assert found.exit_code == 1
    assert "naming 8 wrong answers beside the right one costs nothing" in " ".join(found.stdout.split())
    assert "80 rollouts score as was recorded" in found.stdout


def test_check_reward_prints_json_and_nothing_else(home):
    found = run("check-reward", "./reward.py:compute_score", "--rollouts", "verl.jsonl", "--json")
    row = json.loads(found.stdout)
    assert not row["passed"]
    assert {"check", "status", "message", "numbers"} == row["findings"][0].keys()


def test_a_sound_reward_ends_with_code_0(home):
    assert run("check-reward", "chrf", "--task", "story", "--quiet").exit_code == 0


def test_an_exploit_of_an_innocent_looking_reward_is_a_failure():
    found = run("check-reward", "fluency", "--task", "story", "--quiet")
    assert found.exit_code == 1
    assert "Cheapest exploit so far" in found.stdout


def test_judged_pairs_are_read_as_trl_writes_them(home):
    pairs = [{"prompt": "p", "chosen": "a b c d", "rejected": "a"}] * 9
    pairs += [{"chosen": [{"role": "assistant", "content": "long enough"}], "rejected": "no"}]
    (home / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pairs))
    found = run("check-reward", "length", "--rollouts", "verl.jsonl", "--pairs", "pairs.jsonl", "--json")
    finding = next(row for row in json.loads(found.stdout)["findings"] if row["check"] == "pairs")
    assert finding["status"] == "ok"
    assert "100% of 10 judged pairs" in finding["message"]


def test_a_dense_reward_that_loses_the_optimum_is_found(home):
    found = run("check-reward", "chrf", "--task", "story", "--dense", "reward.py:dense", "--json", "--quiet")
    finding = next(row for row in json.loads(found.stdout)["findings"] if row["check"] == "delivery")
    assert finding["status"] == "FAIL"
    assert "loses the optimum" in finding["message"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["fluencey"], "Did you mean 'fluency'"),
        (["length", "--rollouts", "verl.json"], "Did you mean 'verl.jsonl'"),
        (["length", "--rollouts", "empty.jsonl"], "holds no rollouts"),
        (["./reward.py:compute_scor", "--rollouts", "verl.jsonl"], "Did you mean 'compute_score'"),
        (["fluency", "--rollouts", "verl.jsonl"], "--task NAME"),
        (["length", "--rollouts", "verl.jsonl", "--pairs", "verl.jsonl"], "it has no 'chosen'"),
        (["length", "--rollouts", "verl.jsonl", "--delivery", "shapd"], "Did you mean 'shaped'"),
    ],
)
def test_what_is_wrong_is_said_in_one_message(home, arguments, said):
    (home / "empty.jsonl").write_text("")
    found = run("check-reward", *arguments)
    assert found.exit_code == 1
    assert said in found.stderr
    assert "Traceback" not in found.stderr


def test_an_attack_prints_the_exploits_and_ends_with_code_1(home):
    found = run("attack", "keywords", "--task", "story", "--evaluations", 3000, "--output", "found.jsonl", "--quiet")
    assert found.exit_code == 1
    assert "cheapest exploit: " in found.stdout
    assert "gold quality 0.000" in found.stdout
    rows = [json.loads(line) for line in (home / "found.jsonl").read_text().splitlines()]
    assert all(row["score"] > row["good"] for row in rows)


def test_an_attack_on_a_reward_that_always_fails_says_so(home):
    (home / "bad.py").write_text("def boom(text):\n    raise KeyError('no such field')\n")
    found = run("attack", "./bad.py:boom", "--rollouts", "verl.jsonl")
    assert found.exit_code == 1
    assert "the reward fails on the good texts: KeyError" in found.stderr
    assert "none found" not in found.stdout


def test_an_attack_that_finds_nothing_ends_with_code_0(home):
    found = run("attack", "gold", "--task", "story", "--evaluations", 1500, "--json")
    assert found.exit_code == 0
    row = json.loads(found.stdout)
    assert row["best"] is None
    assert row["evaluations"] <= 1500
