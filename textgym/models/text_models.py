"""Models that read plain text, by name: ``hf:NAME_OR_FOLDER``, a folder that holds config.json, or a registered prefix.

What a name means depends on what is asked for: the same folder of Hugging Face can give a language model and a
classifier. Each kind is a protocol of `textgym.types`; the file that loads it is imported when it is first asked for.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from textgym.errors import CheckpointError, UnknownNameError
from textgym.types import TextModel

_HOMES: dict[tuple[str, str], str] = {
    ("folder", "PreferenceModel"): "preference",
    ("folder", "TextClassifier"): "linear_classifier",
    ("hf", "PseudoLanguageModel"): "hf_pseudo",
    ("hf", "TextClassifier"): "hf_classifier",
    ("hf", "TextLanguageModel"): "hf_causal",
}
"""(prefix, name of the protocol) -> module of this package whose `load(name)` gives it."""

_REGISTERED: dict[tuple[str, str], Callable[[str], Any]] = {}

FOLDER = "folder"
"""The prefix that a name without one stands for."""


def register_text_model(prefix: str, kind: type) -> Callable[[Callable[[str], Any]], Callable[[str], Any]]:
    """Decorates a function that loads a model, so that ``prefix:argument`` names it.

    Args:
        prefix: the name up to the colon.
        kind: the protocol of `textgym.types` that the model satisfies.

    Raises:
        ValueError: the prefix is taken for that kind.
    """
    key = (prefix, kind.__name__)
    if key in _HOMES or key in _REGISTERED:
        raise ValueError(f"there is a {kind.__name__} {prefix!r} already: choose another prefix")

    def keep(load: Callable[[str], Any]) -> Callable[[str], Any]:
        _REGISTERED[key] = load
        return load

    return keep


class LoadedTextModels:
    """The text models that a context has handed out: each is loaded once."""

    def __init__(self) -> None:
        self.known: dict[tuple[type, str], Any] = {}

    def get(self, kind: type[TextModel], name: str) -> TextModel:
        """As `load_text_model`."""
        if (kind, name) not in self.known:
            self.known[kind, name] = load_text_model(kind, name)
        model: TextModel = self.known[kind, name]
        return model


def load_text_model(kind: type[TextModel], name: str) -> TextModel:
    """The model of a name.

    Raises:
        UnknownNameError: no prefix of that kind.
        CheckpointError: there is no such model, or it is of another kind.
    """
    prefix, colon, argument = name.partition(":")
    if not colon or len(prefix) == 1:  # C:\\model is a path
        prefix, argument = FOLDER, name
    key = (prefix, kind.__name__)
    if key in _HOMES:
        load = import_module(f"{__package__}.{_HOMES[key]}").load
    elif key in _REGISTERED:
        load = _REGISTERED[key]
    else:
        known = {known for known, of in {*_HOMES, *_REGISTERED} if of == kind.__name__}
        raise UnknownNameError(f"kind of {kind.__name__}", prefix, known)
    model = load(argument)
    if not isinstance(model, kind):
        raise CheckpointError(f"{name} is no {kind.__name__}: it is {type(model).__name__}")
    return model
