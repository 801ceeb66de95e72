"""A reward design: what is paid, and whatever of how it is learned belongs to it."""

import dataclasses
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from textgym.errors import DesignError, did_you_mean
from textgym.runs.config import KL_IN
from textgym.scorers.delivery import DELIVERIES

RESERVED = ("reference", "corpus")
"""Names of what every design is compared with."""

LONGEST_NAME = 120
"""Characters; a name heads rows and columns of tables."""


@dataclass(frozen=True)
class Design:
    """A reward and how it is paid. What is None is as the benchmark's plan has it.

    Args:
        name: what tables call it, one line.
        reward: an expression, or ``path/to/file.py:function``; empty is the task's own.
        agent: who learns on it, by name.
        delivery: when it is paid: "terminal", "per_token" or "shaped".
        gamma: discount, above 0 and at most 1.
        beta: coefficient of the KL from the reference, in reward units a nat, at least 0.
        kl_in: where that is paid: in the "reward" or in the "loss".
        settings: of the agent, by name, JSON-able; they go before the plan's.
        constraint: which tokens may come next, as `make_sb3_env` takes it, e.g. {"min_new_tokens": 8}.
        about: what is expected of it, a sentence, for whoever reads the file.

    Raises:
        DesignError: a value that is not allowed.
    """

    name: str
    reward: str
    _: dataclasses.KW_ONLY
    agent: str | None = None
    delivery: str | None = None
    gamma: float | None = None
    beta: float | None = None
    kl_in: str | None = None
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    constraint: Mapping[str, Any] | None = None
    about: str = ""

    def __post_init__(self) -> None:
        for field in FIELDS:
            if problem := problem_of(field, getattr(self, field)):
                raise DesignError(f"design {self.name!r}, {field}: {problem}")

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able values; what is left to the plan is left out."""
        values = {name: getattr(self, name) for name in FIELDS}
        return {name: value for name, value in values.items() if name in REQUIRED or value != _DEFAULTS[name]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Design":
        """The design that `to_dict` gave the values of.

        Raises:
            DesignError: a field that designs do not have, or a value that is not allowed.
        """
        for name in values:
            if name not in FIELDS:
                raise DesignError(f"a design has no field {name!r}. {did_you_mean(name, FIELDS)}")
        for name in REQUIRED:
            if name not in values:
                raise DesignError(f"a design without {name!r}; it has {', '.join(map(repr, values)) or 'nothing'}")
        return cls(**values)


FIELDS = tuple(field.name for field in dataclasses.fields(Design))
REQUIRED = ("name", "reward")


def problem_of(field: str, value: Any) -> str | None:
    """What is wrong with the value of a field; None where it is allowed.

    Args:
        field: one of `FIELDS`.
        value: of the type that the field has.
    """
    check = _CHECKS.get(field)
    return None if value is None or check is None else check(field, value)


def _name(field: str, value: str) -> str | None:
    if not value.strip():
        return "it is empty; tables call the design by it"
    if not value.isprintable() or len(value) > LONGEST_NAME:
        return f"one line of at most {LONGEST_NAME} characters is needed"
    if value in RESERVED:
        return f"{value!r} is what designs are compared with; choose another"
    return None


def _one_of(field: str, value: str) -> str | None:
    allowed = _ALLOWED[field]
    return None if value in allowed else f"{value!r} is not one of {', '.join(allowed)}"


def _gamma(field: str, value: float) -> str | None:
    return None if 0 < value <= 1 else f"{value} is no discount; it is above 0 and at most 1"


def _beta(field: str, value: float) -> str | None:
    if 0 <= value < math.inf:
        return None
    return f"{value} holds nothing near the reference; a finite number of at least 0 is needed"


def _json_able(field: str, value: Mapping[str, Any]) -> str | None:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        return f"JSON has no such values ({error})"
    return None


_ALLOWED: Mapping[str, Sequence[str]] = {"delivery": DELIVERIES, "kl_in": KL_IN}
_CHECKS: Mapping[str, Callable[[str, Any], str | None]] = {
    "name": _name,
    "delivery": _one_of,
    "kl_in": _one_of,
    "gamma": _gamma,
    "beta": _beta,
    "settings": _json_able,
    "constraint": _json_able,
}
_DEFAULTS = Design("default", "").__dict__  # of the fields that need not be given
