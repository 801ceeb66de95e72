"""docs/agents.md: its Python runs as one session, its commands are understood, and its table has every agent."""

import contextlib
import io
import re
import shlex
from importlib.metadata import entry_points
from pathlib import Path

import typer
from typer.testing import CliRunner

from textgym.cli.app import app
from textgym.runs.agents import check_agent, environment_of
from textgym.sb3 import make_sb3_env

PAGE = (Path(__file__).parents[2] / "docs/agents.md").read_text(encoding="utf-8")


SMALLER = {"200_000": "500", "n_envs=64": "n_envs=8", 'task="story"': 'task="story", reward="repetition"'}
"""The default reward is fitted for a quarter of a minute."""


def test_its_python_runs_from_top_to_bottom(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    session: dict[str, object] = {}
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 4
    for block in blocks:
        for given, small in SMALLER.items():
            block = block.replace(given, small)
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(block, "example", "exec"), session)
        assert printed.getvalue().splitlines() == re.findall(r"^print\(.*\)  # (.*)$", block, re.MULTILINE)
    agent = session["build"](
        make_sb3_env(n_envs=8, task="story", reward="length", **session["build"].environment), "story-small", seed=0
    )
    agent.learn(100)
    assert (tmp_path / "metrics.jsonl").read_text().count("\n") >= 1


def test_its_commands_are_understood(monkeypatch):
    seen = []

    def checked(config, *rest, **options):
        seen.append((config, environment_of(check_agent(config), config)))
        raise typer.Exit

    monkeypatch.setattr("textgym.cli.train._run", checked)
    commands = re.findall(r"^textgym (train .*)$", PAGE, re.MULTILINE)
    for command in commands:
        result = CliRunner().invoke(app, shlex.split(command))
        assert result.exit_code == 0, result.stderr
    assert [config.agent for config, _ in seen] == ["rloo", "grpo", "best_of_n"]
    assert seen[1][0].settings == {"scale_advantages": False} and seen[1][1]["group_size"] == 16


def test_its_table_has_every_agent_of_this_package():
    rows = re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)
    own = {point.name for point in entry_points(group="textgym.agents") if point.value.startswith("textgym.")}
    assert set(rows) == own and len(rows) == len(own)
