"""Models by name: ``unigram``, ``ngram:4``, ``lsa:64``, and whatever a user registers under a prefix of their own.

A name is `prefix` or `prefix:argument`. Fitting gives arrays, which a store can keep; arrays give the model back. A
folder that holds config.json is a saved Transformer: it is loaded, never fitted, and only then is torch imported.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from textgym.errors import CheckpointError, SpecError, UnknownNameError
from textgym.models.folder import CONFIG_FILE, model_folder
from textgym.models.lsa import LsaEmbedding
from textgym.models.ngram import KneserNey
from textgym.types import Arrays, Embedding, LanguageModel, TokenIds

ENTRY_POINTS = "textgym.models"
"""The entry-point group of other packages: name = prefix, value = the module that registers it."""

MAX_ORDER = 6
"""Longest n-grams that can be asked for by name."""

MAX_DIMS = 512
"""Most dimensions of an LSA embedding that can be asked for by name."""


SAVED_EMBEDDING = "st"
"""The prefix of embeddings that are loaded, not fitted: those of sentence-transformers."""


class FitLanguageModel(Protocol):
    """A function that fits a language model to texts."""

    def __call__(self, rows: Sequence[TokenIds], argument: str, *, vocab_size: int, tokenizer_signature: str) -> Arrays:
        """Arrays of the model.

        Args:
            rows: ids of each text, with EOS where the text ended by it.
            argument: what stood behind the colon of the name; "" if nothing did.
            vocab_size: V.
            tokenizer_signature: what the ids mean.
        """


class FitEmbedding(Protocol):
    """A function that fits an embedding to passages."""

    def __call__(self, documents: Sequence[str], argument: str) -> Arrays:
        """Arrays of the embedding; `argument` is what stood behind the colon of the name, "" if nothing did."""


_Fit = TypeVar("_Fit")
_Model = TypeVar("_Model")


@dataclass(frozen=True)
class _Kind(Generic[_Fit, _Model]):
    fit: _Fit
    from_arrays: Callable[[Arrays], _Model]


@dataclass(frozen=True)
class _Registry(Generic[_Fit, _Model]):
    """Kinds of models by prefix."""

    what: str
    examples: tuple[str, ...]
    kinds: dict[str, _Kind[_Fit, _Model]] = field(default_factory=dict)

    def register(self, prefix: str, from_arrays: Callable[[Arrays], _Model]) -> Callable[[_Fit], _Fit]:
        if not prefix.replace("_", "a").replace("-", "a").isalnum():
            raise ValueError(f"{prefix!r} cannot begin the name of a {self.what}: use letters, digits, - and _")
        if prefix in self.kinds:
            raise ValueError(f"there is a {self.what} {prefix!r} already: choose another prefix")

        def keep(fit: _Fit) -> _Fit:
            self.kinds[prefix] = _Kind(fit, from_arrays)
            return fit

        return keep

    def find(self, name: str) -> tuple[_Kind[_Fit, _Model], str]:
        """What a name names, and its argument. Other packages are imported only if the name is theirs."""
        prefix, _, argument = name.partition(":")
        if prefix not in self.kinds:
            for entry in entry_points(group=ENTRY_POINTS, name=prefix):
                entry.load()
        if prefix in self.kinds:
            return self.kinds[prefix], argument
        if "/" in name or Path(name).exists():
            raise CheckpointError(f"{name} is a path, not the name of a {self.what} that can be fitted")
        raise UnknownNameError(self.what, name, self.names())

    def names(self) -> list[str]:
        theirs = {entry.name for entry in entry_points(group=ENTRY_POINTS)}
        built_in = {example.partition(":")[0] for example in self.examples}
        return sorted({*self.examples, *(self.kinds.keys() - built_in), *theirs})


_language_models: _Registry[FitLanguageModel, LanguageModel] = _Registry(
    "language model", ("unigram", *(f"ngram:{n}" for n in range(1, MAX_ORDER + 1)))
)
_embeddings: _Registry[FitEmbedding, Embedding] = _Registry("embedding", ("lsa:64",))


def register_language_model(
    prefix: str, from_arrays: Callable[[Arrays], LanguageModel]
) -> Callable[[FitLanguageModel], FitLanguageModel]:
    """Decorates a function that fits a language model, so that ``prefix`` and ``prefix:argument`` name it.

    A package does so for its users by an entry point of the group ``textgym.models``: its name is the prefix, its
    value the module where the decorator stands.

    Args:
        prefix: the name up to the colon.
        from_arrays: makes the model of the arrays that the function returned.

    Raises:
        ValueError: the prefix is taken, or holds more than letters, digits, - and _.
    """
    return _language_models.register(prefix, from_arrays)


def register_embedding(
    prefix: str, from_arrays: Callable[[Arrays], Embedding]
) -> Callable[[FitEmbedding], FitEmbedding]:
    """Decorates a function that fits an embedding; all else as in `register_language_model`."""
    return _embeddings.register(prefix, from_arrays)


def fit_language_model(
    name: str, rows: Sequence[TokenIds], *, vocab_size: int, tokenizer_signature: str = ""
) -> Arrays:
    """Fits the language model of a name.

    Args:
        name: ``unigram``, ``ngram:N`` with N from 1 to 6, or a registered name.
        rows: ids of each text, with EOS where the text ended by it.
        vocab_size: V.
        tokenizer_signature: what the ids mean.

    Returns:
        Arrays for `language_model_from_arrays`.

    Raises:
        UnknownNameError: no model has that name.
        SpecError: the part behind the colon cannot be used.
        CheckpointError: a path; saved models are loaded, not fitted.
    """
    kind, argument = _language_models.find(name)
    return kind.fit(rows, argument, vocab_size=vocab_size, tokenizer_signature=tokenizer_signature)


def language_model_from_arrays(name: str, arrays: Arrays) -> LanguageModel:
    """The language model whose arrays `fit_language_model` made under that name.

    Raises:
        UnknownNameError: no model has that name.
        CheckpointError: the arrays are not those of such a model, or the name is a path.
    """
    return _language_models.find(name)[0].from_arrays(arrays)


def fit_embedding(name: str, documents: Sequence[str]) -> Arrays:
    """Fits the embedding of a name.

    Args:
        name: ``lsa:K`` with K from 1 to 512 dimensions, or a registered name.
        documents: passages of about 12 sentences.

    Returns:
        Arrays for `embedding_from_arrays`.

    Raises:
        UnknownNameError: no embedding has that name.
        SpecError: the part behind the colon cannot be used.
        CorpusError: too little text.
    """
    kind, argument = _embeddings.find(name)
    return kind.fit(documents, argument)


def embedding_from_arrays(name: str, arrays: Arrays) -> Embedding:
    """The embedding whose arrays `fit_embedding` made under that name.

    Raises:
        UnknownNameError: no embedding has that name.
        CheckpointError: the arrays are not those of such an embedding.
    """
    return _embeddings.find(name)[0].from_arrays(arrays)


def loaded_embedding(name: str) -> Embedding | None:
    """The embedding of a name that means a saved one, ``st:NAME_OR_FOLDER``; None for a name that is to be fitted.

    Raises:
        MissingExtraError: sentence-transformers is not installed.
        CheckpointError: there is no such model.
    """
    prefix, _, argument = name.partition(":")
    if prefix != SAVED_EMBEDDING:
        return None
    from textgym.models.sentence_embedding import load

    return load(argument)


def language_model_names() -> list[str]:
    """The language models that can be fitted by name; those of other packages by their prefix."""
    return _language_models.names()


def embedding_names() -> list[str]:
    """The embeddings that can be fitted by name; those of other packages by their prefix."""
    return _embeddings.names()


def is_checkpoint(name: str) -> bool:
    """Whether a name means a saved neural model: a folder that holds config.json, or a model that is shipped."""
    return (model_folder(name) / CONFIG_FILE).is_file()


def load_checkpoint_language_model(path: str | Path) -> LanguageModel:
    """Loads a saved neural model; this imports torch.

    Raises:
        CheckpointError: no such folder, or one that cannot be read.
    """
    if not is_checkpoint(str(path)):
        raise CheckpointError(f"no model at {path}: a saved model is a folder that holds config.json")
    from textgym.models.checkpoint import load_language_model

    return load_language_model(path)


@register_language_model("unigram", from_arrays=KneserNey.from_arrays)
def _fit_unigram(rows: Sequence[TokenIds], argument: str, *, vocab_size: int, tokenizer_signature: str) -> Arrays:
    if argument:
        raise SpecError(
            "'unigram' takes no argument", f"unigram:{argument}", 7, len(argument) + 1, "'ngram:2' has more"
        )
    model = KneserNey.fit(rows, vocab_size=vocab_size, order=1, tokenizer_signature=tokenizer_signature)
    return model.to_arrays()


@register_language_model("ngram", from_arrays=KneserNey.from_arrays)
def _fit_ngram(rows: Sequence[TokenIds], argument: str, *, vocab_size: int, tokenizer_signature: str) -> Arrays:
    order = _number("ngram", argument, MAX_ORDER, "the order of an n-gram model")
    model = KneserNey.fit(rows, vocab_size=vocab_size, order=order, tokenizer_signature=tokenizer_signature)
    return model.to_arrays()


@register_embedding("lsa", from_arrays=LsaEmbedding.from_arrays)
def _fit_lsa(documents: Sequence[str], argument: str) -> Arrays:
    dims = _number("lsa", argument, MAX_DIMS, "the number of dimensions of an LSA embedding")
    return LsaEmbedding.fit(documents, dims=dims).to_arrays()


def _number(prefix: str, argument: str, most: int, meaning: str) -> int:
    if argument.isascii() and argument.isdigit() and 1 <= int(argument) <= most:
        return int(argument)
    message = f"{meaning} is a whole number from 1 to {most}, not {argument!r}"
    raise SpecError(message, f"{prefix}:{argument}", len(prefix) + 1, len(argument), f"e.g. '{prefix}:{min(4, most)}'")
