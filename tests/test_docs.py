"""The code that a reader would copy out of README and the pages of docs/ runs as it stands."""

import contextlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from textgym.envs.tasks import make_task
from textgym.models.checkpoint import new_model, save_checkpoint
from textgym.scorers import catalogue

ROOT = Path(__file__).parents[1]
BLOCKS = [
    pytest.param(block, id=f"{name}-{i}")
    for name in ("README.md", "docs/quickstart.md", "docs/trust-a-reward.md")
    for i, block in enumerate(re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(encoding="utf-8"), re.DOTALL))
]


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> Path:
    """An untrained model that fits the task of the examples."""
    task = make_task("docstrings")
    banned = (task.tokenizer.unk_id, task.tokenizer.sep_id)
    model = new_model("tiny", vocab_size=task.tokenizer.vocab_size, context=task.observation_length, banned=banned)
    folder = tmp_path_factory.mktemp("docs") / "runs/demo/reference"
    save_checkpoint(folder, model, task.tokenizer)
    return folder


@pytest.mark.filterwarnings("ignore:rich is experimental")  # tqdm's, of the progress bar that the example asks for
@pytest.mark.parametrize("block", BLOCKS)
def test_the_examples_run(block, reference, monkeypatch):
    monkeypatch.chdir(reference.parents[2])
    exec(compile(block.replace("200_000", "4_096"), "example", "exec"), {})


FENCE = re.compile(r"```(python|console|toml)\n(.*?)```", re.DOTALL)


def test_the_page_on_scorers_runs_from_top_to_bottom(tmp_path, monkeypatch):
    """Its blocks are one session: those that begin with a file name are also files, and what is printed is checked."""
    for name in ("_REGISTERED", "_FUNCTIONS"):
        monkeypatch.setattr(catalogue, name, dict(getattr(catalogue, name)))
    monkeypatch.chdir(tmp_path)
    page = FENCE.findall((ROOT / "docs/write-a-scorer.md").read_text(encoding="utf-8"))
    assert {"python", "console", "toml"} == {language for language, _ in page}
    session: dict[str, object] = {}
    for language, block in page:
        if named := re.match(r"# (\S+\.\w+)\n", block):
            (tmp_path / named[1]).write_text(block, encoding="utf-8")
        if language == "python":
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                exec(compile(block, named[1] if named else "example", "exec"), session)
            said = printed.getvalue().splitlines()
            for line, comment in zip(said, re.findall(r"^print\(.*\)(?:  # (.*))?$", block, re.MULTILINE), strict=True):
                assert comment in ("", line)
        if language == "console":
            check_console(block, tmp_path)


def check_console(block: str, folder: Path) -> None:
    """Runs every `$ command` in a shell of its own; what the page shows below it is what it prints."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(folder)}
    for command, shown in re.findall(r"^\$ (.*)\n((?:[^$].*\n)*)", block, re.MULTILINE):
        if command == "pip install .":
            install_here(folder)
            continue
        done = subprocess.run(command, shell=True, cwd=folder, env=environment, capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (0, shown), done.stderr


def install_here(folder: Path) -> None:
    """What pip would leave of the project in a folder: its name and its entry points, in TOML as in INI."""
    project = (folder / "pyproject.toml").read_text(encoding="utf-8")
    name, version = (re.search(rf'^{key} = "(.*)"$', project, re.MULTILINE)[1] for key in ("name", "version"))
    group, points = re.search(r'\[project\.entry-points\."(.*)"\]\n((?:.+\n)+)', project).groups()
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n" + points.replace('"', ""))


def test_every_link_in_the_documents_leads_somewhere():
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} points to {target}"
