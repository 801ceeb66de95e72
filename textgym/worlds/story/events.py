"""What sentences say: eleven types, and the events that a reader takes from them."""

from enum import IntEnum


class Kind(IntEnum):
    """Type of a sentence, and of the event that it states.

    The first four describe, the next five happen, and `FILLER` and `END` say nothing about the world.
    """

    IS_IN = 0
    """A person is at a place."""
    COLOUR = 1
    """An object has a colour."""
    OBJECT_AT = 2
    """An object lies at a place; nobody holds it."""
    HAS = 3
    """A person holds an object."""
    GO = 4
    """A person goes to a place where they are not yet."""
    TAKE = 5
    """A person takes an object that lies where they are."""
    DROP = 6
    """A person who holds an object leaves it where they are."""
    GIVE = 7
    """A person who holds an object gives it to another one at the same place."""
    MEET = 8
    """Two persons are at the same place."""
    FILLER = 9
    END = 10


TYPES = len(Kind)
START, UNPARSED = TYPES, TYPES + 1
"""What stands before the first sentence, and after one that is no sentence: rows of a chain of types."""

CHANGES = frozenset({Kind.GO, Kind.TAKE, Kind.DROP, Kind.GIVE})
"""Events after which the world is another."""
