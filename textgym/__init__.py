"""Text generation as Gymnasium environments; importing this registers the ids and loads no torch."""

import importlib
from typing import TYPE_CHECKING, Any

import gymnasium

if TYPE_CHECKING:
    from textgym import errors, oracle, scorers, testing
    from textgym.envs.micro import TextGenMicroEnv, TextGenMicroVectorEnv, micro
    from textgym.envs.tasks import Task, make_task, register_task, task_names
    from textgym.envs.textgen import TextGenEnv
    from textgym.envs.twins import TextGenDictEnv, TextGenDictVectorEnv, TextGenFloatEnv, TextGenFloatVectorEnv
    from textgym.envs.vector import TextGenVectorEnv
    from textgym.errors import TextGymError
    from textgym.types import Scores, TextBatch

__version__ = "0.1.0"

__all__ = [
    "Scores",
    "Task",
    "TextBatch",
    "TextGenDictEnv",
    "TextGenDictVectorEnv",
    "TextGenEnv",
    "TextGenFloatEnv",
    "TextGenFloatVectorEnv",
    "TextGenMicroEnv",
    "TextGenMicroVectorEnv",
    "TextGenVectorEnv",
    "TextGymError",
    "__version__",
    "errors",
    "make_task",
    "micro",
    "oracle",
    "register_task",
    "scorers",
    "task_names",
    "testing",
]

_HOMES = {
    "Scores": "textgym.types",
    "Task": "textgym.envs.tasks",
    "TextBatch": "textgym.types",
    "TextGenDictEnv": "textgym.envs.twins",
    "TextGenDictVectorEnv": "textgym.envs.twins",
    "TextGenEnv": "textgym.envs.textgen",
    "TextGenFloatEnv": "textgym.envs.twins",
    "TextGenFloatVectorEnv": "textgym.envs.twins",
    "TextGenMicroEnv": "textgym.envs.micro",
    "TextGenMicroVectorEnv": "textgym.envs.micro",
    "TextGenVectorEnv": "textgym.envs.vector",
    "TextGymError": "textgym.errors",
    "make_task": "textgym.envs.tasks",
    "micro": "textgym.envs.micro",
    "register_task": "textgym.envs.tasks",
    "task_names": "textgym.envs.tasks",
}
_ROOMS = ("errors", "oracle", "scorers", "testing")


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


_IDS = {
    "TextGen-v0": ("textgym.envs.textgen:TextGenEnv", "textgym.envs.vector:TextGenVectorEnv"),
    "TextGenFloat-v0": ("textgym.envs.twins:TextGenFloatEnv", "textgym.envs.twins:TextGenFloatVectorEnv"),
    "TextGenDict-v0": ("textgym.envs.twins:TextGenDictEnv", "textgym.envs.twins:TextGenDictVectorEnv"),
    "TextGenMicro-v0": ("textgym.envs.micro:TextGenMicroEnv", "textgym.envs.micro:TextGenMicroVectorEnv"),
}
for _id, (_single, _vector) in _IDS.items():
    if _id not in gymnasium.registry:
        gymnasium.register(id=_id, entry_point=_single, vector_entry_point=_vector)
