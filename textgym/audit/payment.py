"""Does the way it is paid keep the best text the best one? Exactly, on a task that is small enough to be solved."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Int32, Int64

from textgym.audit.arena import Arena
from textgym.audit.findings import Finding
from textgym.errors import TextGymError
from textgym.oracle.keeping import Dense, keeps_optimum
from textgym.text.prompts import PromptSet
from textgym.types import Tokenizer

WORDS, STEPS = 4, 5
"""Tokens that the small task has beside EOS, and how many a text may have."""


@dataclass(frozen=True, eq=False)
class Few:
    """A `types.Constraint`: a few tokens only."""

    ids: Sequence[int]
    tokenizer: Tokenizer

    def mask(
        self, tokens: Int32[np.ndarray, "B L"], lengths: Int64[np.ndarray, " B"], starts: Int64[np.ndarray, " B"]
    ) -> Bool[np.ndarray, "B V"]:
        """The same in every row."""
        allowed = np.zeros((len(tokens), self.tokenizer.vocab_size), dtype=bool)
        allowed[:, [*self.ids, self.tokenizer.eos_id]] = True
        return allowed


def check_delivery(arena: Arena, delivery: str, gamma: float, dense: Dense | None = None) -> Iterator[Finding]:
    """Whether every policy that is best as it is paid is best for the finished text.

    Args:
        arena: of a task.
        delivery: as the environment would have it.
        gamma: the agent's discount.
        dense: a reward of the user's own for each token, in place of a delivery.
    """
    if arena.task is None:
        if dense is not None or delivery != "terminal":
            yield Finding("delivery", "skip", "a delivery belongs to a task: --task NAME", {})
        return
    tokens = float(np.median([len(ids) for ids in arena.good.completions]))
    if dense is None and delivery == "terminal":
        message = (
            f"paid at the end, some {tokens:.0f} tokens after the first choice; delivery 'shaped' keeps the optimum too"
        )
        yield Finding("delivery", "ok", message, {"tokens": tokens})
        return
    what = "your dense reward" if dense is not None else f"delivery {delivery!r}"
    try:
        verdict = keeps_optimum(small_task(arena), dense or delivery, gamma=gamma, reward=arena.bound.scorer)
    except TextGymError as error:
        yield Finding("delivery", "skip", f"{what}: the small task cannot be solved: {error}", {})
        return
    numbers = {"best": verdict.best, "worst": verdict.worst}
    where = f"exact, for {WORDS} words, {STEPS} tokens and gamma {gamma:g}"
    yield Finding("delivery", "ok" if verdict.keeps else "FAIL", f"{what} {verdict} ({where})", numbers)


def small_task(arena: Arena) -> Any:
    """The arena's task with one prompt, the words of one good text, and a budget of a few tokens."""
    assert arena.task is not None
    ids, counts = np.unique(np.concatenate([*arena.good.content]), return_counts=True)
    own = list(dict.fromkeys(arena.good.content[0].tolist()))
    common = ids[np.argsort(-counts, kind="stable")].tolist()
    chosen = list(dict.fromkeys([*own[: WORDS - 1], *common]))[:WORDS]
    task = arena.task
    return replace(
        task,
        train=First(task.heldout),
        max_new_tokens=STEPS,
        constraint=Few(chosen, task.tokenizer),
        gold={},
        success=None,
    )


class First:
    """A prompt set that holds the first prompt of another."""

    def __init__(self, prompts: PromptSet) -> None:
        self._prompts = prompts

    def __len__(self) -> int:
        return 1

    def __getattr__(self, name: str) -> Any:
        return getattr(self._prompts, name)

    @property
    def prompt_lengths(self) -> Int64[np.ndarray, " 1"]:
        """Tokens of the one prompt."""
        return self._prompts.prompt_lengths[:1]

    @property
    def reference_lengths(self) -> Int64[np.ndarray, " 1"]:
        """Tokens of its reference."""
        return self._prompts.reference_lengths[:1]
