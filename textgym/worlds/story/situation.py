"""How things stand in a brief's own world while a story goes on, and since when: what a fault is explained by."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from textgym.worlds.story.brief import Brief
from textgym.worlds.story.events import Kind

BRIEF = 0
"""In place of a sentence's number: so it has been from the beginning."""


class About(Enum):
    """What a state is about."""

    PERSON = "person"
    OBJECT = "object"
    COLOUR = "colour"


@dataclass(frozen=True)
class State:
    """How one thing stands.

    Attributes:
        about: a person's place, an object's place or holder, or an object's colour.
        number: of the person or object, within the brief.
        value: a place, a place or L + a holder, or a colour of the lexicon.
        since: number of the sentence that brought it about, `BRIEF` for none.
    """

    about: About
    number: int
    value: int
    since: int


class Situation:
    """The brief's own world, sentence by sentence. Impossible events take effect all the same, as in `worlds`.

    Args:
        brief: how it begins.
    """

    def __init__(self, brief: Brief) -> None:
        self._first = len(brief.places)
        self._at, self._where, self._colours = brief.at.tolist(), brief.where.tolist(), brief.colours.tolist()
        self._at_since, self._where_since = [BRIEF] * len(self._at), [BRIEF] * len(self._where)

    def person(self, number: int) -> State:
        """Where a person is."""
        return State(About.PERSON, number, self._at[number], self._at_since[number])

    def object(self, number: int) -> State:
        """Where an object is, or who holds it."""
        return State(About.OBJECT, number, self._where[number], self._where_since[number])

    def obstacles(self, event: Sequence[int]) -> list[State]:
        """What an event cannot be true together with; nothing, if it can happen, or is so.

        Args:
            event: kind, subject, other person, object, place, colour.
        """
        kind, who, whom, what, place, colour = event
        match kind:
            case Kind.COLOUR:
                is_so = self._colours[what] == colour
                return [] if is_so else [State(About.COLOUR, what, self._colours[what], BRIEF)]
            case Kind.IS_IN:
                return [] if self._at[who] == place else [self.person(who)]
            case Kind.GO:
                return [self.person(who)] if self._at[who] == place else []
            case Kind.OBJECT_AT:
                return [] if self._where[what] == place else [self.object(what)]
            case Kind.TAKE if self._where[what] >= self._first:
                return [self.object(what)]
            case Kind.TAKE:
                return [] if self._where[what] == self._at[who] else [self.person(who), self.object(what)]
        states = []
        if what >= 0 and self._where[what] != self._first + who:
            states.append(self.object(what))
        if whom >= 0 and self._at[who] != self._at[whom]:
            states += [self.person(who), self.person(whom)]
        return states

    def happen(self, event: Sequence[int], sentence: int) -> list[tuple[State, State]]:
        """Brings an event about; what it changed, before and after."""
        kind, who, whom, what, place, _ = event
        if kind == Kind.GO:
            before = self.person(who)
            self._at[who], self._at_since[who] = place, sentence
            return [(before, self.person(who))] if before.value != place else []
        if kind in (Kind.TAKE, Kind.DROP, Kind.GIVE):
            before = self.object(what)
            holder = {Kind.TAKE: who, Kind.GIVE: whom}.get(Kind(kind))
            self._where[what] = self._at[who] if holder is None else self._first + holder
            self._where_since[what] = sentence
            return [(before, self.object(what))] if before.value != self._where[what] else []
        return []
