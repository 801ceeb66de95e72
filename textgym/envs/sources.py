"""Where the text of a task comes from: a corpus that is cut into prompts, or a file that lists them."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol, runtime_checkable

from textgym.text.corpora import Corpus, CorpusSource, open_corpus
from textgym.text.prompt_files import PromptFile, open_prompts
from textgym.text.prompt_sets import Records, RecordSet, build_record_sets
from textgym.text.prompts import OnLongPrompt, PromptSet, build_prompts, split_documents
from textgym.types import Arrays, Tokenizer


@dataclass(frozen=True)
class CorpusText:
    """Passages of documents: the first words are the prompt, the rest is the reference."""

    source: CorpusSource
    max_prompt_tokens: int = 32
    max_new_tokens: int = 64

    @property
    def name(self) -> str:
        """The corpus's."""
        return self.source.name

    @property
    def fingerprint(self) -> str:
        """The corpus's."""
        return self.source.fingerprint

    @cached_property
    def _corpus(self) -> Corpus:
        return self.source.load()

    def training_texts(self) -> list[str]:
        """The documents of the training split."""
        return [self._corpus.documents[i] for i in split_documents(self._corpus)["train"]]

    def build(
        self, tokenizer: Tokenizer, *, max_new_tokens: int, max_prompt_tokens: int, on_long_prompt: OnLongPrompt
    ) -> dict[str, PromptSet]:
        """See `build_prompts`."""
        return build_prompts(
            self._corpus,
            tokenizer,
            max_new_tokens=max_new_tokens,
            max_prompt_tokens=max_prompt_tokens,
            on_long_prompt=on_long_prompt,
        )

    def from_arrays(self, arrays: Arrays) -> PromptSet:
        """A `PromptSet`."""
        return PromptSet.from_arrays(arrays)


class Listed:
    """Prompts with references and metadata; a subclass says where they are listed."""

    @property
    def listed(self) -> Records:
        """The list."""
        raise NotImplementedError  # abstract

    def build(
        self, tokenizer: Tokenizer, *, max_new_tokens: int, max_prompt_tokens: int, on_long_prompt: OnLongPrompt
    ) -> dict[str, PromptSet]:
        """See `build_record_sets`."""
        sets = build_record_sets(
            self.listed,
            tokenizer,
            max_new_tokens=max_new_tokens,
            max_prompt_tokens=max_prompt_tokens,
            on_long_prompt=on_long_prompt,
        )
        return dict(sets)

    def from_arrays(self, arrays: Arrays) -> PromptSet:
        """A `RecordSet`."""
        return RecordSet.from_arrays(arrays)


@dataclass(frozen=True)
class FileText(Listed):
    """Prompts as a file lists them, with references and metadata."""

    source: PromptFile
    max_prompt_tokens: int = 512
    max_new_tokens: int = 64

    @property
    def listed(self) -> Records:
        """The file."""
        return self.source

    @property
    def name(self) -> str:
        """The file's."""
        return self.source.name

    @property
    def fingerprint(self) -> str:
        """The file's."""
        return self.source.fingerprint

    def training_texts(self) -> list[str]:
        """Prompts and references of the training split."""
        return self.source.training_texts()


@runtime_checkable
class TextSource(Protocol):
    """What a task is made of; nothing is read until a text is asked for."""

    @property
    def name(self) -> str:
        """What a person calls it."""

    @property
    def fingerprint(self) -> str:
        """Content hash."""

    @property
    def max_prompt_tokens(self) -> int:
        """The longest prompt, where the settings name none."""

    @property
    def max_new_tokens(self) -> int:
        """The budget, where the settings name none."""

    def training_texts(self) -> list[str]:
        """What a tokenizer is trained on."""

    def build(
        self, tokenizer: Tokenizer, *, max_new_tokens: int, max_prompt_tokens: int, on_long_prompt: OnLongPrompt
    ) -> dict[str, PromptSet]:
        """The prompts of "train" and "heldout"."""

    def from_arrays(self, arrays: Arrays) -> PromptSet:
        """The prompts of a split, from the arrays that they were kept as."""


def corpus_text(name_or_path: str | Path, field: str | None = None) -> TextSource:
    """A corpus as the text of a task; arguments and errors as in `open_corpus`."""
    return CorpusText(open_corpus(name_or_path, field))


def file_text(path: str | Path, field: str | None = None) -> TextSource:
    """A file of prompts as the text of a task; arguments and errors as in `open_prompts`."""
    return FileText(open_prompts(path, field))
