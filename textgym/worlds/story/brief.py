"""The brief: the prompt of a story, which says who is where, and where which object is.

    kitchen barn mill tower | sam kitchen , ann barn , blue knife sam , red cup mill , grey coin barn

The places, then the persons with their places, then the objects with their colours and places or holders.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Int64

from textgym.errors import TaskError
from textgym.types import TokenIds
from textgym.worlds.story.lexicon import Lexicon


@dataclass(frozen=True)
class Shape:
    """How much there is in a world.

    Args:
        people: persons of a brief, P.
        places: places of a brief, L.
        objects: objects of a brief, O.
    """

    people: int = 2
    places: int = 4
    objects: int = 3

    @property
    def whereabouts(self) -> int:
        """Y = L + P: an object is at one of the places or held by one of the persons."""
        return self.places + self.people

    @property
    def worlds(self) -> int:
        """Ways in which a story may begin, colours aside: L^P (L + P)^O."""
        return int(self.places**self.people * self.whereabouts**self.objects)

    @property
    def facts(self) -> int:
        """What a brief says: the place of each person, the place or holder and the colour of each object."""
        return self.people + 2 * self.objects


@dataclass(frozen=True, eq=False)
class Brief:
    """Who and what a story is about, and how it begins. Numbers of words are those of the lexicon.

    Attributes:
        people: (P,) numbers of names.
        places: (L,) numbers of places.
        objects: (O,) numbers of nouns.
        colours: (O,) number of each object's colour.
        at: (P,) where each person is, an index into `places`.
        where: (O,) where each object is: an index into `places`, or L + the index of the person who holds it.
    """

    people: Int64[np.ndarray, " P"]
    places: Int64[np.ndarray, " L"]
    objects: Int64[np.ndarray, " O"]
    colours: Int64[np.ndarray, " O"]
    at: Int64[np.ndarray, " P"]
    where: Int64[np.ndarray, " O"]

    def key(self) -> bytes:
        """Equal for briefs that tell of the same things in the same situation, whatever the order of the places."""
        places = self.places.tolist()
        at = sorted(zip(self.people.tolist(), (places[i] for i in self.at.tolist()), strict=True))
        things = sorted(
            (noun, colour, places[i] if i < len(places) else -1 - int(self.people[i - len(places)]))
            for noun, colour, i in zip(self.objects.tolist(), self.colours.tolist(), self.where.tolist(), strict=True)
        )
        return repr((sorted(places), at, things)).encode()


class BriefFormat:
    """Briefs as token ids and back.

    Args:
        lexicon: the words.
        shape: how much there is in a world.
    """

    def __init__(self, lexicon: Lexicon, shape: Shape) -> None:
        self.lexicon, self.shape = lexicon, shape
        self._comma, self._bar = lexicon.id_of(lexicon.comma), lexicon.id_of(lexicon.bar)
        self._people = lexicon.ids([name for name, _ in lexicon.people])
        self._places = lexicon.ids(lexicon.places)
        self._objects = lexicon.ids([noun for noun, _ in lexicon.objects])
        self._colours = lexicon.ids(lexicon.colours)

    @property
    def length(self) -> int:
        """Tokens of every brief."""
        return self.shape.places + 3 * self.shape.people + 4 * self.shape.objects

    def draw(self, rng: np.random.Generator) -> Brief:
        """A brief: words by their frequencies, every situation as likely."""
        shape = self.shape
        return Brief(
            people=self._mixed(self._some(shape.people, len(self._people), rng), rng),
            places=self._some(shape.places, len(self._places), rng),
            objects=self._some(shape.objects, len(self._objects), rng),
            colours=rng.integers(len(self._colours), size=shape.objects),
            at=rng.integers(shape.places, size=shape.people),
            where=rng.integers(shape.whereabouts, size=shape.objects),
        )

    def _some(self, count: int, of: int, rng: np.random.Generator) -> Int64[np.ndarray, " N"]:
        clocks = rng.standard_exponential(of) / self.lexicon.frequencies(of)  # who rings first: as one by one, but fast
        some: Int64[np.ndarray, " N"] = np.argsort(clocks)[:count]
        return some

    def _mixed(self, people: Int64[np.ndarray, " P"], rng: np.random.Generator) -> Int64[np.ndarray, " P"]:
        """A man and a woman at least, so that pronouns say something."""
        genders = [gender for _, gender in self.lexicon.people]
        if len({genders[i] for i in people.tolist()}) == 1:
            others = np.array([i for i, gender in enumerate(genders) if gender != genders[int(people[0])]])
            people[rng.integers(len(people))] = rng.choice(others)
        return people

    def encode(self, brief: Brief) -> TokenIds:
        """Ids of a brief, (P,) tokens long as `length` says."""
        places = self._places[brief.places]
        ids = [int(self.lexicon.opening_places[brief.places[0]]), *places[1:].tolist(), self._bar]
        holders = self._people[brief.people]
        facts = [[holders[i], places[at]] for i, at in enumerate(brief.at.tolist())]
        for noun, colour, where in zip(brief.objects, brief.colours, brief.where.tolist(), strict=True):
            place = places[where] if where < len(places) else holders[where - len(places)]
            facts.append([self._colours[colour], self._objects[noun], place])
        for number, fact in enumerate(facts):
            ids += [self._comma] * (number > 0) + [int(i) for i in fact]
        return np.array(ids, dtype=np.int32)

    def decode(self, ids: TokenIds) -> Brief:
        """The brief that these ids are.

        Raises:
            TaskError: they are none; the message says which word is wrong, and why.
            TokenizerError: ids outside the vocabulary.
        """
        return _Reading(self, self.lexicon.tokenizer.checked(ids)).brief()

    @cached_property
    def roles(self) -> dict[str, dict[int, int]]:
        """Number in the lexicon by id, for every kind of word; a place has two ids."""
        table = {
            "person": self._people,
            "place": self._places,
            "object": self._objects,
            "colour": self._colours,
        }
        roles = {role: {int(i): n for n, i in enumerate(ids)} for role, ids in table.items()}
        roles["place"] |= {int(i): n for n, i in enumerate(self.lexicon.opening_places)}
        return roles

    @property
    def marks(self) -> dict[str, int]:
        """Ids of the marks in a brief."""
        return {self.lexicon.comma: self._comma, self.lexicon.bar: self._bar}


class _Reading:
    """One brief, word by word."""

    def __init__(self, form: BriefFormat, ids: TokenIds) -> None:
        self._form, self._ids, self._at = form, ids.tolist(), 0

    def brief(self) -> Brief:
        shape = self._form.shape
        places = self._distinct("place", [self._word("place") for _ in range(shape.places)])
        self._mark(self._form.lexicon.bar)
        people, at = [], []
        for number in range(shape.people):
            if number:
                self._mark(self._form.lexicon.comma)
            people.append(self._word("person"))
            at.append(self._one_of(places))
        self._distinct("person", people)
        objects, colours, where = [], [], []
        for _ in range(shape.objects):
            self._mark(self._form.lexicon.comma)
            colours.append(self._word("colour"))
            objects.append(self._word("object"))
            where.append(self._one_of(places, people))
        self._distinct("object", objects)
        if self._at < len(self._ids):
            raise self._error(f"{self._shown(self._at)} stands behind its last fact, its token {self._at}")
        rows = (people, places, objects, colours, at, where)
        return Brief(*(np.array(row, dtype=np.int64) for row in rows))

    def _word(self, *roles: str) -> int:
        table = {i: n for role in roles for i, n in self._form.roles[role].items()}
        if self._at >= len(self._ids) or self._ids[self._at] not in table:
            wanted = " or ".join(f"{_ARTICLES[role]} {role}" for role in roles)
            raise self._error(f"{wanted} is expected {self._instead}. {self._some(list(table))}")
        self._at += 1
        return table[self._ids[self._at - 1]]

    def _one_of(self, places: Sequence[int], people: Sequence[int] = ()) -> int:
        """The next word as a place of this brief, or a person of it."""
        here = self._ids[self._at] if self._at < len(self._ids) else -1
        if people and here in self._form.roles["person"]:
            role, known, number, shift = "person", people, self._word("person"), len(places)
        else:
            role, known, number, shift = "place", places, self._word("place", *["person"] * bool(people)), 0
        if number not in known:
            words = [i for i, n in self._form.roles[role].items() if n in known]
            raise self._error(f"{self._shown(self._at - 1)} is not among those that it names. {self._some(words)}")
        return known.index(number) + shift

    def _mark(self, mark: str) -> None:
        if self._at >= len(self._ids) or self._ids[self._at] != self._form.marks[mark]:
            raise self._error(f"{mark!r} is expected {self._instead}")
        self._at += 1

    def _distinct(self, role: str, numbers: list[int]) -> list[int]:
        if len(set(numbers)) < len(numbers):
            raise self._error(f"it names {_ARTICLES[role]} {role} twice, and so contradicts itself or says too little")
        return numbers

    @property
    def _instead(self) -> str:
        if self._at >= len(self._ids):
            return "in place of its end" if self._ids else "and it is empty"
        return f"in place of {self._shown(self._at)}, its token {self._at + 1}"

    def _some(self, ids: list[int]) -> str:
        """What is allowed, a dozen words at most."""
        words = list(dict.fromkeys(self._form.lexicon.tokenizer.piece(i).strip() for i in ids))
        return f"Known: {', '.join(words[:12])}{', ...' if len(words) > 12 else ''}"

    def _shown(self, at: int) -> str:
        token = self._ids[at]
        if token == self._form.lexicon.tokenizer.unk_id:
            return "a word that this world does not know"
        return repr(self._form.lexicon.tokenizer.piece(token).strip() or self._form.lexicon.tokenizer.token(token))

    def _error(self, why: str) -> TaskError:
        form, tokenizer = self._form, self._form.lexicon.tokenizer
        example = tokenizer.decode(form.encode(form.draw(np.random.default_rng(0))))
        text = "".join(tokenizer.piece(i) or f"{form.lexicon.blank}{tokenizer.token(i)}" for i in self._ids)
        return TaskError(
            f"no brief of the story world {form.lexicon.name}: {why}\n    {text.strip()}\nA brief: {example}"
        )


_ARTICLES = {"place": "a", "person": "a", "object": "an", "colour": "a"}
