"""The code that a reader would copy out of README and quickstart runs as it stands."""

import re
from pathlib import Path

import pytest

from textgym.envs.tasks import make_task
from textgym.models.checkpoint import new_model, save_checkpoint

ROOT = Path(__file__).parents[1]
BLOCKS = [
    pytest.param(block, id=f"{name}-{i}")
    for name in ("README.md", "docs/quickstart.md")
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


def test_every_link_in_the_documents_leads_somewhere():
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} points to {target}"
