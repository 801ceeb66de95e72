"""Result rows: JSON Lines, each with all that is needed to read it by itself, written whole or not at all."""

import hashlib
import json
import os
import platform
import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import textgym
from textgym.errors import TaskError
from textgym.runs.config import versions
from textgym.text.store import write_atomic

Row = dict[str, Any]

PEERS = ("transformers", "trl", "accelerate", "datasets")


def read(path: Path) -> list[Row]:
    """The rows of a file.

    Raises:
        TaskError: no such file, or a line that is no row.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise TaskError(f"{path} cannot be read: {error.strerror}") from error
    return [_row(line, f"{path}, line {number}") for number, line in enumerate(lines, 1)]


def _row(line: str, place: str) -> Row:
    try:
        row: Row = json.loads(line)
        key(row)
    except (ValueError, KeyError, TypeError):
        raise TaskError(f"{place}, is no row of textgym.benchmarks.speed: {line[:60]!r}") from None
    return row


def key(row: Row) -> tuple[Any, ...]:
    """What a piece of work is found again by: experiment, case, turn, hash of configuration, versions and code."""
    return row["experiment"], row["case"], row["turn"], row["config_hash"]


def append(path: Path, rows: Iterable[Row]) -> None:
    """Adds rows that belong together: all of them or, if the process dies meanwhile, none."""
    before = path.read_bytes() if path.exists() else b""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, before + "".join(json.dumps(row) + "\n" for row in rows).encode())


def latest(rows: list[Row]) -> list[Row]:
    """Of each case only the rows of its last configuration: an older one was measured with other code or settings."""
    last = {(row["experiment"], row["case"]): row["config_hash"] for row in rows}
    return [row for row in rows if last[row["experiment"], row["case"]] == row["config_hash"]]


def config_hash(config: Mapping[str, Any]) -> str:
    """Of a configuration, the versions and the code that was measured; 16 hexadecimal digits."""
    text = json.dumps({"config": config, "versions": all_versions(), "code": code_hash()}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@cache
def all_versions() -> dict[str, str]:
    """Versions of what decides a result, the peers included where they are installed."""
    return versions() | {name: version(name) for name in PEERS if find_spec(name) is not None}


@cache
def code_hash() -> str:
    """Of every source file of the package and of this benchmark, 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for folder in (Path(textgym.__file__).parent, Path(__file__).parent):
        for path in sorted(folder.rglob("*.py")):
            digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


@cache
def machine() -> dict[str, Any]:
    """What the figures depend on; nothing that names the machine."""
    import torch

    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (AttributeError, ValueError, OSError):
        memory = float("nan")
    return {
        "system": platform.system(),
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory, 1) if memory == memory else None,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def load() -> float | None:
    """Average number of processes that wanted the processor in the last minute."""
    try:
        return round(os.getloadavg()[0], 2)
    except (AttributeError, OSError):
        return None


def _cpu_model() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor() or platform.machine()
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.machine()
