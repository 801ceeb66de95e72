"""What the builder of an agent takes, and what is said of a setting that it does not."""

import json
from importlib.metadata import EntryPoint

import numpy as np
import pytest
from stable_baselines3 import DQN, PPO
from typer.testing import CliRunner

from textgym.cli.app import app
from textgym.errors import MissingExtraError, TaskError, UnknownNameError
from textgym.runs import agents
from textgym.runs.agents import agent_builder, build_agent, check_agent, environment_of, settings_of
from textgym.runs.config import DEFAULT_KL, TrainConfig
from textgym.runs.train import train


def handing_on(env, model, *, depth: int = 2, **settings) -> PPO:
    """A builder that hands settings on."""
    return settings


def closed(env, model, *, width: int = 4, seed: int | None = None) -> PPO:
    """A builder that takes two settings."""
    return {"width": width, "seed": seed}


def greedy(env, model, *, kl_coef: float = 0.0, **settings) -> DQN:
    """A builder of what has no distribution."""
    return settings


def unknown(env, model, **settings):
    """A builder that does not say what it returns."""
    return settings


def refusing(env, model, *, width: int = 4) -> PPO:
    """A builder that refuses, as algorithms of Stable-Baselines3 do."""
    assert width > 1, "width must be greater than 1"


@pytest.fixture
def installed(monkeypatch):
    """Agents of other packages, by entry point."""

    def install(**values):
        points = [EntryPoint(name.rstrip("_"), value, "textgym.agents") for name, value in values.items()]
        monkeypatch.setattr(agents, "entry_points", lambda group: points)

    return install


def test_the_settings_are_those_of_builder_algorithm_and_make_agent():
    found = settings_of(handing_on)
    assert found["depth"] == 2 and found["n_epochs"] == 10 and found["kl_coef"] == 0.0
    assert "self" not in found and "env" in found  # which no run lets a user set
    assert settings_of(closed) == {"width": 4, "seed": None}
    assert settings_of(unknown) is None


def test_an_agent_that_is_greedy_by_value_has_no_kl_penalty():
    found = settings_of(greedy)
    assert "buffer_size" in found and not {"kl_coef", "kl_target", "kl_in"} & found.keys()


def test_the_penalty_is_there_by_default_where_there_can_be_one():
    config = TrainConfig(agent="x", seed=3)
    assert build_agent(handing_on, None, "m", config) == {"seed": 3, "device": "cpu", "kl_coef": DEFAULT_KL}
    assert build_agent(closed, None, "m", config) == {"width": 4, "seed": 3}
    assert build_agent(greedy, None, "m", config) == {"seed": 3, "device": "cpu"}
    off = TrainConfig(agent="x", kl=0.0, settings={"n_epochs": 2}, temperature=0.7)
    expected = {"seed": 0, "device": "cpu", "kl_coef": 0.0, "n_epochs": 2, "temperature": 0.7}
    assert build_agent(handing_on, None, "m", off) == expected


@pytest.mark.parametrize(
    ("builder", "settings", "said"),
    [
        (handing_on, {"settings": {"n_epoch": 2}}, r"agent x has no setting 'n_epoch'\. Did you mean 'n_epochs'\?"),
        (closed, {"settings": {"depth": 2}}, r"agent x has no setting 'depth'\. Did you mean 'width'"),
        (closed, {"kl": 0.1}, "agent x has nothing that --kl could set"),
        (closed, {"learning_rate": 0.1}, "agent x has nothing that --learning-rate could set"),
        (closed, {"reference_every": 2}, "agent x has no reference that --reference-every could refresh"),
        (handing_on, {"settings": {"kl_coef": 1}}, "setting 'kl_coef' of an agent has an option of its own: --kl"),
        (handing_on, {"settings": {"seed": 1}}, "setting 'seed' of an agent is decided by the run itself"),
        (refusing, {"settings": {"width": 1}}, "agent x cannot be made with width=1: width must be greater than 1"),
    ],
)
def test_a_setting_that_an_agent_does_not_take_is_named(builder, settings, said):
    with pytest.raises(TaskError, match=said):
        build_agent(builder, None, "m", TrainConfig(agent="x", **settings))


def test_what_an_agent_needs_of_its_environment_gives_way_to_what_was_asked_for():
    def build(env, model): ...

    build.environment = {"group_size": 8, "autoreset": False}
    assert environment_of(build, TrainConfig()) == {"group_size": 8, "autoreset": False}
    config = TrainConfig(group_size=4, constraint={"min_new_tokens": 2})
    assert environment_of(build, config) == {"group_size": 4, "autoreset": False, "constraint": {"min_new_tokens": 2}}


def test_a_package_that_is_broken_is_named_and_breaks_nothing_else(installed):
    installed(good="textgym.agents.ppo:build", bad="no_such_package:build", odd="textgym.runs.config:DEFAULT_KL")
    assert agent_builder("good").__module__ == "textgym.agents.ppo"
    with pytest.raises(TaskError, match=r"agent 'bad' of the package unknown \(no_such_package:build\) cannot be used"):
        agent_builder("bad")
    with pytest.raises(TaskError, match=r"agent 'odd' .* is no function: build\(env, model, \*\*settings\)"):
        check_agent(TrainConfig(agent="odd"))
    with pytest.raises(UnknownNameError, match=r"unknown agent 'god'\. Did you mean 'good'\?"):
        agent_builder("god")
    installed(twice="textgym.agents.ppo:build", twice_="textgym.agents.a2c:build")
    with pytest.raises(TaskError, match="agent 'twice' comes from 2 packages"):
        agent_builder("twice")


def test_a_missing_extra_is_said_as_it_is(installed, monkeypatch):
    def load(point):
        raise MissingExtraError("sb3-contrib", "contrib", "TRPO")

    installed(trpo="textgym.agents.ppo:build")
    monkeypatch.setattr(EntryPoint, "load", load)
    with pytest.raises(MissingExtraError, match=r"^TRPO needs sb3-contrib"):
        agent_builder("trpo")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"group_size": 0}, "group_size=0 must be at least 1"),
        ({"reference_every": 0}, "reference_every=0 must be at least 1"),
        ({"temperature": 0.0}, "temperature=0.0 divides the logits"),
        ({"kl_in": "rewards"}, "kl_in='rewards': one of reward, loss"),
        ({"kl_estimator": "k4"}, "kl_estimator='k4': one of k1, k2, k3, full"),
        ({"kl": 0.0, "kl_target": 1.0}, "kl_target=1.0 with kl=0.0"),
    ],
)
def test_a_configuration_out_of_range_is_an_error(settings, said):
    with pytest.raises(TaskError, match=said):
        TrainConfig(**settings)


# --- on the command line ---------------------------------------------------------------------------------------------


TINY = ["--tokenizer", "word", "--max-new-tokens", "6", "--model-size", "tiny", "--pretrain-tokens", "500"]
TINY += ["--steps", "128", "--envs", "8", "--eval-prompts", "8", "--quiet"]


@pytest.fixture
def run(tiny_corpus, tmp_path, monkeypatch):
    monkeypatch.setattr("textgym.runs.train.draw_curve", lambda *paths: None)

    def run(*options, out="run"):
        words = ["train", "--corpus", str(tiny_corpus), *TINY, "--out", str(tmp_path / out), *options]
        return CliRunner().invoke(app, words), tmp_path / out

    return run


def test_settings_are_typed_as_json_and_stand_in_the_summary(run):
    options = ["--agent", "best_of_n", "--set", "n=3", "--set", "n_steps=8", "--constraint", "min_new_tokens=4"]
    result, out = run(*options, "--constraint", '{"banned": ["fox"]}')
    assert result.exit_code == 0, result.stderr
    summary = json.loads((out / "summary.json").read_text())
    assert summary["config"]["settings"] == {"n": 3, "n_steps": 8}
    assert summary["config"]["constraint"] == {"min_new_tokens": 4, "banned": ["fox"]}
    assert summary["kl_bound"] == pytest.approx(np.log(3) - 2 / 3)
    assert "at most 0.43 nats a text from the starting model" in result.stdout
    samples = [json.loads(line) for line in (out / "samples.jsonl").read_text().splitlines()]
    assert all(row[part] and "fox" not in row[part] for row in samples for part in ("before", "after"))
    assert summary["before"]["length"] >= 3 and summary["after"]["length"] >= 3
    assert "kl" in summary["before"] and "kl" not in summary["after"]  # what is chosen is not what the network draws
    resumed = CliRunner().invoke(app, ["train", "--resume", "--out", str(out), "--set", "n=4"])
    assert resumed.exit_code == 1 and "finished" in resumed.stderr


def test_a_run_is_resumed_with_its_own_settings_only(run, tiny_corpus):
    _, out = run("--agent", "greedy", "--set", "n_steps=8")
    (out / "summary.json").unlink()
    before = ["train", "--resume", "--out", str(out), "--quiet"]
    other = CliRunner().invoke(app, [*before, "--set", "n_steps=4"])
    assert other.exit_code == 1 and "was begun with settings={'n_steps': 8}, not {'n_steps': 4}" in other.stderr
    assert CliRunner().invoke(app, before).exit_code == 0


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--set", "n_epoch=2"], 1, "agent ppo has no setting 'n_epoch'. Did you mean 'n_epochs'?"),
        (["--agent", "best_of_n", "--set", "n=0"], 1, "n=0: the best of at least 1 text is kept"),
        (["--agent", "ppo", "--set", "n_steps=-3"], 1, "agent ppo cannot be made with"),
        (["--agent", "greedy", "--kl", "0.5"], 1, "agent greedy has nothing that --kl could set"),
        (["--agent", "dqn", "--kl-in", "loss"], 1, "agent dqn has nothing that --kl-in could set"),
        (["--agent", "greedy", "--reference-every", "2"], 1, "no reference that --reference-every could refresh"),
        (["--set", "n_epochs"], 2, "NAME=VALUE is needed"),
        (["--set", "n_epochs=1", "--set", "n_epochs=2"], 2, "'n_epochs' is given twice"),
        (["--constraint", "{banned"], 2, "no JSON object"),
        (["--constraint", "min_tokens=3"], 1, "min_tokens"),
        (["--group-size", "3"], 1, "group_size=3"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_meant_is_one_message(run, options, code, said):
    result, _ = run(*options)
    assert result.exit_code == code, result.stdout
    assert said in " ".join(result.stderr.replace("│", " ").split()) and "Traceback" not in result.stderr


def test_the_list_names_each_agent_with_a_line_and_its_paper(installed, monkeypatch):
    rows = json.loads(CliRunner().invoke(app, ["list", "agents", "--json"]).stdout)["agents"]
    found = {row["name"]: row for row in rows}
    assert found["best_of_n"]["paper"] == "Stiennon et al. 2020" and found["ppo"]["paper"] == "Schulman et al. 2017"
    assert all(row["description"] for row in rows)
    points = [
        EntryPoint("bad", "no.such.package:build", "textgym.agents"),
        EntryPoint("ppo", "textgym.agents.ppo:build", "x"),
    ]
    monkeypatch.setattr("textgym.cli.list.entry_points", lambda group: points)
    shown = CliRunner().invoke(app, ["list", "agents"])
    assert shown.exit_code == 0 and "no.such.package:build cannot be used" in shown.stdout and "PPO" in shown.stdout


def test_an_agent_of_another_package_is_trained(installed, tiny_corpus, tmp_path, monkeypatch):
    installed(theirs="textgym.agents.random:build")
    monkeypatch.setattr("textgym.runs.train.draw_curve", lambda *paths: None)
    tiny = TrainConfig(corpus=str(tiny_corpus), agent="theirs", tokenizer="word", max_new_tokens=4, model_size="tiny")
    result = train(
        TrainConfig(**{**tiny.to_dict(), "pretrain_tokens": 300, "steps": 64, "envs": 4, "eval_prompts": 4}),
        tmp_path / "run",
    )
    assert "kl" not in result.summary["after"] and not (tmp_path / "run" / "model").exists()
