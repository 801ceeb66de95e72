"""Designs in a YAML file: whatever is wrong with one is said with its line and its field."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, create_model, field_validator
from pydantic_core import ErrorDetails, PydanticCustomError
from textgym.benchmarks.rewards.design import FIELDS, REQUIRED, Design, problem_of
from textgym.benchmarks.rewards.designs import MODEL, builtin
from textgym.benchmarks.rewards.yaml_tree import Place, YamlTree

from textgym.errors import DesignError, TextGymError, did_you_mean
from textgym.scorers.spec import resolve

EXAMPLE = """a file of designs is like this one:
    designs:
      - name: mine
        reward: fluency - repetition"""


@dataclass(frozen=True)
class DesignFile:
    """What a file says.

    Attributes:
        designs: in their order, no two of one name.
        task: that they are for; None where the file names none.
    """

    designs: list[Design]
    task: str | None = None


def read_designs(path: Path, *, model: str = MODEL) -> DesignFile:
    """Reads a file of designs.

    Args:
        path: UTF-8 YAML, a mapping of `designs`, a list, and `task`, which may be left out. A design is the name of a
            built-in one (or of a group of them), or a mapping of the fields of `Design`.
        model: checkpoint whose log-probabilities built-in naive rewards are of.

    Raises:
        DesignError: a file that cannot be read or says something else; the message names line and field of each
            problem, and shows a reward that cannot be read with the place underlined.
    """
    tree = YamlTree(path)
    if not isinstance(tree.value, dict):
        raise tree.error([(tree.line(()), f"{_kind(tree.value)} is no mapping; {EXAMPLE}")])
    try:
        file = _File.model_validate(tree.value)
    except ValidationError as error:
        raise tree.error([_problem(tree, (), each) for each in error.errors()]) from None
    found: list[tuple[Place, Design]] = []
    problems: list[tuple[int, str]] = []
    for index, given in enumerate(file.designs):
        place: Place = ("designs", index)
        try:
            found += [(place, design) for design in _designs(given, model)]
        except ValidationError as error:
            problems += [_problem(tree, place, each) for each in error.errors()]
        except TextGymError as error:
            problems.append((tree.line(place), f"designs: {error}"))
    problems += _namesakes(tree, found)
    if problems:
        raise tree.error(problems)
    return DesignFile([design for _, design in found], file.task)


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    designs: list[Any]
    task: str | None = None

    @field_validator("designs")
    @classmethod
    def _some(cls, designs: list[Any]) -> list[Any]:
        if not designs:
            raise _wrong("an empty list; at least one design is needed")
        return designs


def _allowed(value: Any, info: ValidationInfo) -> Any:
    assert info.field_name is not None
    if problem := problem_of(info.field_name, value):
        raise _wrong(problem)
    return value


def _readable(reward: str) -> str:
    if not reward.strip():
        raise _wrong("it is empty; what the task itself pays is the design `- default`")
    try:
        resolve(reward)
    except TextGymError as error:
        raise _wrong(str(error)) from error
    return reward.strip()


def _wrong(message: str) -> PydanticCustomError:
    return PydanticCustomError("wrong", "{message}", {"message": message})


_TYPES = get_type_hints(Design)
_FIELDS: dict[str, Any] = {field: (_TYPES[field], ... if field in REQUIRED else None) for field in FIELDS}
_Design = create_model(
    "_Design",
    __config__=ConfigDict(extra="forbid", strict=True),
    __validators__={"allowed": field_validator("*")(_allowed), "readable": field_validator("reward")(_readable)},
    **_FIELDS,
)


def _designs(given: Any, model: str) -> list[Design]:
    """The design that an item of the list is, or those of the group that it names."""
    if isinstance(given, str):
        return builtin([given], model=model)
    if not isinstance(given, dict):
        raise DesignError(f"{_kind(given)} is no design; that is a mapping, or the name of a built-in one")
    return [Design(**_Design.model_validate(given).model_dump(exclude_unset=True))]


def _namesakes(tree: YamlTree, found: list[tuple[Place, Design]]) -> Iterator[tuple[int, str]]:
    first: dict[str, Place] = {}
    for place, design in found:
        if design.name in first:
            named = tree.line((*first[design.name], "name"))
            yield tree.line((*place, "name")), f"name: {design.name!r} is that of the design on line {named}, too"
        first.setdefault(design.name, place)


def _problem(tree: YamlTree, place: Place, error: ErrorDetails) -> tuple[int, str]:
    """Line, field, and what pydantic found there; `place` is of what was validated."""
    inner = error["loc"]
    field, line = ".".join(map(str, inner)), tree.line((*place, *inner))
    if error["type"] == "extra_forbidden":
        known = FIELDS if place else tuple(_File.model_fields)
        return line, f"{field}: no such field. {did_you_mean(field, known)}"
    if error["type"] == "missing":
        return line, f"{field}: it is missing; every {'design' if place else 'file of designs'} has it"
    if error["type"] in _EXPECTED:
        return line, f"{field}: {_EXPECTED[error['type']]} is expected, not {_kind(error['input'])}"
    return line, f"{field}: {error['msg']}"


_EXPECTED = {
    "string_type": "text",
    "float_type": "a number",
    "dict_type": "a mapping",
    "list_type": "a list",
}
"""In the words of YAML what pydantic found missing."""


def _kind(value: Any) -> str:
    """What a value is, for messages."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"the number {value}"
    return {dict: "a mapping", list: "a list", type(None): "nothing"}.get(type(value), repr(value))
