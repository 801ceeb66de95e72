"""Tasks: tokenizer, prompts, budget and default reward, made from a corpus or registered under a name.

Whatever is fitted goes through the store under a key of the corpus fingerprint and all settings, so that the second
make of a task parses and trains nothing.
"""

import dataclasses
import functools
import hashlib
import importlib
import json
import logging
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import cast, get_args

import numpy as np
from jaxtyping import Bool

from textgym.envs.context import TaskContext
from textgym.envs.dynamics import Rules, StopRule
from textgym.envs.sources import TextSource, corpus_text, file_text
from textgym.errors import TaskError, UnknownNameError
from textgym.scorers.plugins import blamed, only
from textgym.scorers.spec import DEFAULT_REWARD
from textgym.text.prompts import OnLongPrompt, PromptSet
from textgym.text.store import ArrayStore, default_cache_dir, pack_texts, unpack_texts
from textgym.text.tokenizers import KINDS, open_tokenizer, tokenizer_from_json, tokenizer_to_json, train_tokenizer
from textgym.types import Arrays, Constraint, ScoringContext, TextBatch, TokenIds, Tokenizer

DEFAULT_TASK = "story"
SPLITS = ("train", "heldout")
_FORMAT = 2
"""Raised when the same corpus and settings give other arrays than before."""


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
    """What an environment is about: data, no state.

    Attributes:
        name: what it is called in results.
        tokenizer: text to ids and back.
        train: prompts to train on.
        heldout: prompts of other documents, to evaluate on.
        max_new_tokens: budget of a completion, EOS included.
        reward: text of the default reward.
        context: what scorers are bound to.
        signature: content hash of all of it.
        source: where the text came from.
        constraint: which tokens may come next; None forbids only <unk> and the separator.
        stop_rule: ends a text beside EOS and budget; None for no such rule.
        corpus_hash: of the text alone, whatever the settings; empty where there is no corpus.
        success: (B,) which episodes count as solved, for `info["is_success"]`; None where there is no such thing.
        gold: by name, expressions of what is exactly true of a text, where the task's world knows it. They are
            reported as `info["gold/<name>"]` at every end, whatever the reward is.
        check_prompt: raises TaskError for a prompt of the user's own that is none of this task; None takes any text.
    """

    name: str
    tokenizer: Tokenizer
    train: PromptSet = dataclasses.field(repr=False)
    heldout: PromptSet = dataclasses.field(repr=False)
    max_new_tokens: int
    reward: str
    context: ScoringContext = dataclasses.field(repr=False)
    signature: str
    source: str
    constraint: Constraint | None = None
    stop_rule: StopRule | None = None
    corpus_hash: str = ""
    success: Callable[[TextBatch], Bool[np.ndarray, " B"]] | None = None
    gold: Mapping[str, str] = dataclasses.field(default_factory=dict)
    check_prompt: Callable[[TokenIds], None] | None = None

    def __deepcopy__(self, memo: object) -> "Task":
        return self  # never changes; `env.spec` copies its arguments on every access

    def prompts(self, split: str) -> PromptSet:
        """The prompts of "train" or "heldout"."""
        return {"train": self.train, "heldout": self.heldout}[split]

    @functools.cached_property
    def observation_length(self) -> int:
        """L = longest prompt of either split + 1 separator + budget."""
        return max(int(p.prompt_lengths.max()) for p in (self.train, self.heldout)) + 1 + self.max_new_tokens

    def rules(self) -> Rules:
        """What the transition needs to know."""
        tok = self.tokenizer
        return Rules(
            tok.vocab_size, tok.eos_id, tok.sep_id, self.max_new_tokens, self.observation_length, self.stop_rule
        )


@dataclasses.dataclass(frozen=True)
class TaskSettings:
    """The arguments of `make_task`, which `gym.make("TextGen-v0", ...)` takes under the same names."""

    task: str | Task | None = None
    corpus: str | Path | None = None
    field: str | None = None
    tokenizer: str = "auto"
    vocab_size: int | None = None
    max_new_tokens: int | None = None
    max_prompt_tokens: int | None = None
    on_long_prompt: str = "skip"
    cache_dir: str | Path | None = None
    prompts: str | Path | None = None

    def check(self) -> None:
        """Raises TaskError for a setting outside what is allowed."""
        for name in ("vocab_size", "max_new_tokens", "max_prompt_tokens"):
            value = getattr(self, name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
                raise TaskError(f"{name}={value!r}: an integer of at least 1 is needed")
        if self.on_long_prompt not in get_args(OnLongPrompt):
            raise TaskError(
                f"on_long_prompt={self.on_long_prompt!r}: allowed are {', '.join(map(repr, get_args(OnLongPrompt)))}"
            )
        given = [name for name in ("task", "corpus", "prompts") if getattr(self, name) is not None]
        if len(given) > 1:
            raise TaskError(
                f"{' and '.join(given)} exclude each other: a corpus, or a prompt file, makes a task of its own"
            )
        if self.field is not None and (not given or given == ["task"]):
            raise TaskError(f"field={self.field!r} names a column of a corpus or prompt file, and no corpus is given")

    @property
    def folder(self) -> Path:
        """Where fitted arrays are kept."""
        return default_cache_dir() if self.cache_dir is None else Path(self.cache_dir).expanduser()


TaskBuilder = Callable[[TaskSettings], Task]
_builders: dict[str, TaskBuilder] = {}
_BUILTIN = dict.fromkeys(("story", "story-base", "story-zh", "story-base-zh"), "textgym.envs.story")
"""Tasks of this package by the module that registers them; loaded when they are first asked for."""


def register_task(name: str) -> Callable[[TaskBuilder], TaskBuilder]:
    """Decorates a function of the settings that makes a task, so that `gym.make("TextGen-v0", task=name)` finds it.

    A package does so for its users by an entry point in the group "textgym.tasks" whose value is such a function.

    Args:
        name: the task's name.

    Raises:
        TaskError: the name is taken.
    """
    if name in _builders:
        raise TaskError(f"task {name!r} is registered already: choose another name")

    def decorate(build: TaskBuilder) -> TaskBuilder:
        _builders[name] = build
        return build

    return decorate


def task_names() -> list[str]:
    """All tasks that can be made by name."""
    return sorted({*_BUILTIN, *_builders, *(point.name for point in entry_points(group="textgym.tasks"))})


def make_task(
    task: str | Task | None = None,
    *,
    corpus: str | Path | None = None,
    field: str | None = None,
    prompts: str | Path | None = None,
    tokenizer: str = "auto",
    vocab_size: int | None = None,
    max_new_tokens: int | None = None,
    max_prompt_tokens: int | None = None,
    on_long_prompt: str = "skip",
    cache_dir: str | Path | None = None,
) -> Task:
    """Makes a task, or gives the one that was made before from the same corpus and settings.

    Args:
        task: a registered name; None for the default unless a corpus is given. A `Task` comes back as it is.
        corpus: file to make a task from: text, CSV, JSON or JSONL.
        field: column or field of a CSV, JSON or JSONL corpus; of a prompt file "PROMPT:REFERENCE".
        prompts: file of prompts with references and metadata, JSONL, JSON or CSV; see `textgym.text.prompt_files`.
        tokenizer: "auto", "char", "word", "bpe"; a tokenizer file; or a folder or hub name of Hugging Face's.
        vocab_size: V at most, for tokenizers that are trained; None for 8,192 (bpe, char) or 4,096 (word).
        max_new_tokens: budget of a completion, EOS included; None for 64, or for the longest story of a story world.
        max_prompt_tokens: longest prompt; None for 32 in a corpus and 512 in a prompt file.
        on_long_prompt: what becomes of longer ones: "skip", "truncate" or "error".
        cache_dir: where fitted arrays are kept; None for TEXTGYM_CACHE or the user's cache folder.

    Raises:
        TaskError: settings that do not fit.
        UnknownNameError: no task has that name.
        CorpusError: a corpus that cannot be read or is too short.
        TokenizerError: a tokenizer that cannot be used.
    """
    return open_task(
        TaskSettings(
            task,
            corpus,
            field,
            tokenizer,
            vocab_size,
            max_new_tokens,
            max_prompt_tokens,
            on_long_prompt,
            cache_dir,
            prompts,
        )
    )


def open_task(settings: TaskSettings) -> Task:
    """`make_task` for settings that are already in one piece."""
    if isinstance(settings.task, Task):
        changed = [f.name for f in dataclasses.fields(settings) if getattr(settings, f.name) != f.default]
        if others := [name for name in changed if name not in ("task", "cache_dir")]:
            raise TaskError(f"task is an object and has its settings in it: leave out {', '.join(others)}")
        return settings.task
    settings.check()
    _speak()
    if settings.corpus is not None:
        return text_task(settings, corpus_text(settings.corpus, settings.field))
    if settings.prompts is not None:
        return text_task(settings, file_text(settings.prompts, settings.field))
    return task_builder(settings.task or DEFAULT_TASK)(settings)


@register_task("docstrings")
def docstrings(settings: TaskSettings) -> Task:
    """The docstrings of the installed Python's standard library: real English on every machine."""
    return text_task(settings, corpus_text("docstrings"))


def task_builder(name: str) -> TaskBuilder:
    """The function that makes the task of that name.

    Raises:
        UnknownNameError: no task has that name.
        TaskError: another package brings it, and cannot be loaded.
    """
    if name not in _builders and name in _BUILTIN:
        importlib.import_module(_BUILTIN[name])
    if name not in _builders:
        points = list(entry_points(group="textgym.tasks", name=name))
        if not points:
            raise UnknownNameError("task", name, task_names())
        point = only("task", points, TaskError)
        with blamed("task", point, TaskError):
            found = point.load()
            if name not in _builders:  # a plug-in may also call `register_task` itself
                if not callable(found):
                    raise TaskError(f"{found!r} is no function that makes a task of its settings")
                _builders[name] = found
    return _builders[name]


def text_task(
    settings: TaskSettings,
    source: TextSource,
    own_tokenizer: Tokenizer | None = None,
    finish: Callable[[Task], Task] = lambda task: task,
) -> Task:
    """The steps from text to a task; what each makes is kept under a key of everything that it depends on.

    Args:
        settings: what was asked for.
        source: the text.
        own_tokenizer: what "auto" means for this text; None chooses a kind by the text and trains it.
        finish: what is done to a task that was not made before.
    """
    given = own_tokenizer if settings.tokenizer == "auto" else None
    if given is None and settings.tokenizer not in KINDS:
        given = open_tokenizer(settings.tokenizer)
    longest = source.max_prompt_tokens if settings.max_prompt_tokens is None else settings.max_prompt_tokens
    budget = source.max_new_tokens if settings.max_new_tokens is None else settings.max_new_tokens
    text_key = [_FORMAT, source.fingerprint, settings.tokenizer if given is None else given.signature]
    text_key += [settings.vocab_size] if given is None else []
    prompt_key = [*text_key, budget, longest, settings.on_long_prompt]
    signature = f"{source.name}:{hashlib.sha256(json.dumps(prompt_key).encode()).hexdigest()[:16]}"
    if (signature, settings.folder) not in _tasks:
        store = ArrayStore(settings.folder)
        tokenizer = given or _trained_tokenizer(store, json.dumps(text_key), settings, source)
        sets = _prompt_sets(store, json.dumps(prompt_key), settings, source, tokenizer, longest, budget)
        task = Task(
            source.name,
            tokenizer,
            sets["train"],
            sets["heldout"],
            budget,
            DEFAULT_REWARD,
            TaskContext(source.name, tokenizer, sets, signature, store),
            signature,
            str(settings.corpus or settings.prompts or source.name),
            corpus_hash=source.fingerprint,
        )
        _tasks[signature, settings.folder] = finish(task)
    return _tasks[signature, settings.folder]


_tasks: dict[tuple[str, Path], Task] = {}


def _trained_tokenizer(store: ArrayStore, key: str, settings: TaskSettings, source: TextSource) -> Tokenizer:
    def train() -> Arrays:
        tokenizer = train_tokenizer(settings.tokenizer, source.training_texts(), settings.vocab_size)
        return pack_texts([tokenizer_to_json(tokenizer)])

    arrays = store.fetch("tokenizer", key, train, f"training a tokenizer on {source.name}")
    return tokenizer_from_json(unpack_texts(arrays)[0])


def _prompt_sets(
    store: ArrayStore,
    key: str,
    settings: TaskSettings,
    source: TextSource,
    tokenizer: Tokenizer,
    longest: int,
    budget: int,
) -> dict[str, PromptSet]:
    def build() -> Arrays:
        sets = source.build(
            tokenizer,
            max_new_tokens=budget,
            max_prompt_tokens=longest,
            on_long_prompt=cast(OnLongPrompt, settings.on_long_prompt),
        )
        return {f"{split}/{part}": array for split in SPLITS for part, array in sets[split].to_arrays().items()}

    arrays = store.fetch("prompts", key, build, f"finding prompts in {source.name}")
    parts = {
        split: {k.removeprefix(f"{split}/"): a for k, a in arrays.items() if k.startswith(split)} for split in SPLITS
    }
    return {split: source.from_arrays(parts[split]) for split in SPLITS}


def _speak() -> None:
    """Lets "fitting ..." reach a user who has configured no logging at all; any configuration of theirs wins."""
    logger = logging.getLogger("textgym")
    if not logger.hasHandlers() and logger.level == logging.NOTSET:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("textgym: %(message)s"))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
