"""Any Python function as a scorer: in hand, in a file, or registered. `calling` says with what it is called."""

import dataclasses
import hashlib
import importlib.util
import inspect
import sys
import typing
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

from textgym.errors import ScorerError, did_you_mean
from textgym.scorers.base import Score, Scorer, register
from textgym.scorers.calling import COLUMN_NAMES, ROW_NAMES, Function, caller_of
from textgym.types import Scores, ScoringContext, TextBatch


@dataclass(frozen=True)
class CallableScorer(Scorer):
    """A function in hand. It takes part in expressions, but has no text form that could be read back.

    Args:
        function: what is called; see the table in `calling`.
    """

    function: Function

    def __post_init__(self) -> None:
        caller_of(self.function)  # a signature that nothing fits is refused here

    @property
    def component(self) -> str:
        """The function's name."""
        return getattr(self.function, "__name__", type(self.function).__name__)

    def score(self, batch: TextBatch) -> Scores:
        """Scores B completions: values (B,)."""
        return caller_of(self.function)(batch)

    def render(self, full: bool = False) -> str:
        """``<function name>``; the full form holds the hash of its source."""
        if not full:
            return f"<function {self.component}>"
        home = f"{getattr(self.function, '__module__', '')}.{getattr(self.function, '__qualname__', self.component)}"
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
    formula = "f(completion)"
    source = ""
    positional = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        path, _, name = self.reference.rpartition(":")
        if not path.endswith(".py") or not name.isidentifier():
            raise ScorerError(f"{self.reference!r} is no reference to a function: write path/to/file.py:function")

    @property
    def component(self) -> str:
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
