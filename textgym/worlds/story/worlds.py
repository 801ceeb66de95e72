"""The possible worlds: in which of them a story is true, exactly, for B stories at once.

A world is a way in which a story may begin: x_p, the place of each person, y_o, the place or holder of each object, and
the colours. Every event has a precondition; a world in which it fails counts a violation, and the event takes effect
all the same. So what has happened since is the same in every world, and a person or an object is now at a place that is
known, or where some person was at the beginning, or where it was itself. An event's failure then depends on the x, and
on the y of its one object at most, and the count of a world is a sum

    violations(x, y, colours) = C(x) + sum_o D_o(x, y_o) + sum_o K_o(colour_o),

which is kept as those tables. Its minimum, and how many worlds reach it, follow without looking at the worlds one by
one: L^P x (1 + O (L + P)) numbers in place of L^P (L + P)^O. A reader believes in the worlds with the fewest
violations, each as likely.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from textgym.worlds.story.brief import Brief, Shape
from textgym.worlds.story.events import TYPES, Kind

Rows = Int64[np.ndarray, " N"]
Flags = Bool[np.ndarray, " N"]

_COUNT = np.int16


def _among(*kinds: Kind) -> Bool[np.ndarray, " K"]:
    return np.isin(np.arange(TYPES), kinds)


# By kind: it needs an object that lies somewhere; one that its subject holds; two places that are the same; it is about
# another person's place; it moves an object.
_LIES = _among(Kind.OBJECT_AT, Kind.TAKE)
_HELD = _among(Kind.HAS, Kind.DROP, Kind.GIVE)
_TOGETHER = _among(Kind.IS_IN, Kind.GIVE, Kind.MEET)
_WITH_OTHER = _among(Kind.GIVE, Kind.MEET)
_MOVES = _among(Kind.TAKE, Kind.DROP, Kind.GIVE)


@dataclass(frozen=True)
class Verdict:
    """What one event did to N stories.

    Attributes:
        contradicts: the fewest violations of any world rose: no world fits all that was said as well as before.
        unfaithful: those of the brief's own world rose.
        informs: the reader now believes in other worlds.
        changes: the brief's own world is another than before, by an event that could happen in it.
    """

    contradicts: Flags
    unfaithful: Flags
    informs: Flags
    changes: Flags


class PossibleWorlds:
    """The tables of B stories.

    Letters: P persons, L places, O objects, K colours, X = L^P, Y = L + P. A code of a person's place is 0..L-1 for a
    known place, L + q for where q was at the beginning. Of an object it is one of these where it lies, L + P + q if q
    holds it, L + 2P if it is where it was.

    Args:
        shape: P, L and O.
        colours: K.
        rows: B.
    """

    def __init__(self, shape: Shape, colours: int, rows: int) -> None:
        self.shape, self._colours = shape, colours
        people, places, objects = shape.people, shape.places, shape.objects
        self._held, self._unmoved = places + people, places + 2 * people
        x = np.indices((places,) * people).reshape(people, -1)  # (P, X)
        known = np.repeat(np.arange(places)[:, None], x.shape[1], axis=1)
        self._place = np.concatenate([known, x])  # (L + P, X): the place that a code means, in each x
        self._same = self._place[:, None] == self._place[None]
        y = np.arange(shape.whereabouts)
        self._lies = self._place[:, :, None] == y
        self._size = x.shape[1]
        self._first = x
        self._c = np.zeros((rows, self._size), dtype=_COUNT)
        self._d = np.zeros((rows, objects, self._size, shape.whereabouts), dtype=_COUNT)
        self._k = np.zeros((rows, objects, colours), dtype=_COUNT)
        self._least = np.zeros((rows, objects, self._size), dtype=_COUNT)  # min over y of D
        self._ways = np.zeros((rows, objects, self._size), dtype=np.int64)  # how many y reach it
        self._persons = np.zeros((rows, people), dtype=np.int64)
        self._objects = np.zeros((rows, objects), dtype=np.int64)
        self._true_x, self._true_y = np.zeros(rows, dtype=np.int64), np.zeros((rows, objects), dtype=np.int64)
        self._true_at, self._true_colour = np.zeros((rows, people), np.int64), np.zeros((rows, objects), np.int64)
        self._fewest = np.zeros(rows, dtype=np.int64)
        self._believed = np.ones((rows, self._size), dtype=bool)

    def begin(self, rows: Rows, briefs: Sequence[Brief]) -> None:
        """Nothing has been said in these rows; the brief says which world is the true one."""
        shape = self.shape
        self._c[rows], self._d[rows], self._k[rows], self._least[rows] = 0, 0, 0, 0
        self._ways[rows], self._fewest[rows], self._believed[rows] = shape.whereabouts, 0, True
        self._persons[rows] = shape.places + np.arange(shape.people)
        self._objects[rows] = self._unmoved
        if not len(rows):
            return
        at = np.array([brief.at for brief in briefs])
        self._true_at[rows] = at
        self._true_x[rows] = np.ravel_multi_index(tuple(at.T), (shape.places,) * shape.people)
        self._true_y[rows] = np.array([brief.where for brief in briefs])
        self._true_colour[rows] = np.array([brief.colours for brief in briefs])

    def apply(self, rows: Rows, events: Int64[np.ndarray, "N 6"]) -> Verdict:
        """One event in each of these rows: (kind, subject, other, object, place, colour)."""
        verdicts = [np.zeros(len(rows), dtype=bool) for _ in range(4)]
        coloured = events[:, 0] == Kind.COLOUR
        for chosen, told in ((np.flatnonzero(coloured), self._colour), (np.flatnonzero(~coloured), self._happen)):
            if len(chosen):
                of_part = told(rows[chosen], events[chosen])
                for whole, part in zip(verdicts, of_part, strict=True):
                    whole[chosen] = part
        return Verdict(*verdicts)

    def _colour(self, rows: Rows, events: Int64[np.ndarray, "N 6"]) -> tuple[Flags, Flags, Flags, Flags]:
        things, colour = events[:, 3], events[:, 5]
        table = self._k[rows, things]  # (N, K), a copy
        before = table == table.min(1, keepdims=True)
        fewest = table.min(1)
        table += 1
        table[np.arange(len(rows)), colour] -= 1
        self._k[rows, things] = table
        after = table == table.min(1, keepdims=True)
        rose = table.min(1) - fewest
        self._fewest[rows] += rose
        none = np.zeros(len(rows), dtype=bool)
        return rose > 0, colour != self._true_colour[rows, things], (before != after).any(1), none

    def _happen(self, rows: Rows, events: Int64[np.ndarray, "N 6"]) -> tuple[Flags, Flags, Flags, Flags]:
        kinds, subject, other, things, place = events[:, :5].T
        here = self._persons[rows, subject]
        fits, moot = self._precondition(rows, events, here)  # (N, X), (N, X, Y)
        about = np.flatnonzero((things >= 0) & (self._objects[rows, things] == self._unmoved))
        failed_in_truth = ~fits[np.arange(len(rows)), self._true_x[rows]]
        before = self._believed[rows]
        informs = np.zeros(len(rows), dtype=bool)
        if len(about):
            informs[about] = self._count_object(rows[about], things[about], ~(fits[about, :, None] & moot[about]))
            fitting = moot[about, self._true_x[rows[about]], self._true_y[rows[about], things[about]]]
            failed_in_truth[about] |= ~fitting
        rest = np.ones(len(rows), dtype=bool)
        rest[about] = False
        self._c[rows[rest]] += ~fits[rest]
        total = self._c[rows] + self._least[rows].sum(1)
        fewest = total.min(1)
        rose = fewest - (self._fewest[rows] - self._k[rows].min(2).sum(1))
        self._fewest[rows] += rose
        believed = total == fewest[:, None]
        informs |= (believed != before).any(1)
        self._believed[rows] = believed
        changes = self._effect(rows, kinds, subject, other, things, place, here) & ~failed_in_truth
        return rose > 0, failed_in_truth, informs, changes

    def _precondition(
        self, rows: Rows, events: Int64[np.ndarray, "N 6"], here: Int64[np.ndarray, " N"]
    ) -> tuple[Bool[np.ndarray, "N X"], Bool[np.ndarray, "N X Y"]]:
        """Where an event can happen: by x, and, for an object that is where it was, by its y as well."""
        kinds, subject, other, things, place = events[:, :5].T
        unmoved = self._objects[rows, things] == self._unmoved
        code = np.where(unmoved | (things < 0), 0, self._objects[rows, things])
        lies = _LIES[kinds]
        held = _HELD[kinds]
        spot = np.where(kinds == Kind.OBJECT_AT, place, here)  # where the object has to lie
        target = np.where(_WITH_OTHER[kinds], self._persons[rows, other], place)
        together = self._same[here, np.maximum(target, 0)]
        fits = np.ones((len(rows), self._size), dtype=bool)
        meets = _TOGETHER[kinds]
        fits[meets] = together[meets]
        going = kinds == Kind.GO
        fits[going] = ~together[going]
        found = np.where((code < self._held)[:, None], self._same[spot, np.minimum(code, self._held - 1)], False)
        carried = (code == self._held + subject)[:, None]
        of_object = np.where(lies[:, None], found, np.where(held[:, None], carried, True))
        fits &= of_object | (unmoved | (things < 0))[:, None]
        holder = np.arange(self.shape.whereabouts) == (self.shape.places + subject)[:, None]
        moot = np.where(lies[:, None, None], self._lies[spot], holder[:, None, :])
        return fits, moot

    def _count_object(self, rows: Rows, things: Rows, failed: Bool[np.ndarray, "N X Y"]) -> Flags:
        """Adds violations that depend on an object's y; whether what is believed of it changed, where x is believed."""
        table = self._d[rows, things]
        before = table == self._least[rows, things][:, :, None]
        table += failed
        least = table.min(2)
        after = table == least[:, :, None]
        self._d[rows, things], self._least[rows, things] = table, least
        self._ways[rows, things] = after.sum(2)
        changed: Flags = ((before != after).any(2) & self._believed[rows]).any(1)
        return changed

    def _effect(
        self, rows: Rows, kinds: Rows, subject: Rows, other: Rows, things: Rows, place: Rows, here: Rows
    ) -> Flags:
        """Brings the events about; where the true world is then another."""
        going = kinds == Kind.GO
        true_here = self._place[here, self._true_x[rows]]
        moved = going & (true_here != place)
        self._persons[rows[going], subject[going]] = place[going]
        changed = _MOVES[kinds]
        new = np.select([kinds == Kind.TAKE, kinds == Kind.DROP], [self._held + subject, here], self._held + other)
        moved |= changed & (
            self._in_truth(rows, things, self._objects[rows, things]) != self._in_truth(rows, things, new)
        )
        self._objects[rows[changed], things[changed]] = new[changed]
        result: Flags = moved
        return result

    def _in_truth(self, rows: Rows, things: Rows, codes: Int64[np.ndarray, " N"]) -> Int64[np.ndarray, " N"]:
        """Place or L + holder, in the true world, of objects with these codes."""
        lying = self._place[np.minimum(codes, self._held - 1), self._true_x[rows]]
        holder = codes - self._held + self.shape.places
        where = np.where(codes < self._held, lying, holder)
        return np.where(codes == self._unmoved, self._true_y[rows, things], where)

    def situations(self, rows: Rows) -> Int64[np.ndarray, " N"]:
        """The situation that the brief's world is in, as a number, (N,): equal iff all are where they were."""
        shape, number = self.shape, np.zeros(len(rows), dtype=np.int64)
        for person in range(shape.people):
            number = number * shape.places + self._place[self._persons[rows, person], self._true_x[rows]]
        for thing in range(shape.objects):
            where = self._in_truth(rows, np.full(len(rows), thing), self._objects[rows, thing])
            number = number * shape.whereabouts + where
        return number

    @property
    def fewest(self) -> Int64[np.ndarray, " B"]:
        """The fewest violations of any world, colours included, (B,)."""
        return self._fewest

    def beliefs(self, rows: Rows) -> Float64[np.ndarray, "N F"]:
        """A reader's probability of each fact of the brief, (N, F): persons' places, objects' places, colours."""
        shape = self.shape
        weights = self._weights(rows)
        whole = weights.sum(1)
        n = np.arange(len(rows))
        columns = []
        for person in range(shape.people):
            true = self._first[person] == self._true_at[rows, person][:, None]
            columns.append((weights * true).sum(1) / whole)
        for thing in range(shape.objects):
            y = self._true_y[rows, thing]
            reached = self._d[rows, thing][n, :, y] == self._least[rows, thing]
            columns.append((weights * reached / self._ways[rows, thing]).sum(1) / whole)
        fitting = self._k[rows] == self._k[rows].min(2, keepdims=True)
        columns += [
            fitting[n, thing, self._true_colour[rows, thing]] / fitting[:, thing].sum(1)
            for thing in range(shape.objects)
        ]
        return np.stack(columns, axis=1)

    def bits(self, rows: Rows) -> Float64[np.ndarray, " N"]:
        """How far the story has narrowed the worlds down: log2 of all over those with the fewest violations, (N,)."""
        fitting = (self._k[rows] == self._k[rows].min(2, keepdims=True)).sum(2)
        left = np.log2(self._weights(rows).sum(1)) + np.log2(fitting).sum(1)
        every = np.log2(self.shape.worlds) + self.shape.objects * np.log2(self._colours)
        narrowed: Float64[np.ndarray, " N"] = every - left
        return narrowed

    def _weights(self, rows: Rows) -> Float64[np.ndarray, "N X"]:
        """How many of the worlds with the fewest violations have each x."""
        weights: Float64[np.ndarray, "N X"] = self._believed[rows] * self._ways[rows].prod(1, dtype=np.float64)
        return weights


def priors(shape: Shape, colours: int) -> Float64[np.ndarray, " F"]:
    """The probability of each fact before a word is said, in the order of `PossibleWorlds.beliefs`."""
    people, things = [1 / shape.places] * shape.people, [1 / shape.whereabouts] * shape.objects
    return np.array([*people, *things, *([1 / colours] * shape.objects)])
