"""Clean stories, and stories with noise: types follow the grammar's chain, slots what is so in the story's world.

A clean story says nothing that is false and nothing twice: a fact is told only where a reader does not know it, and
nobody acts before a reader knows where. It ends when the world has been in new situations often enough. Noise is an
event drawn without regard to the world; a repetition is the sentence before once more.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate, product
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from textgym.types import TokenIds
from textgym.worlds.story.brief import Brief, BriefFormat
from textgym.worlds.story.events import START, Kind
from textgym.worlds.story.grammar import CHAIN, COLOURED, CONNECTIVE, RELATIVE
from textgym.worlds.story.lexicon import Lexicon
from textgym.worlds.story.truth import ENOUGH_CHANGES

AGAIN = 0.6
"""How often somebody who acts twice in a row is a pronoun the second time."""

_ABOUT_NOBODY = (Kind.FILLER, Kind.END)


class Told(NamedTuple):
    """What a sentence is to say: a kind and numbers within the brief (colours: of the lexicon), -1 for none."""

    kind: Kind
    subject: int = -1
    other: int = -1
    object: int = -1
    place: int = -1
    colour: int = -1


class _Dice:
    """Uniform numbers of a generator, drawn by the thousand: a single draw costs more than what is done with it."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._left: Iterator[float] = iter(())

    def roll(self) -> float:
        """Uniform on [0, 1)."""
        for number in self._left:
            return number
        self._left = iter(self._rng.random(4096).tolist())
        return next(self._left)

    def happens(self, probability: float) -> bool:
        """True that often."""
        return self.roll() < probability

    def one_of(self, items: Sequence[Told] | Sequence[int] | Sequence[Sequence[str]]) -> int:
        """An index, each as likely."""
        return int(self.roll() * len(items))

    def weighted(self, cumulative: Sequence[float]) -> int:
        """An index, by cumulated weights."""
        point = self.roll() * cumulative[-1]
        return next(i for i, bound in enumerate(cumulative) if point < bound)


class StoryGenerator:
    """Writes stories about briefs.

    Args:
        lexicon: the words.
        form: of the briefs.
        noise: how often a sentence is drawn without regard to the world.
        repetition: how often a sentence is that before it once more.
        max_tokens: the longest story, EOS included; a longer one is drawn anew.
    """

    def __init__(
        self, lexicon: Lexicon, form: BriefFormat, *, noise: float = 0.0, repetition: float = 0.0, max_tokens: int = 96
    ) -> None:
        self._lexicon, self._form = lexicon, form
        self._noise, self._repetition, self._max_tokens = noise, repetition, max_tokens
        self._words = _Words(lexicon)

    def story(self, brief: Brief, rng: np.random.Generator) -> TokenIds:
        """A story about a brief, EOS included, (T,)."""
        return self.story_and_events(brief, rng)[0]

    def story_and_events(self, brief: Brief, rng: np.random.Generator) -> tuple[TokenIds, list[list[Told]]]:
        """A story, and what each of its sentences is meant to say: colours and relative clauses first, then itself."""
        dice = _Dice(rng)
        while True:
            scene = _Scene(brief)
            ids = self._draft(scene, dice)
            if len(ids) <= self._max_tokens:
                return np.array(ids, dtype=np.int32), scene.log

    def _draft(self, scene: "_Scene", dice: _Dice) -> list[int]:
        ids: list[int] = []
        last: list[int] = []
        before = START
        while before != Kind.END and len(ids) <= self._max_tokens:
            if last and dice.happens(self._repetition):
                ids += last
                scene.log.append(scene.log[-1])
                continue
            told = self._choose(scene, before, dice)
            last = self._words.write(told, scene, dice, self._noise)
            ids += last
            before = told.kind
        return [*ids, self._lexicon.tokenizer.eos_id]

    def _choose(self, scene: "_Scene", before: int, dice: _Dice) -> Told:
        """The next sentence: its type by the chain, among those that have something to say."""
        options_of = scene.anything if dice.happens(self._noise) else scene.options
        weights = CHAIN[before].tolist()
        while sum(weights) > 0:
            kind = Kind(dice.weighted(list(accumulate(weights))))
            options = options_of(kind)
            if options:
                return options[dice.one_of(options)]
            weights[kind] = 0.0
        # What the chain would say next is false or known, all of it: say anything that is neither.
        options = [told for kind in Kind for told in scene.options(kind)]
        return options[dice.one_of(options)]


class _Scene:
    """The world as a story goes, and what a reader knows of it."""

    def __init__(self, brief: Brief) -> None:
        self.brief = brief
        self.at, self.where = brief.at.tolist(), brief.where.tolist()
        self.people, self.places, self.objects = range(len(self.at)), range(len(brief.places)), range(len(self.where))
        self.met = [False] * len(self.at)  # a reader knows where they are
        self.found = [False] * len(self.where)
        self.seen = [False] * len(self.where)  # a reader knows their colour
        self.actor = -1
        self.situations = {(*self.at, *self.where)}
        self.last = Told(Kind.FILLER)
        self.log: list[list[Told]] = []  # what each sentence says

    def options(self, kind: Kind) -> list[Told]:
        """All that is true, new, possible, and does not undo what was just done."""
        people, objects, first = self.people, self.objects, len(self.places)
        at, where, met, found = self.at, self.where, self.met, self.found
        match kind:
            case Kind.IS_IN:
                return [Told(kind, p, place=at[p]) for p in people if not met[p]]
            case Kind.COLOUR:
                return [Told(kind, object=o) for o in objects if not self.seen[o]]
            case Kind.OBJECT_AT:
                return [Told(kind, object=o, place=where[o]) for o in objects if where[o] < first and not found[o]]
            case Kind.HAS:
                return [Told(kind, where[o] - first, object=o) for o in objects if where[o] >= first and not found[o]]
            case Kind.GO:
                return [Told(kind, p, place=place) for p in people if met[p] for place in self.places if place != at[p]]
            case Kind.TAKE:
                near = [(p, o) for p in people if met[p] for o in objects if where[o] == at[p]]
                return [Told(kind, p, object=o) for p, o in near if self.last[:4] != (Kind.DROP, p, -1, o)]
            case Kind.DROP:
                held = [(p, o) for p in people if met[p] for o in objects if where[o] == first + p]
                return [Told(kind, p, object=o) for p, o in held if self.last[:4] != (Kind.TAKE, p, -1, o)]
            case Kind.GIVE:
                pairs = [(p, q) for p, q in product(people, people) if p != q and at[p] == at[q] and (met[p] or met[q])]
                return [Told(kind, p, q, o) for p, q in pairs for o in objects if where[o] == first + p]
            case Kind.MEET:
                return [Told(kind, p, q) for p, q in product(people, people) if at[p] == at[q] and met[p] != met[q]]
            case Kind.FILLER:
                return [Told(kind)]
            case _:
                return [Told(kind)] if len(self.situations) > ENOUGH_CHANGES else []

    def anything(self, kind: Kind) -> list[Told]:
        """All that the grammar can say, true or not."""
        people, places, objects = self.people, self.places, self.objects
        match kind:
            case Kind.IS_IN | Kind.GO:
                return [Told(kind, p, place=place) for p, place in product(people, places)]
            case Kind.COLOUR:
                return [Told(kind, object=o) for o in objects]
            case Kind.OBJECT_AT:
                return [Told(kind, object=o, place=place) for o, place in product(objects, places)]
            case Kind.HAS | Kind.TAKE | Kind.DROP:
                return [Told(kind, p, object=o) for p, o in product(people, objects)]
            case Kind.GIVE:
                return [Told(kind, p, q, o) for p, q, o in product(people, people, objects) if p != q]
            case Kind.MEET:
                return [Told(kind, p, q) for p, q in product(people, people) if p != q]
            case _:
                return self.options(kind)

    def happen(self, told: Told) -> None:
        """Takes effect, whether it was possible or not, and is known."""
        p, q, o, first = told.subject, told.other, told.object, len(self.places)
        if told.kind not in (Kind.COLOUR, *_ABOUT_NOBODY):  # a colour was noted as its word was written
            self.log[-1].append(told)
        match told.kind:
            case Kind.IS_IN:
                self.met[p] = True
            case Kind.COLOUR:
                self.seen[o] = True
            case Kind.OBJECT_AT | Kind.HAS:
                self.found[o] = True
            case Kind.GO:
                self.at[p], self.met[p] = told.place, True
            case Kind.TAKE:
                self.where[o], self.found[o] = first + p, True
            case Kind.DROP:
                self.where[o], self.found[o] = self.at[p], True
            case Kind.GIVE:
                self.where[o], self.found[o] = first + q, True
                self.met[p] = self.met[q] = True
            case Kind.MEET:
                self.met[p] = self.met[q] = True
        self.situations.add((*self.at, *self.where))
        self.actor, self.last = p if p >= 0 else self.actor, told

    def aside(self, told: Told, dice: _Dice) -> Told | None:
        """What a relative clause may say of the subject: true, new, and of nothing that the sentence is about."""
        p, first = told.subject, len(self.places)
        facts = [Told(Kind.HAS, p, object=o) for o in self.objects if self.where[o] == first + p and not self.found[o]]
        facts = [fact for fact in facts if fact.object != told.object]
        if not self.met[p] and told.kind not in (Kind.IS_IN, Kind.MEET, Kind.GIVE):
            facts.append(Told(Kind.IS_IN, p, place=self.at[p]))
        return facts[dice.one_of(facts)] if facts else None


class _Words:
    """Sentences as ids."""

    def __init__(self, lexicon: Lexicon) -> None:
        self._lexicon = lexicon
        self._people = lexicon.ids([name for name, _ in lexicon.people]).tolist()
        self._places = lexicon.ids(lexicon.places).tolist()
        self._objects = lexicon.ids([noun for noun, _ in lexicon.objects]).tolist()
        self._colours = lexicon.ids(lexicon.colours).tolist()
        self._pronouns = lexicon.ids(lexicon.pronouns).tolist()
        self._gender = ["mf".index(gender) for _, gender in lexicon.people]
        self._stop = lexicon.id_of(lexicon.stop)
        self._templates = {kind: [text.split() for text in texts] for kind, texts in lexicon.templates.items()}
        self._open = {"connective": self._class(lexicon.connectives)}
        self._open |= {name: self._class(words) for name, words in lexicon.classes.items()}
        self._relatives = {relative.kind: relative.text.split() for relative in lexicon.relatives}

    def _class(self, words: Sequence[str]) -> tuple[Int64[np.ndarray, " N"], Float64[np.ndarray, " N"]]:
        return self._lexicon.ids(words), np.cumsum(self._lexicon.frequencies(len(words)))

    def write(self, told: Told, scene: _Scene, dice: _Dice, noise: float) -> list[int]:
        """A sentence with its full stop; it takes effect in the scene."""
        ids: list[int] = []
        scene.log.append([])
        if told.kind not in _ABOUT_NOBODY and dice.happens(CONNECTIVE):
            ids.append(self._any("connective", dice))
        templates = self._templates[told.kind]
        for word in templates[dice.one_of(templates)]:
            ids += (
                self._subject(told, scene, dice, noise) if word == "A" else self._word(word, told, scene, dice, noise)
            )
        scene.happen(told)
        return [*ids, self._stop]

    def _subject(self, told: Told, scene: _Scene, dice: _Dice, noise: float) -> list[int]:
        number = int(scene.brief.people[told.subject])
        if scene.actor == told.subject and dice.happens(AGAIN):
            return [self._pronouns[self._gender[number]]]
        name = self._people[number]
        fact = scene.aside(told, dice) if self._relatives and dice.happens(2 * RELATIVE) else None
        if fact is None:
            return [name]
        ids: list[int] = []
        for word in self._relatives[fact.kind]:
            ids += [name] if word == "A" else self._word(word.removesuffix("2"), fact, scene, dice, noise)
        scene.happen(fact)
        return ids

    def _word(self, word: str, told: Told, scene: _Scene, dice: _Dice, noise: float) -> list[int]:
        brief = scene.brief
        if word.startswith("<"):
            return [self._any(word[1:-1], dice)]
        if word.startswith("["):
            number = self._lexicon.objects[int(brief.objects[told.object])][1]
            return [self._lexicon.id_of(self._lexicon.forms[word[1:-1]][number])]
        match word:
            case "B":
                return [self._people[int(brief.people[told.other])]]
            case "L":
                return [self._places[int(brief.places[told.place])]]
            case "C":
                return [self._colour(told, scene, dice, noise)]
            case "O":
                coloured = dice.happens(COLOURED)
                phrase = self._lexicon.noun_phrases[coloured].split()
                return [i for part in phrase for i in self._noun(part, told, scene, dice, noise)]
            case "o":
                phrase = self._lexicon.noun_phrases[0].split()
                return [i for part in phrase for i in self._noun(part, told, scene, dice, noise)]
        return [self._lexicon.id_of(word)]

    def _noun(self, part: str, told: Told, scene: _Scene, dice: _Dice, noise: float) -> list[int]:
        if part == "o":
            return [self._objects[int(scene.brief.objects[told.object])]]
        return self._word(part, told, scene, dice, noise)

    def _colour(self, told: Told, scene: _Scene, dice: _Dice, noise: float) -> int:
        """An object's colour, or, as noise, any."""
        scene.seen[told.object] = True
        colour = int(scene.brief.colours[told.object])
        if dice.happens(noise):
            colour = dice.one_of(self._colours)
        scene.log[-1].append(Told(Kind.COLOUR, object=told.object, colour=colour))
        return int(self._colours[colour])

    def _any(self, name: str, dice: _Dice) -> int:
        ids, cumulative = self._open[name]
        return int(ids[dice.weighted(cumulative.tolist())])
