"""What the tests of this room share."""

from pathlib import Path

import envs_samples
import pytest

from textgym.envs.tasks import Task


@pytest.fixture(scope="session")
def letters_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("letters")


@pytest.fixture(scope="session")
def task(letters_folder: Path) -> Task:
    return envs_samples.small_task(letters_folder)
