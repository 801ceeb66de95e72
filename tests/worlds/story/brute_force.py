"""The story world told again, slowly and by other means: every sentence written out, every world gone through."""

from collections import Counter
from itertools import product

import numpy as np

from textgym.worlds.story.brief import BriefFormat, Shape
from textgym.worlds.story.events import Kind
from textgym.worlds.story.grammar import CHAIN, COLOURED, CONNECTIVE, PRONOUN, RELATIVE, compile_grammar
from textgym.worlds.story.lexicon import Lexicon, Relative
from textgym.worlds.story.reader import Reader
from textgym.worlds.story.world import story_world

WORLDS = {f"{language}-{preset}": (preset, language) for language in ("en", "zh") for preset in ("small", "base")}

BRIEF = "kitchen barn mill attic | sam kitchen , ann barn , blue knife sam , red cup mill , grey coin barn"
BRIEF_ZH = "厨房谷仓磨坊阁楼｜小明厨房，小红谷仓，蓝色小刀小明，红色杯子磨坊，灰色铜钱谷仓"
"""What stories told by hand are about."""


def world_named(name):
    """The world of "en-small" and so on."""
    return story_world(*WORLDS[name])


# Lexicons that are small enough to write out -------------------------------------------------------------------------

_TINY = {
    "people": [("sam", "m"), ("ann", "f"), ("eve", "f")],
    "places": ["barn", "mill"],
    "objects": [("cup", 0), ("shoes", 1), ("key", 0)],
    "colours": ["red", "blue"],
    "pronouns": ("he", "she"),
    "connectives": ["then", "soon"],
    "stop": ".",
    "comma": ",",
    "bar": "|",
    "classes": {"adj": ["cold", "warm", "long"], "end": ["end", "cold"]},
    "zipf": 0.7,
}
_PLOTS = {
    Kind.IS_IN: ["A was in the L"],
    Kind.HAS: ["A had O", "A held O"],
    Kind.GO: ["A went to the L", "A went on to the L"],
    Kind.TAKE: ["A took O", "A picked O up"],
    Kind.DROP: ["A dropped O"],
    Kind.GIVE: ["A gave O to B", "A gave B O"],
    Kind.MEET: ["A met B"],
    Kind.FILLER: ["it was a <adj> day", "it was quiet"],
    Kind.END: ["the <end>"],
}
ENGLISH_MANNER = Lexicon(
    name="forms behind",
    templates=_PLOTS | {Kind.COLOUR: ["o [be] C"], Kind.OBJECT_AT: ["O [be] in the L", "in the L lay O"]},
    noun_phrases=("the o", "the C o"),
    forms={"be": ["was", "were"]},
    relatives=[Relative(Kind.IS_IN, "A , who was in the L2 ,"), Relative(Kind.HAS, "A , who had O2 ,")],
    **_TINY,
)
CHINESE_MANNER = Lexicon(
    name="forms before",
    templates=_PLOTS | {Kind.COLOUR: ["o is C"], Kind.OBJECT_AT: ["O lay in the L"]},
    noun_phrases=("that [cl] o", "that [cl] C o"),
    forms={"cl": ["piece", "pair"]},
    before=frozenset({"cl"}),
    relatives=[Relative(Kind.HAS, "who had O2 , A")],
    **_TINY,
)
PLAIN = Lexicon(
    name="no forms",
    templates=_PLOTS | {Kind.COLOUR: ["o was C"], Kind.OBJECT_AT: ["O lay in the L"]},
    noun_phrases=("the o", "the C o"),
    blank="",
    **_TINY,
)
TINY = {lexicon.name: lexicon for lexicon in (ENGLISH_MANNER, CHINESE_MANNER, PLAIN)}
TINY_SHAPE = Shape(people=2, places=2, objects=2)


def tiny_reader(lexicon, rows, seed=0):
    """A brief of a tiny lexicon, and a reader of so many empty stories under it."""
    brief = BriefFormat(lexicon, TINY_SHAPE).draw(np.random.default_rng(seed))
    reader = Reader(compile_grammar(lexicon), lexicon, TINY_SHAPE, rows)
    reader.begin(np.arange(rows), [brief] * rows)
    return brief, reader


# Sentences -----------------------------------------------------------------------------------------------------------


class Writer:
    """All sentences about a brief, with their probabilities in the grammar."""

    def __init__(self, lexicon, people, places, objects):
        self.lexicon, self.people, self.places, self.objects = lexicon, people, places, objects

    @classmethod
    def about(cls, lexicon, brief):
        return cls(
            lexicon,
            [lexicon.people[i] for i in brief.people],
            [lexicon.places[i] for i in brief.places],
            [lexicon.objects[i] for i in brief.objects],
        )

    def of_kind(self, kind, actor=None):
        """(words, subject, probability) of all sentences of a type; `actor` is a name, or None if nobody acted yet."""
        openings = [((), 1.0)]
        if kind not in (Kind.FILLER, Kind.END):
            openings = [((), 1 - CONNECTIVE)]
            openings += [((word,), CONNECTIVE * p) for word, p in self._zipf(self.lexicon.connectives)]
        texts = self.lexicon.templates[kind]
        for text, (opening, q) in product(texts, openings):
            for words, said, p in self._written(text.split(), {"actor": actor}):
                yield (*opening, *words, self.lexicon.stop), said.get("A"), q * p / len(texts)

    def sentences(self, before, actor=None):
        """{words: probability} of all sentences behind one of the type `before`."""
        found = Counter()
        for kind in Kind:
            for words, _, p in self.of_kind(kind, actor):
                found[words] += CHAIN[before, kind] * p
        return {words: p for words, p in found.items() if p}

    def _shared(self, words):
        return [(word, 1 / len(words)) for word in words]

    def _zipf(self, words):
        weights = [(rank + 1) ** -self.lexicon.zipf for rank in range(len(words))]
        return [(word, weight / sum(weights)) for word, weight in zip(words, weights, strict=True)]

    def _written(self, symbols, said):
        if not symbols:
            yield (), said, 1.0
            return
        for words, now, p in self._chosen(symbols[0], said):
            for rest, then, q in self._written(symbols[1:], now):
                yield (*words, *rest), then, p * q

    def _chosen(self, symbol, said):
        """(words, what has been said then, probability) of all that may stand for a symbol."""
        match symbol:
            case "A":
                yield from self._subject(said)
            case "B":
                others = [name for name, _ in self.people if name != said["A"]]
                yield from (((name,), said, p) for name, p in self._shared(others))
            case "L" | "L2":
                yield from (((place,), said, p) for place, p in self._shared(self.places))
            case "C":
                yield from (((colour,), said, 1 / len(self.lexicon.colours)) for colour in self.lexicon.colours)
            case "O" | "O2":
                for phrase, share in zip(self.lexicon.noun_phrases, (1 - COLOURED, COLOURED), strict=True):
                    yield from self._noun_phrase(phrase, symbol, said, share)
            case "o":
                yield from self._noun_phrase(self.lexicon.noun_phrases[0], "O", said, 1.0)
            case _ if symbol[0] == "<":
                yield from (((w,), said, p) for w, p in self._zipf(self.lexicon.classes[symbol[1:-1]]))
            case _ if symbol[0] == "[":
                forms = self.lexicon.forms[symbol[1:-1]]
                number = dict(self.lexicon.objects)[said["O"]]
                yield (forms[number],), said, 1.0
            case _:
                yield (symbol,), said, 1.0

    def _subject(self, said):
        relative = RELATIVE if self.lexicon.relatives else 0.0
        pronoun = PRONOUN if said["actor"] else 0.0
        for name, p in self._shared([name for name, _ in self.people]):
            words, now = (name,), said | {"A": name}
            yield words, now, p * (1 - relative) * (1 - pronoun)
            for clause in self.lexicon.relatives:
                symbols = [name if symbol == "A" else symbol for symbol in clause.text.split()]
                for written, then, q in self._written(symbols, now):
                    yield written, then, p * relative / len(self.lexicon.relatives) * (1 - pronoun) * q
        if pronoun:
            he_or_she = self.lexicon.pronouns["mf".index(dict(self.people)[said["actor"]])]
            yield (he_or_she,), said | {"A": said["actor"]}, pronoun

    def _noun_phrase(self, phrase, register, said, share):
        for noun, p in self._shared([noun for noun, _ in self.objects]):
            number, found = dict(self.objects)[noun], [((), share * p)]
            for symbol in phrase.split():
                if symbol == "o":
                    nexts = [((noun,), 1.0)]
                elif symbol[0] == "[":
                    nexts = [((self.lexicon.forms[symbol[1:-1]][number],), 1.0)]
                else:
                    nexts = [(words, q) for words, _, q in self._chosen(symbol, said)]
                found = [((*words, *more), p * q) for (words, p), (more, q) in product(found, nexts)]
            yield from ((words, said | {register: noun}, p) for words, p in found)


class WholeLexicon(Writer):
    """All sentences of a lexicon: a brief's own words were drawn by their frequencies."""

    def __init__(self, lexicon):
        super().__init__(lexicon, lexicon.people, lexicon.places, lexicon.objects)

    def _shared(self, words):
        names, nouns = [name for name, _ in self.people], [noun for noun, _ in self.objects]
        kin = next(every for every in (names, self.places, nouns) if words[0] in every)
        chosen = [(word, p) for word, p in self._zipf(kin) if word in words]
        return [(word, p / sum(q for _, q in chosen)) for word, p in chosen]


# Worlds --------------------------------------------------------------------------------------------------------------


class AllWorlds:
    """Every initial world of a shape, with its present state and its violations, one by one."""

    def __init__(self, brief, shape, colours):
        self.shape, self.brief, self.colours = shape, brief, colours
        ranges = [range(shape.places)] * shape.people + [range(shape.whereabouts)] * shape.objects
        self.initial = list(product(*ranges, *[range(colours)] * shape.objects))
        self.states = [list(world) for world in self.initial]
        self.violations = [0] * len(self.initial)
        self.true = self.initial.index((*brief.at.tolist(), *brief.where.tolist(), *brief.colours.tolist()))

    def apply(self, event):
        """(contradicts, unfaithful, informs, changes) of an event."""
        least, believed, faults = min(self.violations), self.believed(), self.violations[self.true]
        truth = list(self.states[self.true])
        for number, state in enumerate(self.states):
            self.violations[number] += not self._happens(state, event)
        unfaithful = self.violations[self.true] > faults
        changes = truth != self.states[self.true] and not unfaithful
        return min(self.violations) > least, unfaithful, self.believed() != believed, changes

    def _happens(self, state, event):
        """Whether an event can happen in a state; it takes effect either way."""
        kind, p, q, o, place, colour = event
        thing = self.shape.people + o  # where an object is stands behind where the persons are, its colour behind
        held_by_p, held_by_q = self.shape.places + p, self.shape.places + q
        match kind:
            case Kind.IS_IN:
                return state[p] == place
            case Kind.COLOUR:
                return state[thing + self.shape.objects] == colour
            case Kind.OBJECT_AT:
                return state[thing] == place
            case Kind.HAS:
                return state[thing] == held_by_p
            case Kind.GO:
                can, state[p] = state[p] != place, place
                return can
            case Kind.TAKE:
                can, state[thing] = state[thing] == state[p], held_by_p
                return can
            case Kind.DROP:
                can, state[thing] = state[thing] == held_by_p, state[p]
                return can
            case Kind.GIVE:
                can, state[thing] = state[thing] == held_by_p and state[p] == state[q], held_by_q
                return can
            case Kind.MEET:
                return state[p] == state[q]
        raise AssertionError(kind)

    def believed(self):
        """Numbers of the worlds with the fewest violations."""
        least = min(self.violations)
        return {number for number, count in enumerate(self.violations) if count == least}

    def beliefs(self):
        """How many of the believed worlds have each fact of the true one, as a share."""
        believed, truth = self.believed(), self.initial[self.true]
        return [sum(self.initial[w][i] == fact for w in believed) / len(believed) for i, fact in enumerate(truth)]

    def bits(self):
        """log2 of all worlds over the believed ones."""
        return float(np.log2(len(self.initial)) - np.log2(len(self.believed())))
