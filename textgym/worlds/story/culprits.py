"""Which earlier claims a contradiction is due to: the latest ones that it cannot be true together with.

To leave out one claim at a time would not do: after "sam went to the barn . sam went to the mill .", "sam was in the
attic" contradicts the story without either of the two. So the story is shortened from its beginning for as long as the
contradiction is there; the claim that can then not be spared is one of the culprits. It is kept, the rest is shortened
on in the same way, until the culprits alone contradict. Every test is exact, by the possible worlds of
the shortened story.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int64

from textgym.worlds.story.brief import Brief, Shape
from textgym.worlds.story.worlds import PossibleWorlds

Events = Int64[np.ndarray, "E 6"]


class Culprits:
    """Finds out what the claims of one story contradict.

    Args:
        brief: of the story.
        shape: how much there is in it.
        colours: how many the lexicon knows.
        events: (E, 6) all claims in their order: kind, subject, other person, object, place, colour.
        idle: (E,) claims that say again what a reader knew, and change nothing; named only where no others explain it.
    """

    def __init__(self, brief: Brief, shape: Shape, colours: int, events: Events, idle: Bool[np.ndarray, " E"]) -> None:
        self._brief, self._shape, self._colours, self._events = brief, shape, colours, events
        self._busy = np.flatnonzero(~idle)

    def of(self, claims: Sequence[int]) -> dict[int, tuple[int, ...]]:
        """The culprits of each of these claims, all of which contradict; indices into the events, ascending."""
        found: dict[int, tuple[int, ...]] = {}
        for allowed in (self._busy, np.arange(len(self._events))):
            open_claims = [claim for claim in claims if claim not in found]
            if open_claims:
                firsts = self._firsts(allowed, open_claims)
                found |= {claim: self._narrowed(allowed, first, claim) for claim, first in firsts.items()}
        return found

    def _firsts(self, allowed: Int64[np.ndarray, " A"], claims: Sequence[int]) -> dict[int, int]:
        """The latest claim from which on the story still contradicts, for each claim that does at all."""
        last = max(claims)
        steps = allowed[allowed <= last]
        worlds = self._worlds(len(steps))
        firsts: dict[int, int] = {}
        for number, claim in enumerate(steps.tolist()):  # row r holds the story from step r on
            contradicts = self._apply(worlds, np.arange(number + 1), claim)
            if claim in claims and contradicts.any():
                firsts[claim] = int(steps[np.flatnonzero(contradicts)[-1]])
        return firsts

    def _narrowed(self, allowed: Int64[np.ndarray, " A"], first: int, claim: int) -> tuple[int, ...]:
        culprits = [first]
        rest = allowed[(allowed > first) & (allowed < claim)]
        while len(rest):
            worlds = self._worlds(len(rest) + 1)
            rows = np.arange(len(rest) + 1)
            for culprit in culprits:
                self._apply(worlds, rows, culprit)
            for number, step in enumerate(rest.tolist()):  # row r holds the culprits, and the rest from step r on
                self._apply(worlds, rows[: number + 1], step)
            needed = int(np.flatnonzero(self._apply(worlds, rows, claim))[-1])
            culprits += rest[needed : needed + 1].tolist()
            rest = rest[needed + 1 :]
        return self._spared(culprits, claim)

    def _spared(self, culprits: list[int], claim: int) -> tuple[int, ...]:
        """Without those that can be spared after all: a journey left out may have been what the others agreed by."""
        for culprit in tuple(culprits):
            others = [other for other in culprits if other != culprit]
            worlds, row = self._worlds(1), np.zeros(1, dtype=np.int64)
            if [self._apply(worlds, row, step) for step in (*others, claim)][-1][0]:
                culprits = others
        return tuple(culprits)

    def _worlds(self, rows: int) -> PossibleWorlds:
        worlds = PossibleWorlds(self._shape, self._colours, rows)
        worlds.begin(np.arange(rows), [self._brief] * rows)
        return worlds

    def _apply(self, worlds: PossibleWorlds, rows: Int64[np.ndarray, " N"], claim: int) -> Bool[np.ndarray, " N"]:
        return worlds.apply(rows, np.repeat(self._events[claim][None], len(rows), axis=0)).contradicts
