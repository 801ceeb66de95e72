"""The environments under every Gymnasium that is supported, each in a virtual environment of its own, without torch."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOM = Path(__file__).parent
FILES = ("textgen_env", "vector_env", "registration", "render", "twins", "picture", "gymnasium_checks")
PACKAGES = ("beartype", "fonttools", "hypothesis", "pytest")


def lean_requirements() -> list[str]:
    """What textgym itself needs, but for what only agents and the terminal do."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (block,) = re.findall(r"^dependencies = \[\n(.*?)^\]", text, re.DOTALL | re.MULTILINE)
    names = re.findall(r'"([A-Za-z0-9_.-]+)', block)
    return [name for name in names if name not in ("torch", "stable-baselines3", "typer", "rich")]


@pytest.mark.slow
@pytest.mark.parametrize("version", ["1.1.0", "1.2.2", "1.4.0"])
def test_the_environments_work_under_this_gymnasium(version, tmp_path):
    def run(*command: object) -> str:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TEXTGYM_CACHE": str(tmp_path / "cache")}
        done = subprocess.run([*map(str, command)], cwd=ROOT, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    # moviepy 2.2 does not go with the newest Pillow; the video is the reason to test with an older one.
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [pin for pin in pins if not pin.startswith(("gymnasium==", "pillow=="))]
    constraints = tmp_path / "constraints.txt"
    constraints.write_text("\n".join([*pins, f"gymnasium=={version}"]), encoding="utf-8")
    python = tmp_path / "venv/bin/python"
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    run(python, "-m", "pip", "install", "-q", "-c", constraints, *lean_requirements(), *PACKAGES, "moviepy")
    files = [ROOM / f"test_{name}.py" for name in FILES]
    told = run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not sb3", "-rs", *files)
    assert "skipped" not in told
    assert f"{version}\n" == run(python, "-c", "import gymnasium; print(gymnasium.__version__)")
