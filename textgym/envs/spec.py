"""What `env.spec` says of objects among the arguments: names and spec texts serialise, objects do not."""

import dataclasses
import json
from typing import Any

from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode

from textgym.envs.episodes import RENDER_MODES
from textgym.errors import TaskError

_ADVICE = {
    "reward": "Give its text form; or use @textgym.scorers.register(name), or 'file.py:function'.",
    "task": "Register it with @textgym.register_task(name) and name it.",
    "constraint": "Give a mapping of rules; or put it into a task that you register.",
}


class TextGenSpec(EnvSpec):
    """An EnvSpec whose `to_json` names the argument that stands in the way and what to do about it."""

    @classmethod
    def of(cls, spec: EnvSpec) -> "TextGenSpec":
        """The same spec as a TextGenSpec."""
        fields = [f.name for f in dataclasses.fields(EnvSpec) if f.init]
        made = cls(**{name: getattr(spec, name) for name in fields})
        made.kwargs = {k: v.value if isinstance(v, AutoresetMode) else v for k, v in spec.kwargs.items()}
        return made

    def to_json(self) -> str:
        """JSON of the spec.

        Raises:
            TaskError: an argument is an object; the message names the decorator that gives it a name.
        """
        for name, value in self.kwargs.items():
            if not _serialises(value):
                advice = _ADVICE.get(name, "Give a name, a number or a path.")
                raise TaskError(f"{self.id}: {name}={value!r} is an object and does not serialise. {advice}")
        return super().to_json()


def _serialises(value: Any) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True


def checked_render_mode(mode: Any) -> str | None:
    """A render mode there is.

    Raises:
        TaskError: there is no such mode.
    """
    if mode is not None and mode not in RENDER_MODES:
        raise TaskError(f"render_mode={mode!r}: allowed are {', '.join(map(repr, RENDER_MODES))} and None")
    return mode  # type: ignore[no-any-return]
