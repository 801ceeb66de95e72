"""What a task hands to the scorers that are bound to it: its texts, and models fitted on its training split."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import numpy as np
from jaxtyping import Int64

from textgym.envs.without_prompts import without_prompts
from textgym.errors import CheckpointError, ScorerError
from textgym.models.order_models import fit_order_model, order_model_from_arrays
from textgym.models.registry import (
    embedding_from_arrays,
    fit_embedding,
    fit_language_model,
    is_checkpoint,
    language_model_from_arrays,
    load_checkpoint_language_model,
    loaded_embedding,
)
from textgym.models.text_models import LoadedTextModels
from textgym.text.prompt_sets import RecordSet
from textgym.text.prompts import PromptSet
from textgym.text.sentences import sentences, split_units
from textgym.text.store import ArrayStore
from textgym.types import Arrays, Embedding, LanguageModel, OrderModel, TextBatch, TextModel, TokenIds, Tokenizer

REFERENCES = 512
"""How many training passages the yardstick of `standard` holds at most."""

SENTENCES = 12
"""How many sentences a document for an embedding has, about."""

YARDSTICK = 10
"""One training document in so many is kept from the fitted models, and gives the references."""

_FORMAT = 2
"""Raised when the same texts give other fitted arrays than before."""


class TaskContext:
    """A `types.ScoringContext` over prompt sets; models are fitted when a scorer asks for them, and kept.

    Args:
        name: the task's, for messages.
        tokenizer: what the ids mean.
        sets: the prompts of "train" and "heldout"; nothing is ever fitted on the latter.
        signature: content hash of the prompt sets.
        store: where fitted arrays are kept.

    Attributes:
        store: the same.
    """

    def __init__(
        self, name: str, tokenizer: Tokenizer, sets: Mapping[str, PromptSet], signature: str, store: ArrayStore
    ) -> None:
        self._name, self._tokenizer, self._sets = name, tokenizer, sets
        self._signature, self.store = signature, store
        self._language_models: dict[str, LanguageModel] = {}
        self._embeddings: dict[str, Embedding] = {}
        self._order_models: dict[str, OrderModel] = {}
        self._text_models = LoadedTextModels()

    def __deepcopy__(self, memo: object) -> "TaskContext":
        return self  # what it hands out never changes

    @property
    def tokenizer(self) -> Tokenizer:
        """The task's tokenizer."""
        return self._tokenizer

    @property
    def signature(self) -> str:
        """Content hash of the task's texts and settings."""
        return self._signature

    @cached_property
    def empty_prompts(self) -> bool:
        """Whether a prompt of either split is empty."""
        return any(bool((prompts.prompt_lengths == 0).any()) for prompts in self._sets.values())

    def references(self) -> TextBatch:
        """At most 512 training passages, always the same ones; each is its own reference, unless its prompt has others.

        They come from documents that no model was fitted on. Those that it was fitted on would be a yardstick that no
        new text reaches: an n-gram model finds its own texts fifteen standard deviations more fluent.
        """
        return self._references

    def lacks(self, name: str) -> bool:
        """Whether some prompt of either split has no "references", or nothing in that field of its metadata."""
        if name == "references":
            return any(bool((prompts.reference_lengths == 0).any()) for prompts in self._sets.values())
        return not all(prompts.metadata(i).get(name) for prompts in self._sets.values() for i in range(len(prompts)))

    @cached_property
    def _references(self) -> TextBatch:
        train = self._sets["train"]
        rng = np.random.default_rng(list(hashlib.sha256(self._signature.encode()).digest()))
        referenced = train.reference_lengths > 0
        kept = np.flatnonzero(referenced & np.isin(train.document[: len(train)], self._yardstick))
        if not len(kept):
            raise ScorerError(self._nothing("there is no yardstick, which 'standard' and the default reward need"))
        chosen = np.sort(rng.choice(kept, min(REFERENCES, len(kept)), replace=False)).tolist()
        return TextBatch(
            [train.prompt(i) for i in chosen],
            [train.reference(i) for i in chosen],
            self._tokenizer,
            [others[1:] or others for others in (train.references(i, self._tokenizer) for i in chosen)],
            [train.metadata(i) for i in chosen],
        )

    def _nothing(self, so: str) -> str:
        return (
            f"the training prompts of {self._name!r} have no references, so {so}. Add references, or give a reward "
            "that needs none"
        )

    @cached_property
    def _yardstick(self) -> Int64[np.ndarray, " D"]:
        """Which training documents are references only; all of them where there is but one."""
        train = self._sets["train"]
        documents = np.unique(train.document[: len(train)][train.reference_lengths > 0])
        return documents if len(documents) == 1 else documents[1::YARDSTICK]

    @cached_property
    def _tiles(self) -> Int64[np.ndarray, " K"]:
        """Rows that together cover each document to be fitted on once."""
        tiles = self._sets["train"].tiling()
        own = ~np.isin(self._sets["train"].document[tiles], self._yardstick)
        return tiles[own] if own.any() else tiles

    def language_model(self, name: str) -> LanguageModel:
        """The model of that name, fitted on the training split, or loaded if the name is a model folder.

        Raises:
            UnknownNameError: no model has that name.
            CheckpointError: a saved model of another vocabulary.
        """
        if name not in self._language_models:
            self._language_models[name] = self._loaded(name) if is_checkpoint(name) else self._fitted(name)
        return self._language_models[name]

    def _fitted(self, name: str) -> LanguageModel:
        def fit() -> Arrays:
            if not len(self._tiles):
                raise ScorerError(self._nothing(f"{name} has nothing to be fitted to; a folder of a model would do"))
            return fit_language_model(
                name,
                self._passages(),
                vocab_size=self._tokenizer.vocab_size,
                tokenizer_signature=self._tokenizer.signature,
            )

        arrays = self.store.fetch("language-model", self._key(name), fit, f"fitting {name} on {self._name}")
        model = language_model_from_arrays(name, arrays)
        return without_prompts(model) if isinstance(self._sets["train"], RecordSet) else model

    def _loaded(self, name: str) -> LanguageModel:
        model = load_checkpoint_language_model(name)
        if model.vocab_size != self._tokenizer.vocab_size:
            raise CheckpointError(
                f"{name} was made with a vocabulary of {model.vocab_size:,} tokens, task {self._name!r} has "
                f"{self._tokenizer.vocab_size:,}. Use its own tokenizer: tokenizer='{name}/tokenizer.json'"
            )
        return model

    def embedding(self, name: str) -> Embedding:
        """The embedding of that name, fitted on the training split, or loaded if the name means a saved one.

        Raises:
            UnknownNameError: no embedding has that name.
            CheckpointError: there is no such saved embedding.
        """
        if name not in self._embeddings:
            self._embeddings[name] = loaded_embedding(name) or self._fitted_embedding(name)
        return self._embeddings[name]

    def _fitted_embedding(self, name: str) -> Embedding:
        def fit() -> Arrays:
            if not len(self._tiles):
                raise ScorerError(self._nothing(f"{name} has nothing to be fitted to"))
            return fit_embedding(name, self._documents())

        arrays = self.store.fetch("embedding", self._key(name), fit, f"fitting {name} on {self._name}")
        return embedding_from_arrays(name, arrays)

    def order_model(self, name: str) -> OrderModel:
        """The model of sentence order of that name, fitted on the training documents.

        Raises:
            UnknownNameError: no such model.
            CorpusError: too few documents of several sentences.
        """

        def fit() -> Arrays:
            if not len(self._tiles):
                raise ScorerError(self._nothing(f"{name} has nothing to be fitted to"))
            documents = [sentences(text) for text in self._whole_documents()]
            return fit_order_model(name, documents, self.embedding)

        if name not in self._order_models:
            arrays = self.store.fetch("order", self._key(name), fit, f"fitting {name} on {self._name}")
            self._order_models[name] = order_model_from_arrays(name, arrays, self.embedding)
        return self._order_models[name]

    def text_model(self, kind: type[TextModel], name: str) -> TextModel:
        """A saved model that reads plain text, as `load_text_model` gives it; loaded once."""
        return self._text_models.get(kind, name)

    def cached(self, kind: str, key: str, make: Callable[[], Arrays]) -> Arrays:
        """Arrays by key, which holds for this task only: from the store, else made and stored."""
        return self.store.fetch(kind, f"{self._signature}|{key}", make)

    def _key(self, name: str) -> str:
        return f"{_FORMAT}|{self._signature}|{name}"

    def _documents(self) -> list[str]:
        """The training documents in pieces of about 12 sentences, whatever the budget: embeddings like those best."""
        train = self._sets["train"]
        owners = train.document[self._tiles].tolist()
        pieces: list[str] = []
        for text, owner, before in zip(
            map(self._tokenizer.decode, self._passages()), owners, [-1, *owners], strict=False
        ):
            if owner == before and len(split_units(pieces[-1])) < SENTENCES:
                pieces[-1] += "\n" + text
            else:
                pieces.append(text)
        return pieces

    def _whole_documents(self) -> list[str]:
        """The training documents, put together again from the passages that they were cut into."""
        train, owner = self._sets["train"], -1
        whole: list[str] = []
        glue = ""
        for row, ids in zip(self._tiles.tolist(), self._passages(), strict=True):
            text = self._tokenizer.decode(ids)
            if train.document[row] == owner:
                whole[-1] += glue + text
            else:
                whole.append(text)
            owner, glue = int(train.document[row]), "\n" if train.ended[row] else ""
        return whole

    def _passages(self) -> Sequence[TokenIds]:
        """The texts at `_tiles`."""
        train = self._sets["train"]
        return [train.passage(i) for i in self._tiles.tolist()]
