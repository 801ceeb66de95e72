"""The page on exports runs as it stands: its blocks are one session, and what it says is printed is printed."""

import contextlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "export.md"
FENCE = re.compile(r"```(python|console)\n(.*?)```", re.DOTALL)


def test_the_page_on_exports_runs_from_top_to_bottom(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    session: dict[str, object] = {}
    for language, block in FENCE.findall(PAGE.read_text(encoding="utf-8")):
        if named := re.match(r"# (\S+\.py)\n", block):
            (tmp_path / named[1]).write_text(block, encoding="utf-8")
        if language == "python":
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                exec(compile(block, "example", "exec"), session)
            expected = re.findall(r"^print\(.*\)  # (.*)$", block, re.MULTILINE)
            assert printed.getvalue().splitlines() == expected
            continue
        for command, shown in re.findall(r"^\$ (.*)\n((?:[^$].*\n)*)", block, re.MULTILINE):
            done = subprocess.run(
                command, shell=True, cwd=tmp_path, env={**os.environ, "PATH": path}, capture_output=True, text=True
            )
            assert (done.returncode, done.stdout) == (0, shown), done.stderr
