"""Text generation as Gymnasium environments; importing this registers ``TextGen-v0`` and loads no torch."""

import importlib
from typing import TYPE_CHECKING, Any

import gymnasium

if TYPE_CHECKING:
    from textgym import errors, scorers, testing
    from textgym.envs.tasks import Task, make_task, register_task, task_names
    from textgym.envs.textgen import TextGenEnv
    from textgym.envs.vector import TextGenVectorEnv
    from textgym.errors import TextGymError
    from textgym.types import Scores, TextBatch

__version__ = "0.1.0"

__all__ = [
    "Scores",
    "Task",
    "TextBatch",
    "TextGenEnv",
    "TextGenVectorEnv",
    "TextGymError",
    "__version__",
    "errors",
    "make_task",
    "register_task",
    "scorers",
    "task_names",
    "testing",
]

_HOMES = {
    "Scores": "textgym.types",
    "Task": "textgym.envs.tasks",
    "TextBatch": "textgym.types",
    "TextGenEnv": "textgym.envs.textgen",
    "TextGenVectorEnv": "textgym.envs.vector",
    "TextGymError": "textgym.errors",
    "make_task": "textgym.envs.tasks",
    "register_task": "textgym.envs.tasks",
    "task_names": "textgym.envs.tasks",
}
_ROOMS = ("errors", "scorers", "testing")


def __getattr__(name: str) -> Any:
    """Loads a public name when it is first asked for (PEP 562)."""
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    elif name in _ROOMS:
        value = importlib.import_module(f"textgym.{name}")
    else:
        raise AttributeError(f"module 'textgym' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


if "TextGen-v0" not in gymnasium.registry:
    gymnasium.register(
        id="TextGen-v0",
        entry_point="textgym.envs.textgen:TextGenEnv",
        vector_entry_point="textgym.envs.vector:TextGenVectorEnv",
    )
