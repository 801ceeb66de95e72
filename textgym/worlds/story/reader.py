"""A reader of stories that grow token by token: what each token is worth in fluency, and what each sentence says.

Every sentence is a mixture: (1 - e) G + e N, G the grammar's automaton, N words drawn by their frequency up to the full
stop. So every text has a probability, and that of the next token is

    P(w | prefix) = (r g(w) + n(w)) / (r + 1),   r = (1 - e) G(sentence so far) / (e N(sentence so far)),

with g and n the two next-token distributions: O(1) a token. The grammar does not look at the state of the world: who
is where is for coherence to say. A sentence that is none counts as type `UNPARSED` for the one after it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int16, Int32, Int64

from textgym.worlds.story.brief import Brief, Shape
from textgym.worlds.story.events import START, UNPARSED, Kind
from textgym.worlds.story.grammar import REGISTERS, Grammar, Register, Slot, variant
from textgym.worlds.story.lexicon import Lexicon

NOISE = 0.05
"""e, the share of the noise branch."""

NOBODY = -1

_JUDGED = (Slot.OTHER, Slot.PRONOUN, Slot.OPEN, Slot.FORM_AFTER, Slot.FORM_BEFORE, Slot.AGREEING)
"""Slots in which a word's probability depends on more than whether the brief knows it."""

Rows = Int64[np.ndarray, " N"]


@dataclass(frozen=True)
class Sentences:
    """The sentences that just ended in N rows.

    Attributes:
        rows: (N,) in which rows.
        kinds: (N,) type, `UNPARSED` for what is none.
        events: (N, M, 6) kind, subject, other person, object, place, colour; numbers within the brief (colours: of the
            lexicon), -1 where there is none.
        tokens: (N,) how many tokens the sentence has.
    """

    rows: Rows
    kinds: Int64[np.ndarray, " N"]
    events: Int64[np.ndarray, "N M 6"]
    tokens: Int64[np.ndarray, " N"]


@dataclass(frozen=True, eq=False)
class Cast:
    """What the ids of a lexicon mean in each of N briefs, and what the slots of their sentences then are worth.

    Attributes:
        index: (N, V) number of a person, place or object within the brief; number of a colour, pronoun or form in the
            lexicon; 0 for other words, -1 for one that the brief does not know.
        gender: (N, P + 1) of each person: 0 or 1; the last entry, -1, is nobody's.
        form: (N, O + 1) the form that agrees with each object; the last entry, -1, is nothing's.
        agreeing: (N, G + 1) how many objects of the brief agree with each form; with none, 0, at the end.
    """

    index: Int16[np.ndarray, "N V"]
    gender: Int16[np.ndarray, "N P1"]
    form: Int16[np.ndarray, "N O1"]
    agreeing: Int16[np.ndarray, "N G1"]


class Casting:
    """Makes the `Cast` of briefs.

    Args:
        lexicon: the words.
        shape: how much there is in a world.
    """

    def __init__(self, lexicon: Lexicon, shape: Shape) -> None:
        self._people = lexicon.ids([name for name, _ in lexicon.people])
        self._places = lexicon.ids(lexicon.places)
        self._objects = lexicon.ids([noun for noun, _ in lexicon.objects])
        self._gender = np.array(["mf".index(gender) for _, gender in lexicon.people], dtype=np.int16)
        self._form = np.array([number for _, number in lexicon.objects], dtype=np.int16)
        self.forms = 1 + int(self._form.max())
        """G, how many forms an object may have."""
        self._common = np.zeros(lexicon.tokenizer.vocab_size, dtype=np.int16)
        self.worth = np.ones(len(self._common))
        """(V,) probability of a name, place, noun or colour that the brief knows, where one is due; 1 of others."""
        for ids, count in (
            (self._people, shape.people),
            (self._places, shape.places),
            (self._objects, shape.objects),
        ):
            self._common[ids], self.worth[ids] = -1, 1 / count
        for words in (lexicon.colours, lexicon.pronouns, *lexicon.forms.values()):
            self._common[lexicon.ids(list(words))] = np.arange(len(words))
        self.worth[lexicon.ids(lexicon.colours)] = 1 / len(lexicon.colours)

    def cast(self, briefs: Sequence[Brief]) -> Cast:
        """The cast of each brief, N of them."""
        count = len(briefs)
        people = np.array([brief.people for brief in briefs])
        objects = np.array([brief.objects for brief in briefs])
        places = np.array([brief.places for brief in briefs])
        index = np.tile(self._common, (count, 1))
        rows = np.arange(count)[:, None]
        for ids, numbers in ((self._people, people), (self._places, places), (self._objects, objects)):
            index[rows, ids[numbers]] = np.arange(numbers.shape[1])
        form = self._form[objects]
        agreeing = (form[:, :, None] == np.arange(self.forms + 1)).sum(1, dtype=np.int16)
        none = np.full((count, 1), -1, dtype=np.int16)
        return Cast(index, np.hstack([self._gender[people], none]), np.hstack([form, none]), agreeing)


class Reader:
    """Where B texts stand in the automaton.

    Args:
        grammar: the compiled automaton.
        lexicon: its words.
        shape: how much there is in a world.
        rows: B.
    """

    def __init__(self, grammar: Grammar, lexicon: Lexicon, shape: Shape, rows: int) -> None:
        self._grammar, self._shape = grammar, shape
        self._casting = Casting(lexicon, shape)
        self._stop, self._eos = lexicon.id_of(lexicon.stop), lexicon.tokenizer.eos_id
        self._size, self._dead = grammar.edge.shape[1], grammar.edge.shape[0] - 1
        self._edge, self._weights = grammar.edge.ravel(), grammar.weights.ravel()
        self._judged = np.isin(grammar.slot, _JUDGED)
        self._writes = grammar.register != Register.NONE
        self._index = np.full((rows, self._size), -1, dtype=np.int16)
        self._gender = np.full((rows, shape.people + 1), -1, dtype=np.int16)
        self._form = np.full((rows, shape.objects + 1), -1, dtype=np.int16)
        self._agreeing = np.zeros((rows, self._casting.forms + 1), dtype=np.int16)
        self._node, self._variant = np.zeros(rows, dtype=np.int64), np.full(rows, variant(START, False))
        self._actor = np.full(rows, NOBODY, dtype=np.int64)
        self._registers = np.full((rows, REGISTERS), -1, dtype=np.int64)
        self._ratio = np.full(rows, (1 - NOISE) / NOISE)
        self.pending = np.zeros(rows, dtype=np.int64)
        """(B,) tokens of the sentence that has not ended yet."""

    @property
    def lost(self) -> Bool[np.ndarray, " B"]:
        """Where what is pending can no longer become a sentence, (B,)."""
        lost: Bool[np.ndarray, " B"] = self._node == self._dead
        return lost

    def begin(self, rows: Rows, briefs: Sequence[Brief]) -> None:
        """Empties the stories in these rows, each under its brief."""
        if not len(rows):
            return
        self._node[rows], self._variant[rows], self._actor[rows] = 0, variant(START, False), NOBODY
        self._registers[rows], self._ratio[rows], self.pending[rows] = -1, (1 - NOISE) / NOISE, 0
        cast = self._casting.cast(briefs)
        self._index[rows], self._gender[rows] = cast.index, cast.gender
        self._form[rows], self._agreeing[rows] = cast.form, cast.agreeing

    def advance(
        self, rows: Rows, tokens: Int64[np.ndarray, " N"]
    ) -> tuple[Float64[np.ndarray, " N"], Sentences | None]:
        """Adds one token in each of these rows.

        Returns:
            log P(token | prefix) in nats, (N,), and the sentences that it ended.
        """
        grammar = self._grammar
        edges, meant, likely = self._edges(rows, tokens)
        noise = grammar.unigram.take(tokens)
        ratio = self._ratio.take(rows)
        fitting = ratio * likely
        logp = np.log((fitting + noise) / (ratio + 1))
        self._ratio[rows] = fitting / noise
        self._node[rows] = np.where(likely > 0, grammar.target.take(edges), self._dead)
        writing = np.flatnonzero(self._writes.take(edges))
        if len(writing):
            self._write(rows[writing], edges[writing], meant[writing])
        over = tokens == self._eos
        pending = self.pending.take(rows) + ~over
        self.pending[rows] = pending
        ended = np.flatnonzero((tokens == self._stop) | (over & (pending > 0)))
        if not len(ended):
            return logp, None
        whole = (likely[ended] > 0) & ~over[ended]
        return logp, self._close(rows[ended], np.where(whole, grammar.ends[edges[ended]], -1))

    def next_probabilities(self, rows: Rows) -> Float64[np.ndarray, "N V"]:
        """P(. | prefix) over the whole vocabulary, (N, V): what `advance` says of each token there is."""
        every, tokens = np.repeat(rows, self._size), np.tile(np.arange(self._size), len(rows))
        *_, likely = self._edges(every, tokens)
        ratio = self._ratio[every]
        p: Float64[np.ndarray, " NV"] = (ratio * likely + self._grammar.unigram[tokens]) / (ratio + 1)
        return p.reshape(len(rows), self._size)

    def _edges(
        self, rows: Rows, tokens: Int64[np.ndarray, " N"]
    ) -> tuple[Int32[np.ndarray, " N"], Int16[np.ndarray, " N"], Float64[np.ndarray, " N"]]:
        """The edge that each token takes, its number within the brief, and g, its probability in the grammar."""
        grammar = self._grammar
        edges = self._edge.take(self._node.take(rows) * self._size + tokens)
        meant = self._index.ravel().take(rows * self._size + tokens)
        shares = self._casting.worth.take(tokens)
        shares *= meant >= 0
        judged = np.flatnonzero(self._judged.take(edges))
        if len(judged):
            shares[judged] = self._shares(rows[judged], edges[judged], tokens[judged], meant[judged])
        likely = self._weights.take(self._variant.take(rows) * len(grammar.target) + edges)
        likely *= shares
        return edges, meant, likely

    def _shares(
        self,
        rows: Rows,
        edges: Int32[np.ndarray, " N"],
        tokens: Int64[np.ndarray, " N"],
        meant: Int16[np.ndarray, " N"],
    ) -> Float64[np.ndarray, " N"]:
        """The probability of a token among those that may fill its slot, where that depends on more than the brief."""
        shape, grammar, slots = self._shape, self._grammar, self._grammar.slot[edges]
        subject, thing, form = self._registers[rows][:, (Register.SUBJECT, Register.OBJECT, Register.FORM)].T
        known, number = meant >= 0, np.maximum(meant, 0)
        agreeing = known & (self._form[rows, np.minimum(number, shape.objects)] == form)
        shares: Float64[np.ndarray, " N"] = np.select(
            [slots == slot for slot in _JUDGED],
            [
                (known & (meant != subject)) / max(shape.people - 1, 1),
                meant == self._gender[rows, self._actor[rows]],
                grammar.share[grammar.name[edges], tokens],
                meant == self._form[rows, thing],
                self._agreeing[rows, np.minimum(number, self._casting.forms)] / shape.objects,
                agreeing / np.maximum(self._agreeing[rows, form], 1),
            ],
        ).astype(np.float64)
        return shares

    def _write(self, rows: Rows, edges: Int32[np.ndarray, " N"], meant: Int16[np.ndarray, " N"]) -> None:
        """What a token says goes into the register of its edge; a pronoun means who acted last."""
        pronoun = self._grammar.slot[edges] == Slot.PRONOUN
        self._registers[rows, self._grammar.register[edges]] = np.where(pronoun, self._actor[rows], meant)

    def _close(self, rows: Rows, leaves: Int32[np.ndarray, " N"]) -> Sentences:
        """Ends the sentences in these rows; a leaf of -1 is no sentence."""
        grammar, registers = self._grammar, self._registers[rows]
        kinds = np.where(leaves < 0, UNPARSED, grammar.kinds[leaves])
        events = grammar.events[leaves]
        said = np.take_along_axis(registers[:, None, :], events[:, :, 1:], axis=2)
        events[:, :, 1:] = np.where(events[:, :, 1:] == Register.NONE, -1, said)
        events[leaves < 0] = -1
        sentences = Sentences(rows, kinds, events, self.pending[rows])
        subject = registers[:, Register.SUBJECT]
        actor = np.where((leaves >= 0) & (subject != NOBODY), subject, self._actor[rows])
        before = np.where(self._variant[rows] // 2 == Kind.END, Kind.END, kinds)
        self._actor[rows], self._variant[rows] = actor, 2 * before + (actor != NOBODY)
        self._node[rows], self._ratio[rows], self.pending[rows] = 0, (1 - NOISE) / NOISE, 0
        self._registers[rows] = -1
        return sentences
