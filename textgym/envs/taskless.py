"""What a scorer can be bound to where there is no task: saved models that read plain text, and nothing fitted."""

from collections.abc import Callable
from functools import cached_property
from typing import NoReturn

from textgym.errors import ScorerError
from textgym.models.registry import loaded_embedding
from textgym.models.text_models import LoadedTextModels
from textgym.scorers.plain import OpenVocabulary
from textgym.types import Arrays, Embedding, LanguageModel, OrderModel, TextBatch, TextModel, Tokenizer

_TASK = "which comes with a task: --task NAME or --corpus FILE, in Python textgym.make_task(...).context"


class TasklessContext:
    """A `types.ScoringContext` without texts of its own: a batch brings its tokens, a saved model its tokenizer."""

    signature = "no task"
    empty_prompts = True

    def __init__(self) -> None:
        self._text_models = LoadedTextModels()
        self._embeddings: dict[str, Embedding] = {}

    def __deepcopy__(self, memo: object) -> "TasklessContext":
        return self

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """Words; it knows none."""
        return OpenVocabulary([])

    def references(self) -> TextBatch:
        """There are none. Raises ScorerError."""
        self._refuse("a yardstick")

    def language_model(self, name: str) -> LanguageModel:
        """There is none over ids. Raises ScorerError."""
        self._refuse(f"language model {name!r}")

    def embedding(self, name: str) -> Embedding:
        """A saved embedding.

        Raises:
            ScorerError: one that would have to be fitted.
        """
        if name not in self._embeddings:
            saved = loaded_embedding(name)
            if saved is None:
                self._refuse(f"embedding {name!r}")
            self._embeddings[name] = saved
        return self._embeddings[name]

    def order_model(self, name: str) -> OrderModel:
        """There is none: it is fitted to a task's documents. Raises ScorerError."""
        self._refuse(f"model of order {name!r}")

    def text_model(self, kind: type[TextModel], name: str) -> TextModel:
        """A saved model that reads plain text, as `load_text_model` gives it; loaded once."""
        return self._text_models.get(kind, name)

    def cached(self, kind: str, key: str, make: Callable[[], Arrays]) -> Arrays:
        """Made anew each time: there is no store."""
        return make()

    def _refuse(self, what: str) -> NoReturn:
        raise ScorerError(f"the scorer needs {what}, {_TASK}")
