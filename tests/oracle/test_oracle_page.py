"""docs/oracle.md runs from top to bottom as one session, and prints what it says."""

import contextlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs/oracle.md"
FENCE = re.compile(r"```(python|console)\n(.*?)```", re.DOTALL)


def test_the_page_on_the_oracle_runs_from_top_to_bottom():
    session: dict[str, object] = {}
    blocks = FENCE.findall(PAGE.read_text(encoding="utf-8"))
    assert len(blocks) > 8
    for language, block in blocks:
        if language == "console":
            check_console(block)
            continue
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(block, "example", "exec"), session)
        promised = re.findall(r"^print\(.*\)  # (.*)$", block, re.MULTILINE)
        if "draw(" not in block:
            said = printed.getvalue().splitlines()
            due = [line for line in said if line in promised]
            assert due == promised, said


def check_console(block):
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "COLUMNS": "80"}
    for command, shown in re.findall(r"^\$ (.*)\n((?:[^$].*\n|\n)*)", block, re.MULTILINE):
        done = subprocess.run(command, shell=True, env=environment, capture_output=True, text=True)
        lines = [line.rstrip() for line in done.stdout.splitlines()]
        assert (done.returncode, lines) == (0, shown.rstrip("\n").split("\n")), done.stderr
