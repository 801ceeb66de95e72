"""The corpus that is on every machine: the docstrings of the installed Python standard library, as English prose.

Nothing is imported: the sources are parsed with `ast`. Code, doctests, tables, lists and signatures are dropped, hard
line breaks are undone, and only whole sentences stay. The text differs between Python versions, so its fingerprint
belongs to every result, and no golden number may rest on it.
"""

import ast
import os
import platform
import re
import sysconfig
import warnings
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path

from textgym.errors import CorpusError
from textgym.text.sentences import sentences

_SKIPPED = {
    *("__pycache__", "config", "dist-packages", "encodings", "ensurepip", "idle_test", "idlelib", "lib-dynload"),
    *("lib2to3", "msilib", "pydoc_data", "site-packages", "test", "tests", "turtledemo"),
}
_LIST_OR_MARKUP = re.compile(r"[-*+•#|:@.=~^_>$%\\]|o\s|\(?\w{1,2}[.)]\s|\w+\s+--?\s|.*\S(?: {3,}|\t)\S", re.ASCII)
_SENTENCE = re.compile(r"[\"'(`]*[A-Z].*[.!?][\"')`]*")
_CODE = re.compile(r"[=<>\[\]{}|\\#@$%^~*]|->|__|::")


def library_sources() -> list[Path]:
    """The Python files of the standard library, sorted, without its tests and generated tables.

    Raises:
        CorpusError: this Python comes without its sources.
    """
    root = Path(sysconfig.get_path("stdlib"))
    sources = []
    for folder, children, files in os.walk(root):
        children[:] = sorted(name for name in children if name not in _SKIPPED and not name.startswith("config-"))
        sources += [Path(folder) / name for name in sorted(files) if name.endswith(".py")]
    if not sources:
        raise CorpusError(
            f"the corpus 'docstrings' is read from the standard library's sources, and {root} holds none. "
            "Use a full Python installation, or give a corpus of your own (a .txt, .csv, .json or .jsonl file)"
        )
    return sources


def library_inventory() -> str:
    """What the corpus depends on, cheaply: the Python version, and the name and size of every source file."""
    root = sysconfig.get_path("stdlib")
    rows = [f"{os.path.relpath(path, root)} {path.stat().st_size}" for path in library_sources()]
    return "\n".join([f"{platform.python_implementation()} {platform.python_version()}", *rows])


def read_docstrings() -> list[str]:
    """One document a module: a line a docstring, in the order of the source; no paragraph and no line appears twice."""
    seen: set[str] = set()
    documents = []
    for path in library_sources():
        lines = []
        for docstring in _docstrings(path):
            fresh = [part for part in dict.fromkeys(prose(docstring)) if part not in seen]
            line = " ".join(fresh)
            if fresh and line not in seen:
                lines.append(line)
            seen.update(fresh, [line])
        if lines:
            documents.append("\n".join(lines))
    return documents


def prose(docstring: str) -> list[str]:
    """The paragraphs of a docstring that are English prose, each as running text of whole sentences.

    >>> prose('''Return the mean.
    ...
    ...     x = mean([1, 3])
    ...
    ... The data must
    ... not be empty.
    ... ''')
    ['Return the mean.', 'The data must not be empty.']
    """
    paragraphs = []
    for block in re.split(r"\n[ \t]*\n", cleandoc(docstring)):
        lines = block.strip("\n").split("\n")
        if any(line[:1].isspace() or _LIST_OR_MARKUP.match(line) for line in lines):
            continue
        text = re.sub(r"(\w)- (?=[a-z])", r"\1-", " ".join(" ".join(lines).split()))
        kept = [sentence for sentence in sentences(text) if _is_prose(sentence)]
        if kept:
            paragraphs.append(" ".join(kept))
    return paragraphs


def _is_prose(sentence: str) -> bool:
    words = sentence.split()
    return len(words) >= 3 and bool(_SENTENCE.fullmatch(sentence)) and not _CODE.search(sentence)


def _docstrings(path: Path) -> Iterator[str]:
    """The docstrings of a file in source order; none from a file that this Python cannot parse."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in the library's own old strings
            tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node, clean=False)
            if docstring:
                yield docstring
        # Statements only: no docstring hides in an expression, and expressions are most of the tree.
        for field in ("finalbody", "orelse", "handlers", "body"):
            pending += reversed(getattr(node, field, ()))
