"""Rollouts that a trainer wrote down: prompts, completions and what they earned, whoever wrote them.

==================  ===========================================  ==========================================
written by          recognised by                                reward
==================  ===========================================  ==========================================
``textgym train``   ``prompt, completion``, ``reward``           ``reward``, parts in ``components``
``textgym rank``    ``prompt, completion``, ``score``            ``score``, parts in ``components``
``samples.jsonl``   ``prompt, before, after``                    ``reward`` in ``before_scores`` and
of a run                                                         ``after_scores``; a row is two rollouts
TRL, completions    ``prompt, completion, advantage``            the sum of the other columns of numbers,
logged                                                           which are one a reward function
verl, folder of     ``input, output``, ``score`` and ``gts``     ``score``; other numbers are its parts
``rollout_data_dir``
OpenRLHF, and       ``input`` (or ``query``), ``output`` (or     ``reward`` or ``score``, if any
others              ``response``)
==================  ===========================================  ==========================================

Files are JSON Lines, or Parquet where pyarrow is installed; a folder is all such files in it, in the order of the
numbers in their names. References are ``references``, ``reference``, ``gts``, ``ground_truth``, ``answer`` or
``label``; every other field is metadata.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from textgym.errors import CorpusError, MissingExtraError, did_you_mean
from textgym.text.messages import text_of

PROMPTS: Final = ("prompt", "input", "query", "question")
COMPLETIONS: Final = ("completion", "output", "response")
REFERENCES: Final = ("references", "reference", "gts", "ground_truth", "answer", "label", "labels")
REWARDS: Final = ("reward", "score")
GROUPS: Final = ("group", "group_id", "uid", "prompt_id")
"""Names of each field, the first that a row has counts."""

_KNOWN = {"completions", "components", "metadata", "step", "phase", "references", "reference"}
_KNOWN |= {"before", "after", "before_scores", "after_scores", "prompt_ids", "completion_ids"}


@dataclass(frozen=True)
class Rollout:
    """One completion and what was recorded of it.

    Attributes:
        prompt: empty if the row has none.
        completion: the text.
        references: what it may resemble; numbers become their text.
        metadata: every field that is nothing else; "ground_truth" too, as it was, where the row has one.
        reward: what it earned; None where that was not recorded or not applicable.
        rewards: the recorded parts of the reward by name, NaN where not applicable.
        step: of training.
        phase: "before" or "after" training, or "train"; empty where that is not known.
        group: what the completions of one prompt have in common: the row's own, else the prompt.
        line: where it stands in its file, from 1.
        source: the file.
        prompt_ids: of the prompt, in the tokenizer it was written with; None where they were not recorded.
        completion_ids: of the completion, EOS included.
    """

    prompt: str
    completion: str
    references: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    reward: float | None = None
    rewards: Mapping[str, float] = field(default_factory=dict)
    step: int | None = None
    phase: str = ""
    group: str = ""
    line: int = 0
    source: str = ""
    prompt_ids: tuple[int, ...] | None = None
    completion_ids: tuple[int, ...] | None = None


def read_rollouts(path: str | Path) -> Iterator[Rollout]:
    """Rollouts one at a time, in the order in which they stand.

    Args:
        path: a file, or a folder of files.

    Raises:
        CorpusError: nothing is there, or a row is no rollout; names file and line.
        MissingExtraError: a Parquet file without pyarrow.
    """
    found = False
    for file in _files(Path(path)):
        for line, row in _rows(file):
            found = True
            yield from _rollouts(row, file, line)
    if not found:
        raise CorpusError(f"{path} holds no rollouts: it is empty")


def references_in(row: Mapping[str, Any]) -> tuple[str, ...]:
    """What a row of data says a good completion may resemble, under whichever of the usual names.

    Args:
        row: fields by name; texts, numbers, or lists of them count.
    """
    value = row.get(_first(row, REFERENCES))
    values = value if isinstance(value, list | tuple) else [value]
    return tuple(str(text) for text in values if isinstance(text, str | int | float))


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        files = [file for kind in ("*.jsonl", "*.parquet") for file in path.glob(kind)]
        if not files:
            raise CorpusError(f"the folder {path} holds no rollouts: files end in .jsonl or .parquet")
        return sorted(files, key=_by_number)
    if not path.exists():
        near = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
        raise CorpusError(f"no such file: {path}. {did_you_mean(path.name, near) if near else ''}".strip())
    return [path]


def _by_number(file: Path) -> list[tuple[int, str]]:
    """Step 10 comes after step 9."""
    return [(int(digits or 0), text) for digits, text in re.findall(r"(\d*)(\D*)", file.name)]


def _rows(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    if file.suffix == ".parquet":
        yield from _parquet_rows(file)
        return
    with file.open("rb") as lines:
        for number, raw in enumerate(lines, start=1):
            if raw.strip():
                yield number, _row(raw, f"{file}, line {number}")


def _row(raw: bytes, where: str) -> dict[str, Any]:
    try:
        row = json.loads(raw.decode("utf-8-sig"))
    except ValueError as error:
        raise CorpusError(f"{where}: it is no JSON ({error}); rollouts are one JSON object a line") from error
    if not isinstance(row, dict):
        raise CorpusError(f"{where}: an object is expected, not {type(row).__name__}")
    return row


def _parquet_rows(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        parquet = import_module("pyarrow.parquet")
    except ImportError as error:
        raise MissingExtraError("pyarrow", "peers", f"reading {file.name}, a Parquet file,") from error
    number = 0
    for batch in parquet.ParquetFile(file).iter_batches():
        for row in batch.to_pylist():
            number += 1
            yield number, row


def _rollouts(row: dict[str, Any], file: Path, line: int) -> Iterator[Rollout]:
    where = f"{file}, line {line}"
    used = _KNOWN | {_first(row, names) for names in (PROMPTS, COMPLETIONS, REWARDS, GROUPS)}
    rest = {key: value for key, value in row.items() if key not in used}
    prompt = _text(row, PROMPTS, where) if _first(row, PROMPTS) else ""
    shared = Rollout(
        prompt,
        "",
        references_in(row),
        _metadata(row, rest, where),
        step=_step(row, where),
        phase=str(row.get("phase") or ""),
        group=str(row[_first(row, GROUPS)]) if _first(row, GROUPS) else prompt,
        line=line,
        source=str(file),
        prompt_ids=_ids(row, "prompt_ids", where),
        completion_ids=_ids(row, "completion_ids", where),
    )
    if {"before", "after"} <= row.keys():
        for phase in ("before", "after"):
            reward, parts = _of_sample(row.get(f"{phase}_scores"), f"{where}, {phase}_scores")
            text = _text(row, (phase,), where)
            yield replace(shared, completion=text, reward=reward, rewards=parts, phase=phase)
        return
    reward, parts = _earned(row, rest, where)
    completions = row["completions"] if "completions" in row else [_text(row, COMPLETIONS, where)]
    if not isinstance(completions, list) or not all(isinstance(text, str) for text in completions):
        raise CorpusError(f"{where}: 'completions' must be a list of texts")
    for text in completions:
        yield replace(shared, completion=text, reward=reward, rewards=parts)


def _text(row: Mapping[str, Any], names: tuple[str, ...], where: str) -> str:
    name = _first(row, names)
    if not name:
        raise CorpusError(
            f"{where}: it has no {' or '.join(map(repr, names))}; its fields are {', '.join(map(repr, row)) or 'none'}"
        )
    try:
        return text_of(row[name])
    except TypeError as error:
        raise CorpusError(f"{where}: {name!r}: {error}") from error


def _first(row: Mapping[str, Any], names: tuple[str, ...]) -> str:
    return next((name for name in names if name in row), "")


def _metadata(row: Mapping[str, Any], rest: dict[str, Any], where: str) -> dict[str, Any]:
    own = row.get("metadata") or {}
    if not isinstance(own, dict):
        raise CorpusError(f"{where}: 'metadata' must be an object, not {type(own).__name__}")
    truth = {"ground_truth": row["gts"]} if row.get("gts") is not None else {}
    return {**rest, **truth, **own}


def _step(row: Mapping[str, Any], where: str) -> int | None:
    value = row.get("step")
    if value is None or (_is_number(value) and float(value).is_integer()):
        return None if value is None else int(value)
    raise CorpusError(f"{where}: 'step' must be a whole number, not {value!r}")


def _ids(row: Mapping[str, Any], name: str, where: str) -> tuple[int, ...] | None:
    value = row.get(name)
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(token, int) for token in value):
        raise CorpusError(f"{where}: {name!r} must be a list of ids")
    return tuple(value)


def _earned(row: Mapping[str, Any], rest: Mapping[str, Any], where: str) -> tuple[float | None, dict[str, float]]:
    """The reward and its parts."""
    name = _first(row, REWARDS)
    if "components" in row:
        return _number(row.get(name), f"{where}: {name!r}"), _numbers(row["components"], f"{where}: 'components'")
    columns = {key: value for key, value in rest.items() if _is_number(value) and key not in REFERENCES}
    if name:
        theirs = "output" in row and "gts" in row  # verl says beside the score what it is made of
        return _number(row[name], f"{where}: {name!r}"), _numbers(columns, where) if theirs else {}
    if "advantage" in row:
        parts = _numbers({key: value for key, value in columns.items() if key != "advantage"}, where)
        applicable = [value for value in parts.values() if not math.isnan(value)]
        return (sum(applicable) if applicable else None), parts
    return None, {}


def _of_sample(scores: Any, where: str) -> tuple[float | None, dict[str, float]]:
    """Reward and components among all that a run measured of a completion."""
    found = _numbers({} if scores is None else scores, where)
    parts = {key.removeprefix("reward/"): value for key, value in found.items() if key.startswith("reward/")}
    return _number(found.get("reward"), where), parts


def _numbers(values: Any, where: str) -> dict[str, float]:
    if not isinstance(values, dict):
        raise CorpusError(f"{where} must be an object of numbers, not {type(values).__name__}")
    numbers = {key: _number(value, f"{where}, {key!r}") for key, value in values.items()}
    return {key: math.nan if value is None else value for key, value in numbers.items()}


def _number(value: Any, where: str) -> float | None:
    if value is None or (_is_number(value) and math.isnan(value)):
        return None
    if not _is_number(value):
        raise CorpusError(f"{where} must be a number, not {value!r}")
    return float(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)
