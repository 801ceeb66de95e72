"""Shared by all tests: shapes and types are checked at every call, and no test writes outside its own folder."""

import os
from pathlib import Path

import numpy as np
import pytest
from jaxtyping import install_import_hook

# Not textgym.envs.spec, which extends a class of Gymnasium's whose annotations cannot be checked.
ENVS = ("constraints", "context", "dynamics", "episodes", "fonts", "infos", "micro", "nucleus", "picture", "render")
ENVS += ("tasks", "textgen", "twins", "vector")
CHECKED = [
    "textgym.types",
    "textgym.text",
    "textgym.scorers",
    "textgym.models",
    "textgym.oracle",
    "textgym.worlds.micro",
    *(f"textgym.envs.{name}" for name in ENVS),
    "textgym.sb3.advantages",
    "textgym.sb3.regulariser",
    "textgym.sb3.text_buffer",
]
install_import_hook(CHECKED, "checking.typechecked")


@pytest.fixture(scope="session", autouse=True)
def cache_of_this_session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What tests fit is kept apart from the user's own cache."""
    folder = tmp_path_factory.mktemp("textgym-cache")
    os.environ["TEXTGYM_CACHE"] = str(folder)
    return folder


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real texts; tests that need it are skipped where it is absent."""
    folder = os.environ.get("TEXTGYM_DATA")
    if not folder:
        pytest.skip("real text: set TEXTGYM_DATA to its folder")
    return Path(folder)


def sentences(n: int, seed: int = 0) -> list[str]:
    """Simple English, different for each seed."""
    rng = np.random.default_rng(seed)
    parts = (
        ["The", "A", "One", "Every"],
        ["old", "young", "small", "clever", "quiet", "brave"],
        ["king", "fox", "girl", "miller", "bird", "wolf", "queen", "boy"],
        ["saw", "found", "followed", "heard", "loved"],
        ["the", "a", "that"],
        ["river", "house", "forest", "road", "garden", "castle"],
        ["at night.", "in the morning.", "and went home.", "without a word.", "before the winter came."],
    )
    return [" ".join(str(rng.choice(part)) for part in parts) for _ in range(n)]


@pytest.fixture(scope="session")
def tiny_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text file of 80 documents with four sentences each."""
    path = tmp_path_factory.mktemp("corpus") / "tiny.txt"
    path.write_text("\n\n".join(" ".join(sentences(4, seed)) for seed in range(80)), encoding="utf-8")
    return path
