"""A piece of work and its rows: each row says what was run, under which settings and versions."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from textgym.runs.config import versions

Row = dict[str, Any]


@dataclass(frozen=True)
class Unit:
    """What is measured together, and saved together or not at all.

    Attributes:
        experiment: which one.
        case: what is measured in it.
        turn: its seed.
        config: all that the result depends on, beside versions and seed.
        measure: makes the rows, without what stands here.
    """

    experiment: str
    case: str
    turn: int
    config: Mapping[str, Any]
    measure: Callable[[], Iterable[Row]]

    @property
    def key(self) -> tuple[Any, ...]:
        """What the rows are found again by."""
        return self.experiment, self.case, self.turn, self._hash

    @property
    def _hash(self) -> str:
        text = json.dumps({"config": self.config, "versions": versions()}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def run(self) -> list[Row]:
        """Measures."""
        told = {"experiment": self.experiment, "case": self.case, "turn": self.turn, "config_hash": self._hash}
        about = {"config": dict(self.config), "versions": versions()}
        return [told | row | about for row in self.measure()]
