"""Data sets of reasoning-gym as tasks, with their verifiers as rewards.

    sums = ReasoningGym("basic_arithmetic")
    env = gym.make("TextGen-v0", task=sums.task(), reward=sums.score)

Most of its verifiers give a part of the credit to wrong answers: `score` is that proxy, `exact` the truth behind it.
"""

import hashlib
import importlib.metadata
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

from textgym.envs.sources import Listed
from textgym.envs.tasks import Task, TaskSettings, text_task
from textgym.errors import MissingExtraError, TaskError
from textgym.text.prompt_files import PromptRecord

INDEX, SPLIT = "reasoning_gym_index", "reasoning_gym_split"
"""Where the metadata of a prompt say which entry it is: entries hold objects that no file could."""


@dataclass(frozen=True)
class ReasoningGym(Listed):
    """A data set of reasoning-gym.

    Attributes:
        dataset: its name there.
        size: entries to train on.
        heldout_size: entries to evaluate on.
        seed: of the first entry. The library draws entry i with seed + i: the held-out ones begin behind the others.
        config: further settings of the data set.

    Raises:
        MissingExtraError: reasoning-gym is not installed.
        TaskError: the library does not know the data set or a setting.
    """

    dataset: str
    size: int = 1000
    heldout_size: int = 200
    seed: int = 0
    config: Mapping[str, Any] = field(default_factory=dict)
    max_prompt_tokens: int = 512
    max_new_tokens: int = 64

    def __post_init__(self) -> None:
        if self.size < 1 or self.heldout_size < 1:
            raise TaskError(f"size={self.size}, heldout_size={self.heldout_size}: at least 1 entry each is needed")
        self.entries  # noqa: B018 - what is not there is said here

    @property
    def name(self) -> str:
        """What results call it."""
        return f"reasoning_gym-{self.dataset}"

    @property
    def fingerprint(self) -> str:
        """Of the settings and the version of the library."""
        settings = [self.dataset, self.size, self.heldout_size, self.seed, dict(self.config)]
        text = json.dumps([_version(), *settings], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def path(self) -> Path:
        """What messages call it."""
        return Path(self.name)

    @property
    def listed(self) -> "ReasoningGym":
        """Itself."""
        return self

    @cached_property
    def entries(self) -> Mapping[str, Any]:
        """The data sets of "train" and "heldout"."""
        try:
            create = import_module("reasoning_gym").create_dataset
        except ImportError as error:
            raise MissingExtraError("reasoning-gym", "reasoning", f"data set {self.dataset!r}") from error
        try:
            return {
                "train": create(self.dataset, seed=self.seed, size=self.size, **self.config),
                "heldout": create(self.dataset, seed=self.seed + self.size, size=self.heldout_size, **self.config),
            }
        except (ValueError, TypeError, AssertionError) as error:
            raise TaskError(f"reasoning-gym cannot make {self.dataset!r} with {dict(self.config)}: {error}") from error

    @cached_property
    def records(self) -> tuple[PromptRecord, ...]:
        """Questions with their answers, those to train on first."""
        records: list[PromptRecord] = []
        for split, entries in self.entries.items():
            for index in range(len(entries)):
                entry = entries[index]
                answers = () if entry.get("answer") is None else (str(entry["answer"]),)
                where = {INDEX: index, SPLIT: split}
                records.append(PromptRecord(entry["question"], answers, where, split, len(records) + 1))
        return tuple(records)

    def training_texts(self) -> list[str]:
        """Questions and answers of the training split."""
        train = [record for record in self.records if record.split == "train"]
        return [text for record in train for text in (record.prompt, *record.references)]

    def task(self, settings: TaskSettings | None = None) -> Task:
        """The task: a question is a prompt.

        Args:
            settings: tokenizer, budget, cache; None for the defaults.
        """
        return text_task(settings or TaskSettings(), self)

    def score(self, completion: str, metadata: Mapping[str, Any]) -> float:
        """The library's own score of an answer, 0 to 1, with the part of the credit that it gives to wrong ones."""
        if INDEX not in metadata:
            raise TaskError(f"the prompt is none of {self.name}: its metadata have no {INDEX!r}")
        entries = self.entries[metadata[SPLIT]]
        return float(entries.score_answer(answer=completion.strip(), entry=entries[metadata[INDEX]]))

    def exact(self, completion: str, metadata: Mapping[str, Any]) -> float:
        """1 for an answer that gets the whole credit, else 0."""
        return float(self.score(completion, metadata) >= 1.0)


def _version() -> str:
    try:
        return importlib.metadata.version("reasoning-gym")
    except importlib.metadata.PackageNotFoundError:  # installed from a folder
        return ""
