"""What is installed elsewhere works there."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_wheel_trains_in_a_bare_environment(tmp_path):
    def run(*command: object) -> None:
        environment = {**os.environ, "TEXTGYM_CACHE": str(tmp_path / "cache")}
        done = subprocess.run([*map(str, command)], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]

    run(sys.executable, "-m", "build", "--wheel", "--outdir", tmp_path, ROOT)
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    (wheel,) = tmp_path.glob("*.whl")
    run(tmp_path / "venv/bin/pip", "install", "-q", wheel, "-c", ROOT / "constraints.txt")
    run(tmp_path / "venv/bin/textgym", "train", "--pretrain-tokens", 20000, "--steps", 2000, "--out", tmp_path / "run")
    assert "reward" in json.loads((tmp_path / "run/summary.json").read_text())["after"]
