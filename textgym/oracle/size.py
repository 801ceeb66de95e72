"""How many prefixes and texts there would be, before any of them is made."""

from decimal import Decimal
from typing import NamedTuple

from textgym.envs.episodes import Episodes
from textgym.errors import TaskError
from textgym.oracle.merging import Merger

LIMIT = 2_000_000
"""The most prefixes and texts that are enumerated unless another limit is given: some seconds, half a gigabyte."""


class Size(NamedTuple):
    """Unfinished prefixes, where an action is chosen, and finished texts."""

    states: int
    texts: int


def distinct_prompts(episodes: Episodes) -> int:
    """P."""
    return len({episodes.prompts.prompt(index).tobytes() for index in range(len(episodes.prompts))})


def count(episodes: Episodes, prompts: int) -> Size:
    """The size of a prefix tree; where a constraint or a stop rule prunes it, the most that it can be."""
    actions, budget = int(episodes.allowed.sum()), episodes.rules.budget
    words = actions - int(episodes.allowed[episodes.rules.eos_id])
    states = prompts * sum(words**length for length in range(budget))
    return Size(states, states * actions - (states - prompts))


def require_small(episodes: Episodes, limit: int, merger: Merger | None) -> None:
    """Refuses what would not end.

    Raises:
        TaskError: more prefixes and texts than `limit`.
    """
    actions, budget = int(episodes.allowed.sum()), episodes.rules.budget
    prompts = distinct_prompts(episodes)
    size = count(episodes, prompts)
    if merger is not None:
        states = min(size.states, prompts * (1 + (budget - 1) * merger.states))
        size = Size(states, states * actions)
    if sum(size) <= limit:
        return
    most = "at most " if episodes.constraints or episodes.rules.stop_rule is not None else ""
    of = f"{prompts:,} prompts, " if prompts > 1 else ""
    shape = f"{of}{actions} actions, horizon {budget}"
    raise TaskError(
        f"task {episodes.task.name!r} has {most}{_said(size.states)} states and {_said(size.texts)} texts ({shape}), "
        f"more than limit={limit:,}: lower vocab_size or horizon (max_new_tokens), or raise the limit{_advice(merger)}"
    )


def _said(number: int) -> str:
    return f"{number:,}" if number < 10**18 else f"{Decimal(number):.2e}"


def _advice(merger: Merger | None) -> str:
    if merger is not None:
        return ""
    return "; where the reward is a machine, as those of micro worlds are, merge=True (--merge) enumerates its states"
