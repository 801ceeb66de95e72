"""Does the way it is paid keep the best text the best one? Exactly, on a task that is small enough to be solved."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Int32, Int64

from textgym.audit.arena import Arena
from textgym.audit.findings import Finding
from textgym.envs.tasks import Task
from textgym.errors import TextGymError
from textgym.oracle.keeping import Dense, keeps_optimum
from textgym.oracle.solve import solve
from textgym.types import Tokenizer

WORDS, STEPS = 4, 5
"""Tokens that the small task has beside EOS, and how many a text may have."""

UNBOUNDED = 1 << 60
"""The oracle counts every token of the vocabulary before it knows which few are allowed."""


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
        reward, small = arena.bound.scorer, small_task(arena)
        wanted = solve(small, gamma, reward=reward, delivery="terminal", limit=UNBOUNDED)
        if np.isclose(wanted.value, wanted.uniform_value, rtol=1e-9, atol=1e-12):
            message = (
                f"{what}: texts of {WORDS} words and {STEPS} tokens all earn {wanted.value:g}, so nothing is lost there"
            )
            yield Finding("delivery", "skip", message, {})
            return
        verdict = keeps_optimum(small, dense or delivery, gamma=gamma, reward=reward, limit=UNBOUNDED)
    except TextGymError as error:
        yield Finding("delivery", "skip", f"{what}: the small task cannot be solved: {error}", {})
        return
    numbers = {"best": verdict.best, "worst": verdict.worst}
    where = f"exact, for {WORDS} words, {STEPS} tokens and gamma {gamma:g}"
    yield Finding("delivery", "ok" if verdict.keeps else "FAIL", f"{what} {verdict} ({where})", numbers)


def small_task(arena: Arena) -> Task:
    """The arena's task with one prompt, the words of one good text, and a budget of a few tokens."""
    task = arena.task
    assert task is not None
    own = dict.fromkeys(arena.good.content[0].tolist())
    known, share = arena.tokens
    common = known[np.argsort(-share, kind="stable")].tolist()
    chosen = list(dict.fromkeys([*list(own)[: WORDS - 1], *common]))[:WORDS]
    one = replace(task.heldout, size=np.ones(1, dtype=np.int64))
    few = Few(chosen, task.tokenizer)
    return replace(task, train=one, heldout=one, max_new_tokens=STEPS, constraint=few, gold={}, success=None)
