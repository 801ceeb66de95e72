"""The sentence grammar as a deterministic weighted automaton over word classes, compiled once for a lexicon.

The templates of all types, with their options spelt out (connective, pronoun, colour, relative clause), form one tree.
A state is a node of it, an edge is a word or a slot that a class of words fills. Which words those are depends on the
brief and on what the sentence has said; how likely an edge is depends on the type of the sentence before it and on
whether somebody has acted yet. So a token costs a few look-ups (see `reader`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import product

import numpy as np
from jaxtyping import Float64, Int8, Int32, Int64

from textgym.worlds.story.events import START, TYPES, UNPARSED, Kind
from textgym.worlds.story.lexicon import Lexicon

CONNECTIVE, PRONOUN, COLOURED, RELATIVE = 0.15, 0.35, 0.4, 0.15
"""How often a sentence opens with a connective, its subject is a pronoun where it may be, an object has its colour
with it, and a subject has a relative clause where the lexicon knows some."""

_DESCRIBED = [0.22, 0.11, 0.15, 0.14, 0.10, 0.12, 0.06, 0.04, 0.02, 0.04, 0.0]
_HAPPENED = [0.03, 0.05, 0.03, 0.03, 0.19, 0.17, 0.13, 0.10, 0.04, 0.03, 0.20]
_RARE = 0.01
CHAIN: Float64[np.ndarray, "F K"] = np.array(
    [
        *[_DESCRIBED] * 4,
        *[_HAPPENED] * 5,
        [0.18, 0.12, 0.13, 0.11, 0.14, 0.12, 0.07, 0.05, 0.03, 0.01, 0.04],  # after a filler
        [0.0] * TYPES,  # nothing comes after the end
        [0.48, 0.05, 0.16, 0.23, 0.0, 0.0, 0.0, 0.0, 0.0, 0.08, 0.0],  # at the start
        [0.12, 0.10, 0.10, 0.10, 0.14, 0.13, 0.09, 0.07, 0.04, 0.04, 0.07],  # after what is no sentence
    ]
)
"""Row: the type of the sentence before, then `START` and `UNPARSED`; column: the type of the next one.

A hundredth is spread over all types: what is said where it is hardly ever said is a sentence all the same.
"""
CHAIN = np.where(CHAIN.any(1, keepdims=True), (1 - _RARE) * CHAIN + _RARE / TYPES, 0.0)


class Slot(IntEnum):
    """What fills an edge."""

    LITERAL = 0
    PERSON = 1
    OTHER = 2
    """A person who is not the subject."""
    PRONOUN = 3
    PLACE = 4
    OBJECT = 5
    COLOUR = 6
    OPEN = 7
    """Any word of an open class."""
    FORM_AFTER = 8
    """The form that agrees with the object before it."""
    FORM_BEFORE = 9
    """A form that some object of the brief agrees with."""
    AGREEING = 10
    """An object that agrees with the form before it."""


class Register(IntEnum):
    """What a sentence has said so far."""

    SUBJECT = 0
    OTHER = 1
    OBJECT = 2
    COLOUR = 3
    PLACE = 4
    OBJECT_2 = 5
    COLOUR_2 = 6
    PLACE_2 = 7
    FORM = 8
    NONE = 9
    """Written where nothing is to be remembered, and read where nothing was said."""


REGISTERS = len(Register)

Pattern = tuple[tuple["Symbol", ...], float, float, tuple["Event", ...]]


@dataclass(frozen=True)
class Symbol:
    """An edge's label: a word, or a slot with the register that it fills and, of an open class or form, its name."""

    slot: Slot
    text: str = ""
    register: Register = Register.NONE


@dataclass(frozen=True)
class Event:
    """What a sentence states: a kind, and the registers of its arguments."""

    kind: Kind
    subject: Register = Register.NONE
    other: Register = Register.NONE
    object: Register = Register.NONE
    place: Register = Register.NONE
    colour: Register = Register.NONE

    @property
    def row(self) -> tuple[int, ...]:
        """As a row of `Grammar.events`."""
        return (self.kind, self.subject, self.other, self.object, self.place, self.colour)


@dataclass(frozen=True, eq=False)
class Grammar:
    """The compiled automaton: N nodes, E edges, V tokens, K types.

    A variant is 2 * (type of the sentence before) + (whether somebody has acted). The last node and the last edge are
    for what is no sentence: that edge leads to that node, with probability 0, and nothing leads away from it.

    Attributes:
        edge: (N, V) the edge that a token takes. Node 0 begins a sentence.
        target: (E,) where an edge leads; 0 where it ends a sentence.
        slot: (E,) what fills it.
        register: (E,) what it writes.
        weights: (W, E) probability of an edge at its node, in each variant.
        name: (E,) the open class that fills it, a row of `share`; 0 for other edges.
        share: (C, V) probability of a word in each open class.
        ends: (E,) the leaf of an edge that ends a sentence or the text, else -1.
        kinds: (F,) type of the sentence, of each leaf.
        events: (F, M, 6) kind and registers of up to M events, -1 as kind for none.
        unigram: (V,) how often a token is met, mixed with equal frequencies.
    """

    edge: Int32[np.ndarray, "N V"]
    target: Int32[np.ndarray, " E"]
    slot: Int8[np.ndarray, " E"]
    register: Int8[np.ndarray, " E"]
    weights: Float64[np.ndarray, "W E"]
    name: Int8[np.ndarray, " E"]
    share: Float64[np.ndarray, "C V"]
    ends: Int32[np.ndarray, " E"]
    kinds: Int64[np.ndarray, " F"]
    events: Int64[np.ndarray, "F M 6"]
    unigram: Float64[np.ndarray, " V"]


def variant(before: int, acted: bool) -> int:
    """The row of `Grammar.weights`."""
    return 2 * before + acted


def patterns(lexicon: Lexicon) -> Mapping[Kind, list[Pattern]]:
    """All sentences of each type as symbols: (symbols, probability at first, probability later, events).

    The two probabilities are those before and after somebody has acted: a pronoun needs somebody.
    """
    found: dict[Kind, list[Pattern]] = {}
    for kind, texts in lexicon.templates.items():
        connective = 0.0 if kind in (Kind.FILLER, Kind.END) else CONNECTIVE
        found[kind] = []
        for text in texts:
            for symbols, first, later, events in _spelt(lexicon, kind, text):
                share = 1 / len(texts)
                opening = Symbol(Slot.OPEN, "connective")
                for head, p in ((), 1 - connective), ((opening,), connective):
                    if p:
                        found[kind].append(((*head, *symbols), first * share * p, later * share * p, events))
    return found


def _spelt(lexicon: Lexicon, kind: Kind, text: str) -> Iterator[Pattern]:
    """A template with its options spelt out."""
    places = [_options(lexicon, word) for word in text.split()]
    for chosen in product(*places):
        symbols = tuple(symbol for part in chosen for symbol in part[0])
        first = float(np.prod([part[1] for part in chosen]))
        later = float(np.prod([part[2] for part in chosen]))
        said = [event for part in chosen for event in part[3]]
        registers = {symbol.register for symbol in symbols}

        def given(register: Register, registers: set[Register] = registers) -> Register:
            return register if register in registers else Register.NONE

        if kind not in (Kind.FILLER, Kind.END):
            colour = given(Register.COLOUR) if kind == Kind.COLOUR else Register.NONE
            said.append(
                Event(
                    kind,
                    given(Register.SUBJECT),
                    given(Register.OTHER),
                    given(Register.OBJECT),
                    given(Register.PLACE),
                    colour,
                )
            )
        if later:
            yield symbols, first, later, tuple(said)


Option = tuple[tuple[Symbol, ...], float, float, tuple[Event, ...]]


def _options(lexicon: Lexicon, word: str) -> list[Option]:
    """What may stand in the place of a word of a template."""
    plain = {
        "B": Symbol(Slot.OTHER, "", Register.OTHER),
        "L": Symbol(Slot.PLACE, "", Register.PLACE),
        "L2": Symbol(Slot.PLACE, "", Register.PLACE_2),
        "C": Symbol(Slot.COLOUR, "", Register.COLOUR),
    }
    if word in plain:
        return [((plain[word],), 1.0, 1.0, ())]
    if word == "A":
        return _subjects(lexicon)
    if word in ("O", "O2", "o"):
        return _objects(lexicon, word)
    return [((_symbol(lexicon, word),), 1.0, 1.0, ())]


def _symbol(lexicon: Lexicon, word: str) -> Symbol:
    if word.startswith("<"):
        return Symbol(Slot.OPEN, word[1:-1])
    if word.startswith("["):
        name = word[1:-1]
        if name in lexicon.before:
            return Symbol(Slot.FORM_BEFORE, name, Register.FORM)
        return Symbol(Slot.FORM_AFTER, name)
    return Symbol(Slot.LITERAL, word)


def _objects(lexicon: Lexicon, word: str) -> list[Option]:
    """A noun phrase, with its colour or without."""
    second = word == "O2"
    noun, colour = (Register.OBJECT_2, Register.COLOUR_2) if second else (Register.OBJECT, Register.COLOUR)
    options: list[Option] = []
    for phrase, share in zip(lexicon.noun_phrases, (1 - COLOURED, COLOURED), strict=True):
        agrees = any(w.startswith("[") and w[1:-1] in lexicon.before for w in phrase.split())
        table = {
            "o": Symbol(Slot.AGREEING if agrees else Slot.OBJECT, "", noun),
            "C": Symbol(Slot.COLOUR, "", colour),
        }
        symbols = tuple(table.get(w) or _symbol(lexicon, w) for w in phrase.split())
        coloured = table["C"] in symbols
        said = (Event(Kind.COLOUR, object=noun, colour=colour),) if coloured else ()
        if word != "o":
            options.append((symbols, share, share, said))
        elif not coloured:
            options.append((symbols, 1.0, 1.0, ()))
    return options


def _subjects(lexicon: Lexicon) -> list[Option]:
    """A name, a pronoun, or a name with a relative clause."""
    relative = RELATIVE if lexicon.relatives else 0.0
    name = Symbol(Slot.PERSON, "", Register.SUBJECT)
    options: list[Option] = [
        ((name,), 1 - relative, (1 - PRONOUN) * (1 - relative), ()),
        ((Symbol(Slot.PRONOUN, "", Register.SUBJECT),), 0.0, PRONOUN, ()),
    ]
    for clause in lexicon.relatives:
        share = relative / len(lexicon.relatives)
        parts = [[((name,), 1.0, 1.0, ())] if w == "A" else _options(lexicon, w) for w in clause.text.split()]
        for chosen in product(*parts):
            symbols = tuple(symbol for part in chosen for symbol in part[0])
            p = share * float(np.prod([part[1] for part in chosen]))
            said = [event for part in chosen for event in part[3]]
            here = Register.PLACE_2 if clause.kind == Kind.IS_IN else Register.NONE
            held = Register.OBJECT_2 if clause.kind == Kind.HAS else Register.NONE
            said.append(Event(clause.kind, Register.SUBJECT, object=held, place=here))
            options.append((symbols, p, p * (1 - PRONOUN), tuple(said)))
    return options


@dataclass
class _Node:
    edges: dict[Symbol, "_Node"] = field(default_factory=dict)
    mass: Float64[np.ndarray, " W"] = field(default_factory=lambda: np.zeros(2 * (TYPES + 2)))
    leaf: int = -1


def compile_grammar(lexicon: Lexicon) -> Grammar:
    """The automaton of a lexicon.

    Raises:
        ValueError: two templates are the same sentence, a word has two places to go to, or two meanings: a fault of
            the lexicon.
    """
    _check_meanings(lexicon)
    root = _Node()
    kinds: list[int] = []
    events: list[list[tuple[int, ...]]] = []
    stop = Symbol(Slot.LITERAL, lexicon.stop)
    for kind, found in patterns(lexicon).items():
        for symbols, first, later, said in found:
            mass = np.outer(CHAIN[:, kind], [first, later]).ravel()
            leaf = _insert(root, (*symbols, stop), mass)
            if leaf.leaf >= 0:
                raise ValueError(
                    f"{lexicon.name}: two templates make the sentence {[s.text or s.slot.name for s in symbols]}"
                )
            leaf.leaf = len(kinds)
            kinds.append(kind)
            events.append([event.row for event in said])
    over = np.zeros(2 * (TYPES + 2))
    over[variant(Kind.END, False)] = over[variant(Kind.END, True)] = 1.0
    _insert(root, (Symbol(Slot.LITERAL, "<eos>"),), over).leaf = len(kinds)
    kinds.append(Kind.END)
    events.append([])
    most = max(map(len, events))
    table = np.full((len(events), most, 6), Register.NONE, dtype=np.int64)
    table[:, :, 0] = -1
    for leaf_number, rows in enumerate(events):
        table[leaf_number, : len(rows)] = np.array(rows).reshape(-1, 6)
    return _tables(lexicon, root, np.array(kinds, dtype=np.int64), table)


def _check_meanings(lexicon: Lexicon) -> None:
    """A name, place, noun, colour, pronoun or form means one thing, and none but a form is a word of templates too."""
    named = [*(name for name, _ in lexicon.people), *lexicon.places, *(noun for noun, _ in lexicon.objects)]
    named += lexicon.colours
    forms = [form for forms in lexicon.forms.values() for form in forms]
    others = {*lexicon.connectives, *(word for words in lexicon.classes.values() for word in words), *lexicon.literals}
    others |= {lexicon.stop, lexicon.comma, lexicon.bar}
    every = [*named, *lexicon.pronouns, *forms]
    twice = {word for word in every if every.count(word) > 1} | others.intersection(named)
    if twice:
        raise ValueError(f"{lexicon.name}: {sorted(twice)} have two meanings each")


def _insert(root: _Node, symbols: tuple[Symbol, ...], mass: Float64[np.ndarray, " W"]) -> _Node:
    node = root
    node.mass = node.mass + mass
    for symbol in symbols:
        node = node.edges.setdefault(symbol, _Node())
        node.mass = node.mass + mass
    return node


def _words(lexicon: Lexicon, symbol: Symbol) -> Int64[np.ndarray, " N"]:
    """The ids that can fill an edge at all."""
    match symbol.slot:
        case Slot.LITERAL:
            return np.array([2 if symbol.text == "<eos>" else lexicon.id_of(symbol.text)])
        case Slot.PERSON | Slot.OTHER:
            return lexicon.ids([name for name, _ in lexicon.people])
        case Slot.PRONOUN:
            return lexicon.ids(lexicon.pronouns)
        case Slot.PLACE:
            return lexicon.ids(lexicon.places)
        case Slot.OBJECT | Slot.AGREEING:
            return lexicon.ids([noun for noun, _ in lexicon.objects])
        case Slot.COLOUR:
            return lexicon.ids(lexicon.colours)
        case Slot.OPEN:
            return lexicon.ids(lexicon.connectives if symbol.text == "connective" else lexicon.classes[symbol.text])
        case _:
            return lexicon.ids(lexicon.forms[symbol.text])


_Row = tuple[int, Symbol, _Node, Float64[np.ndarray, " W"]]
"""An edge: its node, its label, where it leads, its weights."""


def _tables(
    lexicon: Lexicon, root: _Node, kinds: Int64[np.ndarray, " F"], events: Int64[np.ndarray, "F M 6"]
) -> Grammar:
    nodes, numbers = [root], {id(root): 0}
    rows: list[_Row] = []
    for node in nodes:  # grows as it is read: breadth first
        for symbol, child in node.edges.items():
            with np.errstate(invalid="ignore"):
                rows.append((numbers[id(node)], symbol, child, np.nan_to_num(child.mass / node.mass)))
            if child.edges:
                numbers[id(child)] = len(nodes)
                nodes.append(child)
    symbols, nowhere = [symbol for _, symbol, _, _ in rows], Symbol(Slot.LITERAL)
    targets = [*(numbers.get(id(child), 0) for _, _, child, _ in rows), len(nodes)]
    weights = np.array([*(weight for *_, weight in rows), np.zeros(len(root.mass))]).T.copy()
    ends = np.array([*(child.leaf for _, _, child, _ in rows), -1], dtype=np.int32)
    opens = ["connective", *lexicon.classes]
    share = np.zeros((len(opens), lexicon.tokenizer.vocab_size))
    for row, words in zip(share, (lexicon.connectives, *lexicon.classes.values()), strict=True):
        row[lexicon.ids(words)] = lexicon.frequencies(len(words))
    return Grammar(
        edge=_edges(lexicon, len(nodes), rows),
        target=np.array(targets, dtype=np.int32),
        slot=np.array([symbol.slot for symbol in (*symbols, nowhere)], dtype=np.int8),
        register=np.array([symbol.register for symbol in (*symbols, nowhere)], dtype=np.int8),
        weights=weights,
        name=np.array([opens.index(s.text) if s.slot == Slot.OPEN else 0 for s in (*symbols, nowhere)], dtype=np.int8),
        share=share,
        ends=ends,
        kinds=kinds,
        events=events,
        unigram=_unigram(lexicon, weights, targets, rows),
    )


def _edges(lexicon: Lexicon, nodes: int, rows: list[_Row]) -> Int32[np.ndarray, "N V"]:
    edge = np.full((nodes + 1, lexicon.tokenizer.vocab_size), len(rows), dtype=np.int32)
    for number, (source, symbol, _, _) in enumerate(rows):
        ids = _words(lexicon, symbol)
        if (edge[source, ids] < len(rows)).any():
            raise ValueError(f"{lexicon.name}: {symbol} meets a word that may also stand there by itself")
        edge[source, ids] = number
    return edge


def _unigram(
    lexicon: Lexicon, weights: Float64[np.ndarray, "W E"], targets: list[int], rows: list[_Row]
) -> Float64[np.ndarray, " V"]:
    """How often each token is met in an endless row of sentences, a tenth of it spread over all tokens alike."""
    chain = CHAIN.copy()
    chain[Kind.END] = CHAIN[START]  # the next story begins
    often = np.full(len(chain), 1 / len(chain))
    for _ in range(200):
        often = np.concatenate([often @ chain, [0.0, 0.0]])
        often /= often.sum()
    visits = np.zeros((len(weights), targets[-1]))
    visits[1::2, 0] = often  # somebody has acted, as is true of nearly all sentences
    visits[variant(START, False), 0] = often[Kind.END]
    counts = np.zeros(lexicon.tokenizer.vocab_size)
    for number, (source, symbol, child, _) in enumerate(rows):  # breadth first: a node is complete before its edges
        flow = visits[:, source] * weights[:, number]
        if child.edges:
            visits[:, targets[number]] += flow
        counts[_words(lexicon, symbol)] += flow.sum() * _frequencies(lexicon, symbol)
    unigram: Float64[np.ndarray, " V"] = 0.9 * counts / counts.sum() + 0.1 / len(counts)
    return unigram


def _frequencies(lexicon: Lexicon, symbol: Symbol) -> Float64[np.ndarray, " N"]:
    """How often each of `_words` fills an edge, whatever the brief."""
    size = len(_words(lexicon, symbol))
    match symbol.slot:
        case Slot.PRONOUN:
            genders = ["mf".index(gender) for _, gender in lexicon.people]
            return np.bincount(genders, lexicon.frequencies(len(genders)), size)
        case Slot.FORM_AFTER | Slot.FORM_BEFORE:
            forms = [number for _, number in lexicon.objects]
            return np.bincount(forms, lexicon.frequencies(len(forms)), size)
        case Slot.LITERAL | Slot.COLOUR:
            return np.full(size, 1 / size)
        case _:
            return lexicon.frequencies(size)


BEFORE = (*Kind, START, UNPARSED)
"""What may stand before a sentence, in the order of the rows of `CHAIN`."""
