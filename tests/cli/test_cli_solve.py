import json
import subprocess
import sys

import pytest

import textgym as package
from textgym.oracle import solve

SMALL = ("--vocab-size", 3, "--horizon", 4)


def test_solve_prints_the_exact_answers_as_json(textgym):
    result = textgym("solve", "--world", "bigram", *SMALL, "--beta", 0.5, "--reference", "bigram", "--n", 8, "--json")
    found = json.loads(result.stdout)
    task = package.micro("bigram", vocab_size=3, horizon=4)
    solution = solve(task, beta=0.5, reference="bigram")
    law = solution.best_of_n(8, solution.reference_policy)
    due = {
        "value": solution.value,
        "soft_value": solution.soft_value,
        "kl": solution.kl,
        "expected_reward": solution.expected_reward,
        "optimal_completion": list(solution.optimal_completion),
        "states": 15,
        "texts": 31,
        "uniform_value": solution.uniform_value,
        "reward_threshold": pytest.approx(task.world.optimum.threshold),
        "optimal_tokens": ["a", "b", "b", "<eos>"],
        "best_of_n": {"n": 8, "expected_reward": law.expected_reward, "kl": law.kl, "kl_bound": law.bound},
        "gold": {},
    }
    assert {key: found[key] for key in due} == due
    assert found["kl"] == pytest.approx((found["expected_reward"] - found["soft_value"]) / 0.5)


@pytest.mark.parametrize("world", ["grammar", "gold-proxy", "random"])
def test_every_world_has_a_table_that_fits_into_eighty_columns(textgym, world):
    result = textgym("solve", "--world", world, *SMALL, "-n", 4)
    assert result.exit_code == 0
    head, *table = result.stdout.splitlines()
    assert head.startswith(f"{world} · 3 actions, horizon 4 · reward micro_") and "15 states, 31 texts" in head
    assert max(map(len, table)) <= 80
    shown = " ".join(result.stdout.split())
    for label in ("best return, V*", "uniform policy", "counts as solved", "soft value", "best of 4"):
        assert label in shown
    assert ("its gold quality -2.0000" in shown) == (world == "gold-proxy")


def test_draw_shows_the_tree(textgym):
    shown = textgym("solve", *SMALL, "--draw").stdout
    assert "├─ a      Q +2.0378  V +2.0378 *" in shown


def test_a_reward_and_a_discount_of_ones_own(textgym):
    found = json.loads(textgym("solve", *SMALL, "--reward", "length", "--gamma", 0.5, "--json").stdout)
    assert found["value"] == 1.0 and found["reward"] == "length"


def test_the_largest_world_is_refused_with_its_size_and_solved_by_states(textgym):
    arguments = ("solve", "--vocab-size", 20, "--horizon", 12, "--json")
    refused = textgym(*arguments)
    assert refused.exit_code == 1 and refused.stdout == ""
    for part in ("error: task", "122,961,939,948,120 states", "vocab_size", "horizon", "--merge"):
        assert part in refused.stderr
    found = json.loads(textgym(*arguments, "--merge").stdout)
    assert found["value"] == pytest.approx(package.micro(vocab_size=20, horizon=12).world.optimum.best)
    assert textgym("solve", *SMALL, "--limit", 20).exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--world", "bigrams"), 1, "unknown world 'bigrams'. Did you mean 'bigram'?"),
        (("--reference", "unifrom"), 1, "unknown reference 'unifrom'. Did you mean 'uniform'?"),
        (("--vocab-size", 2), 1, "vocab_size=2"),
        (("--beta", 0), 1, "beta=0"),
        (("--gamma", 2), 1, "gamma=2"),
        (("--n", 0), 1, "n=0"),
        (("--reward", "lenth"), 1, "Did you mean 'length'?"),
        (("--draw", "--json"), 2, "give one of them"),
        (("--horizon", "x"), 2, "unable to parse string as an integer"),
    ],
)
def test_what_cannot_be_solved_is_one_clear_error(textgym, arguments, code, message):
    result = textgym("solve", *SMALL, *arguments)
    assert result.exit_code == code and result.stdout == ""
    assert message in " ".join(result.stderr.replace("│", " ").split())


def test_solving_loads_no_torch():
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom textgym.cli.app import app\n"
        "assert CliRunner().invoke(app, ['solve', '--json']).exit_code == 0\n"
        "print([name for name in ('torch', 'sklearn', 'stable_baselines3') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
