"""Any Python function as a scorer, called by what its signature takes.

======================================  ==================================================================
``f(text)``                             the completion's text (one parameter, any name not listed below)
``f(completion, references, ...)``      any of `ROW_NAMES` and of the keys of the metadata, one row a call
``f(prompts, completions, **columns)``  any of `COLUMN_NAMES` and of the keys of the metadata, as lists (TRL)
``f(batch)``                            the whole `TextBatch` (a parameter named so, or annotated so)
======================================  ==================================================================

A row function returns a number, or None for "not applicable"; the others a list of those, or `Scores`.
"""

import dataclasses
import hashlib
import importlib.util
import inspect
import sys
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np

from textgym.errors import ScorerError, ScoringFailure, did_you_mean
from textgym.scorers.base import Score, Scorer, register
from textgym.types import Scores, ScoringContext, TextBatch

ROW_NAMES = ("prompt", "completion", "references", "metadata", "prompt_ids", "completion_ids")
COLUMN_NAMES = ("prompts", "completions", "references", "metadata", "prompt_ids", "completion_ids")

Function = Callable[..., Any]


@dataclass(frozen=True)
class CallableScorer(Scorer):
    """A function in hand. It takes part in expressions, but has no text form that could be read back.

    Args:
        function: what is called; see the table above.
    """

    function: Function

    def __post_init__(self) -> None:
        caller_of(self.function)  # a signature that nothing fits is refused here

    @property
    def label(self) -> str:
        """The function's name."""
        return getattr(self.function, "__name__", type(self.function).__name__)

    def score(self, batch: TextBatch) -> Scores:
        """Scores B completions: values (B,)."""
        return caller_of(self.function)(batch)

    def render(self, full: bool = False) -> str:
        """``<function name>``; the full form holds the hash of its source."""
        if not full:
            return f"<function {self.label}>"
        home = f"{getattr(self.function, '__module__', '')}.{getattr(self.function, '__qualname__', self.label)}"
        try:
            source = _sha(inspect.getsource(self.function).encode())
        except (OSError, TypeError):  # built in, or typed into an interpreter
            source = "unknown"
        return f"<function {home} sha={source}>"


@register("call")
@dataclass(frozen=True)
class FileScorer(Scorer):
    """A function in a Python file, by ``path/to/file.py:function``; the file is run when the scorer is bound.

    Args:
        reference: path and name; a relative path is relative to the working directory.
    """

    reference: str
    positional = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        path, _, name = self.reference.rpartition(":")
        if not path.endswith(".py") or not name.isidentifier():
            raise ScorerError(f"{self.reference!r} is no reference to a function: write path/to/file.py:function")

    @property
    def label(self) -> str:
        """The function's name."""
        return self.reference.rpartition(":")[2]

    def prepare(self, context: ScoringContext | None) -> Score:
        """Runs the file."""
        return caller_of(self._load())

    def score(self, batch: TextBatch) -> Scores:
        """Scores B completions: values (B,)."""
        return self.prepare(None)(batch)

    def fingerprint(self, context: ScoringContext) -> str:
        """Hash of the file."""
        return f"{self.reference} sha={_sha(_read(self.reference))}"

    def _load(self) -> Function:
        path, _, name = self.reference.rpartition(":")
        module = _run_file(str(Path(path).resolve()), _sha(_read(self.reference)))
        function = getattr(module, name, None)
        if not callable(function) or isinstance(function, type):
            there = [key for key, value in vars(module).items() if inspect.isfunction(value)]
            raise ScorerError(f"{path} has no function {name!r}. {did_you_mean(name, there)}")
        return typing.cast(Function, function)


@dataclass(frozen=True)
class RegisteredFunction(Scorer):
    """What `register` makes of a function: a scorer whose parameters are the function's keyword-only ones."""

    function: ClassVar[Function]

    def score(self, batch: TextBatch) -> Scores:
        """Scores B completions: values (B,)."""
        fixed = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return caller_of(partial(type(self).function, **fixed) if fixed else type(self).function)(batch)


def scorer_class_of(function: Function, name: str) -> type[Scorer]:
    """A scorer class for a function that is registered under a name."""
    hints = typing.get_type_hints(function)
    fields = [
        (p.name, hints.get(p.name, Any))
        if p.default is p.empty
        else (p.name, hints.get(p.name, Any), dataclasses.field(default=p.default))
        for p in inspect.signature(function).parameters.values()
        if p.kind is p.KEYWORD_ONLY and p.name not in (*ROW_NAMES, *COLUMN_NAMES)
    ]
    caller_of(partial(function, **dict.fromkeys((field[0] for field in fields), None)) if fields else function)
    return dataclasses.make_dataclass(
        f"Registered_{name}",
        fields,
        bases=(RegisteredFunction,),
        frozen=True,
        namespace={"function": staticmethod(function), "__module__": function.__module__, "__doc__": function.__doc__},
    )


def caller_of(function: Function) -> Score:
    """The function as a scorer of batches, by what its parameters are called.

    Raises:
        ScorerError: its parameters are more than one and none of the names that are known.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some built-ins have none
        return partial(_call_with_text, function)
    taken = [p for p in signature.parameters.values() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    taken = [p for p in taken if not (isinstance(function, partial) and p.name in function.keywords)]
    anything = any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())
    names = [p.name for p in taken]
    needed = [p.name for p in taken if p.default is p.empty]
    if taken and (names[0] == "batch" or taken[0].annotation in (TextBatch, "TextBatch")) and len(needed) < 2:
        return partial(_call_with_batch, function)
    if "completions" in names or "prompts" in names:
        return partial(_call_with_columns, function, None if anything else tuple(names))
    if {*needed} & {*ROW_NAMES} or (anything and not needed):
        return partial(_call_with_row, function, None if anything else tuple(names))
    if len(needed) == 1 or (names and not needed):
        return partial(_call_with_text, function)
    raise ScorerError(
        f"{getattr(function, '__name__', function)}{signature} is no reward function: it takes one text, or "
        f"any of {', '.join(ROW_NAMES)} (one row a call), or any of {', '.join(COLUMN_NAMES)} (lists), or a batch"
    )


def _call_with_text(function: Function, batch: TextBatch) -> Scores:
    return _as_scores([function(text) for text in batch.completion_texts])


def _call_with_batch(function: Function, batch: TextBatch) -> Scores:
    result = function(batch)
    return result if isinstance(result, Scores) else _as_scores(result)


def _call_with_row(function: Function, names: Sequence[str] | None, batch: TextBatch) -> Scores:
    rows = []
    for index in range(len(batch)):
        row: dict[str, Any] = {
            **(batch.metadata[index] if batch.metadata else {}),
            "prompt": batch.prompt_texts[index],
            "completion": batch.completion_texts[index],
            "references": list(batch.references[index]) if batch.references else [],
            "metadata": dict(batch.metadata[index]) if batch.metadata else {},
            "prompt_ids": batch.prompts[index],
            "completion_ids": batch.completions[index],
        }
        rows.append(function(**_chosen(row, names)))
    return _as_scores(rows)


def _call_with_columns(function: Function, names: Sequence[str] | None, batch: TextBatch) -> Scores:
    keys = dict.fromkeys(key for row in batch.metadata for key in row)
    columns: dict[str, Any] = {
        **{key: [row.get(key) for row in batch.metadata] for key in keys},
        "prompts": list(batch.prompt_texts),
        "completions": list(batch.completion_texts),
        "references": [list(row) for row in batch.references] or [[] for _ in range(len(batch))],
        "metadata": [dict(row) for row in batch.metadata] or [{} for _ in range(len(batch))],
        "prompt_ids": list(batch.prompts),
        "completion_ids": list(batch.completions),
    }
    return _as_scores(function(**_chosen(columns, names)))


def _chosen(given: Mapping[str, Any], names: Sequence[str] | None) -> dict[str, Any]:
    """The arguments that the function takes; all if it takes anything."""
    return {key: value for key, value in given.items() if names is None or key in names}


def _as_scores(results: Any) -> Scores:
    """Numbers and Nones as Scores; the shape is checked by whoever asked."""
    if isinstance(results, (str, bytes)) or not isinstance(results, (Sequence, np.ndarray)):
        raise ScoringFailure(f"a list with a number for each text is expected, not {type(results).__name__}")
    values = [0.0 if result is None else _number(result) for result in results]
    valid = [result is not None for result in results]
    return Scores(np.array(values, dtype=np.float64), np.array(valid, dtype=bool))


def _number(result: Any) -> float:
    """A Python, numpy or torch scalar as a float; text is none, even if it reads as one."""
    try:
        if hasattr(result, "__float__"):
            return float(result)
    except (TypeError, ValueError):  # an array of several numbers
        pass
    raise ScoringFailure(f"a number or None is expected for each text, not {result!r}")


def _read(reference: str) -> bytes:
    path = Path(reference.rpartition(":")[0])
    try:
        return path.read_bytes()
    except OSError as error:
        raise ScorerError(f"{reference}: cannot read {path}: {error.strerror or error}") from error


@lru_cache(maxsize=64)
def _run_file(path: str, sha: str) -> ModuleType:
    """The module that a file defines; run once for each content."""
    name = f"textgym_reward_{sha}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None, "a path that ends in .py has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickling look there
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise ScorerError(f"{path} fails when it is run: {type(error).__name__}: {error}") from error
    return module


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
