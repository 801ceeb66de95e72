"""What docs/language-models-as-scorers.md shows runs as it stands, with a small model where it says gpt2."""

import re
import shlex
from pathlib import Path

import hf_samples
from typer.testing import CliRunner

from textgym.cli.app import app
from textgym.scorers import parse

PAGE = (Path(__file__).parents[2] / "docs/language-models-as-scorers.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"```(python|console)\n(.*?)```", re.DOTALL)


def test_the_examples_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    hf_samples.gpt2(tmp_path / "gpt2")
    (tmp_path / "stories.jsonl").write_text('{"completion": "The cat sat."}\n{"completion": ""}\n')
    blocks = BLOCK.findall(PAGE)
    assert [kind for kind, _ in blocks] == ["console", "python", "python"]
    for kind, block in blocks:
        if kind == "python":
            exec(compile(block, "example", "exec"), {})
            continue
        command = block.removeprefix("$ textgym ").strip()
        done = CliRunner().invoke(app, shlex.split(command))
        assert done.exit_code == 0, done.output
        assert len((tmp_path / "scores.jsonl").read_text().splitlines()) == 2


def test_every_expression_of_the_page_can_be_read():
    found = re.findall(r"`((?:fluency|slor|pmi|pseudo_fluency|acceptability|coherence|relevance)\([^`]*\))`", PAGE)
    assert len(found) >= 7
    for text in found:
        parse(text)
