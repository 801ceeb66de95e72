"""YAML of strangers: plain values, the line of each, and nothing that could be run or could grow."""

import re
from pathlib import Path
from typing import Any, ClassVar

import yaml

from textgym.errors import DesignError, did_you_mean

MAX_BYTES = 100_000
"""Of a file: some hundreds of designs; more is something else than designs."""

SHOWN = 8
"""Problems that are told at once."""

Place = tuple[str | int, ...]
"""Of a value in its file: keys of mappings and places in lists, from the outermost."""


class YamlTree:
    """A YAML file as plain values, and the line of each.

    Aliases and tags are refused, and so are keys that are no words or stand in a mapping twice.

    Args:
        path: UTF-8.

    Attributes:
        value: what it says; None where it says nothing.

    Raises:
        DesignError: it cannot be read; the message names the line.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines: dict[Place, int] = {(): 1}
        text = _text(path)
        try:
            loader = _Loader(text)
            node = loader.get_single_node()
            self.value = None if node is None else self._plain(loader, node, ())
        except yaml.YAMLError as error:
            raise self.error([_problem(error, text)]) from None
        except RecursionError:
            raise self.error([(1, "it is nested too deeply")]) from None

    def line(self, place: Place) -> int:
        """The line where a value begins, from 1; of what is missing, that of what it is missing in."""
        while place not in self._lines:
            place = place[:-1]
        return self._lines[place]

    def error(self, problems: list[tuple[int, str]]) -> DesignError:
        """The error that tells of problems with the file.

        Args:
            problems: each a line and what is wrong there; the first `SHOWN` are told, one a line.
        """
        told = [f"{self.path}, line {line}, {what}" for line, what in sorted(problems, key=lambda each: each[0])]
        more = [f"and {len(told) - SHOWN} more"] if len(told) > SHOWN else []
        return DesignError("\n".join(told[:SHOWN] + more))

    def _plain(self, loader: "_Loader", node: yaml.Node, place: Place) -> Any:
        self._lines.setdefault(place, node.start_mark.line + 1)
        if node.tag not in _TAGS:
            raise _refused(f"tags such as {node.tag.replace(_STANDARD, '!!')} are not allowed", node)
        if isinstance(node, yaml.SequenceNode):
            return [self._plain(loader, item, (*place, index)) for index, item in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode):
            return self._mapping(loader, node, place)
        return loader.construct_object(node)

    def _mapping(self, loader: "_Loader", node: yaml.MappingNode, place: Place) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _refused("a word is expected before the colon", key)
            inner = (*place, key.value)
            if key.value in found:
                raise _refused(f"{key.value!r} stands on line {self._lines[inner]} already", key)
            self._lines[inner] = key.start_mark.line + 1
            found[key.value] = self._plain(loader, value, inner)
        return found


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """Words and numbers as in YAML 1.2, which are JSON's: in 1.1 `no` is false, and 1e-3 a word."""

    yaml_implicit_resolvers: ClassVar[dict[str, list[tuple[str, re.Pattern[str]]]]] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Refuses aliases: a few, one within another, are enough to fill any memory."""
        if self.check_event(yaml.AliasEvent):
            raise _refused("aliases (*name) are not allowed; write it out", self.peek_event())
        found: yaml.Node | None = super().compose_node(parent, index)
        return found


_STANDARD = "tag:yaml.org,2002:"
_NUMBER = list("-+.0123456789")
_SCALARS = {
    "null": ("|~|null", ["", "~", "n"]),
    "bool": ("true|false", ["t", "f"]),
    "int": ("-?(0|[1-9][0-9]*)", _NUMBER),
    "float": (r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?", _NUMBER),
}
for _kind, (_pattern, _first) in _SCALARS.items():
    _Loader.add_implicit_resolver(_STANDARD + _kind, re.compile(f"(?:{_pattern})\\Z"), _first)
_TAGS = tuple(_STANDARD + kind for kind in (*_SCALARS, "str", "map", "seq"))


def _refused(what: str, where: yaml.Node | yaml.Event) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=what, problem_mark=where.start_mark)


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        near = [other.name for other in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
        raise DesignError(f"no such file: {path}.{f' {did_you_mean(path.name, near)}' if near else ''}") from None
    except IsADirectoryError:
        raise DesignError(f"{path} is a folder; give a file of designs") from None
    except OSError as error:
        raise DesignError(f"{path} cannot be read: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise DesignError(f"{path} has more than {MAX_BYTES:,} bytes; that is no file of designs")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DesignError(f"{path}, line {line}, it is not UTF-8 text ({error.reason})") from error


def _problem(error: yaml.YAMLError, text: str) -> tuple[int, str]:
    """Line, and what the parser found there."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        position = getattr(error, "position", 0)
        return text.count("\n", 0, position) + 1, f"it is no YAML: {getattr(error, 'reason', error)}"
    mark, begun = error.problem_mark, error.context_mark
    since = f" that begins on line {begun.line + 1}" if begun is not None and begun.line != mark.line else ""
    context = f" ({error.context}{since})" if error.context else ""
    hint = "; indent by spaces, not by tabs" if "'\\t'" in str(error.problem) else ""
    return mark.line + 1, f"column {mark.column + 1}: {error.problem}{context}{hint}"
