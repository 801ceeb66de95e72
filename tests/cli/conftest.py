import json
import logging
import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from textgym.cli.app import app

MAIN = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that runs the tests in the background ignores it
from textgym.cli import main
main()
"""


@pytest.fixture(autouse=True)
def own_terminal(monkeypatch):
    """A terminal of 80 columns, and afterwards the library's log as it was before."""
    monkeypatch.setenv("COLUMNS", "80")
    logger = logging.getLogger("textgym")
    before = logger.handlers[:], logger.level
    yield
    logger.handlers[:], logger.level = before


@pytest.fixture
def textgym():
    """Runs a command in this process: textgym("list", "--json") -> result with exit_code, stdout, stderr."""

    def run(*arguments, input=None):
        return CliRunner().invoke(app, [str(argument) for argument in arguments], input=input)

    return run


@pytest.fixture
def textgym_process():
    """Starts a command in a process of its own."""

    def start(*arguments, **options):
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", MAIN, *map(str, arguments)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, **options)

    return start


@pytest.fixture
def jsonl(tmp_path):
    """Writes rows to a file and gives its path."""

    def write(rows, name="in.jsonl"):
        path = tmp_path / name
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        return path

    return write
