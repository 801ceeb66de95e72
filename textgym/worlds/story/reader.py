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
from jaxtyping import Bool, Float64, Int64

from textgym.worlds.story.brief import Brief, Shape
from textgym.worlds.story.events import START, UNPARSED, Kind
from textgym.worlds.story.grammar import REGISTERS, Grammar, Register, Slot
from textgym.worlds.story.lexicon import Lexicon

NOISE = 0.05
"""e, the share of the noise branch."""

NOBODY = -1
DEAD = -1

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
    """What the ids of a lexicon mean in one brief, and what the slots of its sentences then are worth.

    Attributes:
        index: (V,) number of a person, place or object within the brief; number of a colour or form in the lexicon;
            -1 for a word that the brief does not know.
        gender: (P + 1,) of each person: 0 or 1; the last entry, -1, is nobody's.
        form: (O + 1,) the form that agrees with each object; the last entry, -1, is nothing's.
        agreeing: (forms,) how many objects of the brief agree with each form.
    """

    index: Int64[np.ndarray, " V"]
    gender: Int64[np.ndarray, " P1"]
    form: Int64[np.ndarray, " O1"]
    agreeing: Int64[np.ndarray, " F"]


class Casting:
    """Makes a `Cast` of a brief.

    Args:
        lexicon: the words.
    """

    def __init__(self, lexicon: Lexicon) -> None:
        self._lexicon = lexicon
        self._people = lexicon.ids([name for name, _ in lexicon.people])
        self._places = lexicon.ids(lexicon.places)
        self._objects = lexicon.ids([noun for noun, _ in lexicon.objects])
        self._gender = np.array(["mf".index(gender) for _, gender in lexicon.people])
        self._form = np.array([number for _, number in lexicon.objects])
        self._common = np.full(lexicon.tokenizer.vocab_size, -1, dtype=np.int64)
        self._common[lexicon.ids(lexicon.colours)] = np.arange(len(lexicon.colours))
        for words in (lexicon.pronouns, *lexicon.forms.values()):
            self._common[lexicon.ids(list(words))] = np.arange(len(words))

    def cast(self, brief: Brief) -> Cast:
        """The cast of a brief."""
        index = self._common.copy()
        for ids, numbers in (
            (self._people, brief.people),
            (self._places, brief.places),
            (self._objects, brief.objects),
        ):
            index[ids[numbers]] = np.arange(len(numbers))
        form = self._form[brief.objects]
        return Cast(
            index,
            np.append(self._gender[brief.people], -1),
            np.append(form, -1),
            np.bincount(form, minlength=int(self._form.max()) + 1),
        )


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
        self._stop, self._eos = lexicon.id_of(lexicon.stop), lexicon.tokenizer.eos_id
        self._forms = 1 + max(number for _, number in lexicon.objects)
        self._colours = len(lexicon.colours)
        self._index = np.full((rows, lexicon.tokenizer.vocab_size), -1, dtype=np.int64)
        self._gender = np.full((rows, shape.people + 1), -1, dtype=np.int64)
        self._form = np.full((rows, shape.objects + 1), -1, dtype=np.int64)
        self._agreeing = np.zeros((rows, self._forms + 1), dtype=np.int64)
        self._node, self._before = np.zeros(rows, dtype=np.int64), np.full(rows, START, dtype=np.int64)
        self._actor = np.full(rows, NOBODY, dtype=np.int64)
        self._registers = np.full((rows, REGISTERS), -1, dtype=np.int64)
        self._ratio = np.full(rows, (1 - NOISE) / NOISE)
        self.pending = np.zeros(rows, dtype=np.int64)
        """(B,) tokens of the sentence that has not ended yet."""

    @property
    def lost(self) -> Bool[np.ndarray, " B"]:
        """Where what is pending can no longer become a sentence, (B,)."""
        lost: Bool[np.ndarray, " B"] = self._node == DEAD
        return lost

    def begin(self, rows: Rows, casts: Sequence[Cast]) -> None:
        """Empties the stories in these rows; each has the cast of its own brief."""
        self._node[rows], self._before[rows], self._actor[rows] = 0, START, NOBODY
        self._registers[rows], self._ratio[rows], self.pending[rows] = -1, (1 - NOISE) / NOISE, 0
        for row, cast in zip(rows.tolist(), casts, strict=True):
            self._index[row], self._gender[row], self._form[row] = cast.index, cast.gender, cast.form
            self._agreeing[row, :-1] = cast.agreeing  # its last column, for no form, stays 0

    def advance(
        self, rows: Rows, tokens: Int64[np.ndarray, " N"]
    ) -> tuple[Float64[np.ndarray, " N"], Sentences | None]:
        """Adds one token in each of these rows.

        Returns:
            log P(token | prefix) in nats, (N,), and the sentences that it ended.
        """
        grammar = self._grammar
        edges, likely = self._edges(rows, tokens)
        noise = grammar.unigram[tokens]
        ratio = self._ratio[rows]
        logp = np.log((ratio * likely + noise) / (ratio + 1))
        self._ratio[rows] = ratio * likely / noise
        alive = likely > 0
        self._registers[rows, grammar.register[edges]] = self._said(rows, edges, tokens)
        self._node[rows] = np.where(alive, grammar.target[edges], DEAD)
        over = tokens == self._eos
        self.pending[rows] += ~over
        ended = np.flatnonzero((tokens == self._stop) | (over & (self.pending[rows] > 0)))
        if not len(ended):
            return logp, None
        whole = alive[ended] & ~over[ended]
        return logp, self._close(rows[ended], np.where(whole, grammar.ends[edges[ended]], -1))

    def next_probabilities(self, rows: Rows) -> Float64[np.ndarray, "N V"]:
        """P(. | prefix) over the whole vocabulary, (N, V): what `advance` says of each token there is."""
        size = self._index.shape[1]
        every, tokens = np.repeat(rows, size), np.tile(np.arange(size), len(rows))
        _, likely = self._edges(every, tokens)
        ratio = self._ratio[every]
        p: Float64[np.ndarray, " NV"] = (ratio * likely + self._grammar.unigram[tokens]) / (ratio + 1)
        return p.reshape(len(rows), size)

    def _edges(
        self, rows: Rows, tokens: Int64[np.ndarray, " N"]
    ) -> tuple[Int64[np.ndarray, " N"], Float64[np.ndarray, " N"]]:
        """The edge that each token takes (any, where it takes none), and g, its probability in the grammar."""
        grammar, node = self._grammar, self._node[rows]
        edges = np.where(node == DEAD, -1, grammar.edge[node, tokens]).astype(np.int64)
        variants = 2 * self._before[rows] + (self._actor[rows] != NOBODY)
        likely = grammar.weights[variants, edges] * self._shares(rows, grammar.slot[edges], tokens)
        return edges, np.where(edges < 0, 0.0, likely)

    def _shares(self, rows: Rows, slots: np.ndarray, tokens: Int64[np.ndarray, " N"]) -> Float64[np.ndarray, " N"]:
        """The probability of a token among those that may fill its slot, (N,)."""
        shape, grammar = self._shape, self._grammar
        index, registers = self._index[rows, tokens], self._registers[rows]
        known = (index >= 0).astype(np.float64)
        obj, form = registers[:, Register.OBJECT], registers[:, Register.FORM]
        thing, number = np.minimum(index, shape.objects), np.minimum(index, self._forms)
        shares = np.ones(len(rows))
        for slot, share in (
            (Slot.PERSON, known / shape.people),
            (Slot.OTHER, (known * (index != registers[:, Register.SUBJECT])) / max(shape.people - 1, 1)),
            (Slot.PRONOUN, index == self._gender[rows, self._actor[rows]]),
            (Slot.PLACE, known / shape.places),
            (Slot.OBJECT, known / shape.objects),
            (Slot.COLOUR, known / self._colours),
            (Slot.OPEN, grammar.share[tokens]),
            (Slot.FORM_AFTER, index == self._form[rows, obj]),
            (Slot.FORM_BEFORE, self._agreeing[rows, number] / shape.objects),
            (Slot.AGREEING, known * (self._form[rows, thing] == form) / np.maximum(self._agreeing[rows, form], 1)),
        ):
            shares = np.where(slots == slot, share, shares)
        return shares

    def _said(self, rows: Rows, edges: Int64[np.ndarray, " N"], tokens: Int64[np.ndarray, " N"]) -> np.ndarray:
        """What goes into the register of an edge."""
        pronoun = self._grammar.slot[edges] == Slot.PRONOUN
        said: np.ndarray = np.where(pronoun, self._actor[rows], self._index[rows, tokens])
        return said

    def _close(self, rows: Rows, leaves: Int64[np.ndarray, " N"]) -> Sentences:
        """Ends the sentences in these rows; a leaf of -1 is no sentence."""
        grammar, registers = self._grammar, self._registers[rows]
        kinds = np.where(leaves < 0, UNPARSED, grammar.kinds[leaves])
        events = grammar.events[leaves].copy()
        said = np.take_along_axis(registers[:, None, :], events[:, :, 1:], axis=2)
        events[:, :, 1:] = np.where(events[:, :, 1:] == Register.NONE, -1, said)
        events[leaves < 0] = -1
        sentences = Sentences(rows, kinds, events, self.pending[rows].copy())
        acted = registers[:, Register.SUBJECT]
        self._actor[rows] = np.where((leaves >= 0) & (acted != NOBODY), acted, self._actor[rows])
        self._before[rows] = np.where(self._before[rows] == Kind.END, Kind.END, kinds)
        self._node[rows], self._ratio[rows], self.pending[rows] = 0, (1 - NOISE) / NOISE, 0
        self._registers[rows] = -1
        return sentences
