"""The truth of stories: every axis of gold, exact, for B stories that grow token by token.

Rates are among the sentences that say something: not fillers and not "the end", which nobody could contradict. A run
of tokens that is no sentence counts as one for every `WORDS_A_SENTENCE` tokens, at least as one, so that nothing is
gained by leaving out full stops; and at once, as soon as no sentence can come of it any more. What comes after the end
is no sentence.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from textgym.worlds.story.brief import Brief, BriefFormat
from textgym.worlds.story.events import TYPES, UNPARSED, Kind
from textgym.worlds.story.grammar import Grammar
from textgym.worlds.story.lexicon import WORDS_A_SENTENCE, Lexicon
from textgym.worlds.story.reader import Reader, Sentences
from textgym.worlds.story.worlds import PossibleWorlds, Verdict, priors

ENOUGH_CHANGES = 4
"""How many new situations there have to be for a story to be one."""

Rows = Int64[np.ndarray, " N"]
Values = Float64[np.ndarray, " N"]


@dataclass(frozen=True)
class Judged:
    """Sentences that just ended, with what they did; an event at a time, the last the sentence's own.

    Attributes:
        sentences: what was said.
        verdicts: of each event, in rows as those of the sentences.
    """

    sentences: Sentences
    verdicts: Sequence[Verdict]

    @property
    def whole(self) -> Verdict:
        """Of each sentence: what any of its events did."""
        whole = self.verdicts[0]
        for verdict in self.verdicts[1:]:
            whole = Verdict(
                whole.contradicts | verdict.contradicts,
                whole.unfaithful | verdict.unfaithful,
                whole.informs | verdict.informs,
                whole.changes | verdict.changes,
            )
        return whole


class Truth:
    """The books of B stories.

    Args:
        lexicon: the words.
        grammar: compiled from it.
        form: of the briefs.
        rows: B.
    """

    def __init__(self, lexicon: Lexicon, grammar: Grammar, form: BriefFormat, rows: int) -> None:
        shape = form.shape
        self._reader = Reader(grammar, lexicon, shape, rows)
        self._worlds = PossibleWorlds(shape, len(lexicon.colours), rows)
        self._priors = priors(shape, len(lexicon.colours))
        self._logp, self._tokens = np.zeros(rows), np.zeros(rows, dtype=np.int64)
        self._unparsed, self._said = np.zeros(rows), np.zeros(rows)
        self._contradictory, self._unfaithful = np.zeros(rows), np.zeros(rows)
        self._redundant, self._changes = np.zeros(rows), np.zeros(rows)
        self._been: list[set[int]] = [set() for _ in range(rows)]
        self._new = np.zeros(rows)
        self._over = np.zeros(rows, dtype=bool)
        self._accuracy, self._bits = np.zeros(rows), np.zeros(rows)
        self._types = np.zeros((rows, TYPES + 1))

    def begin(self, rows: Rows, briefs: Sequence[Brief]) -> None:
        """Empties the stories in these rows, each under its brief."""
        self._reader.begin(rows, briefs)
        self._worlds.begin(rows, briefs)
        self._tokens[rows], self._over[rows], self._types[rows] = 0, False, 0
        for column in (self._logp, self._unparsed, self._said, self._contradictory, self._unfaithful):
            column[rows] = 0
        for column in (self._redundant, self._changes, self._new, self._accuracy, self._bits):
            column[rows] = 0
        for row, situation in zip(rows.tolist(), self._worlds.situations(rows).tolist(), strict=True):
            self._been[row] = {situation}

    def advance(self, rows: Rows, tokens: Int64[np.ndarray, " N"]) -> tuple[Values, Judged | None]:
        """Adds one token in each of these rows: its log P in nats, (N,), and the sentences that it ended, judged."""
        logp, ended = self._reader.advance(rows, tokens)
        self._logp[rows] += logp
        self._tokens[rows] += 1
        return logp, None if ended is None else self._judge(ended)

    def next_probabilities(self, rows: Rows) -> Float64[np.ndarray, "N V"]:
        """P(. | brief, story so far) under the grammar with its noise, (N, V)."""
        return self._reader.next_probabilities(rows)

    def _judge(self, ended: Sentences) -> Judged:
        late = self._over[ended.rows] & (ended.kinds != UNPARSED)
        if late.any():  # the grammar knows no sentence after the end
            raise AssertionError("a sentence was read after the end")
        rows = ended.rows
        lost = ended.kinds == UNPARSED
        self._unparsed[rows] += lost * np.maximum(1.0, ended.tokens / WORDS_A_SENTENCE)
        self._types[rows, np.where(lost, TYPES, ended.kinds)] += 1
        self._over[rows] |= ended.kinds == Kind.END
        verdicts = [self._apply(rows, ended.events[:, i]) for i in range(ended.events.shape[1])]
        judged = Judged(ended, verdicts)
        says = ~lost & (ended.kinds != Kind.FILLER) & (ended.kinds != Kind.END)
        whole = judged.whole
        self._said[rows] += says
        self._contradictory[rows] += whole.contradicts
        self._unfaithful[rows] += whole.unfaithful
        self._redundant[rows] += says & ~whole.informs & ~whole.changes
        self._changes[rows] += sum((verdict.changes.astype(np.float64) for verdict in verdicts), np.zeros(len(rows)))
        told = rows[says]
        if len(told):
            beliefs = self._worlds.beliefs(told)
            self._accuracy[told] = ((beliefs - self._priors) / (1 - self._priors)).mean(1)
            self._bits[told] = self._worlds.bits(told)
        return judged

    def _apply(self, rows: Rows, events: Int64[np.ndarray, "N 6"]) -> Verdict:
        there = np.flatnonzero(events[:, 0] >= 0)
        part = self._worlds.apply(rows[there], events[there])
        columns = []
        for flags in (part.contradicts, part.unfaithful, part.informs, part.changes):
            column = np.zeros(len(rows), dtype=bool)
            column[there] = flags
            columns.append(column)
        self._move(rows[there], part.changes)
        return Verdict(*columns)

    def _move(self, rows: Rows, changes: Bool[np.ndarray, " N"]) -> None:
        """Notes the situations that these rows are in now, and whether an event that could happen led to a new one."""
        situations = self._worlds.situations(rows).tolist()
        for row, situation, changed in zip(rows.tolist(), situations, changes.tolist(), strict=True):
            self._new[row] += changed and situation not in self._been[row]
            self._been[row].add(situation)

    # Axes: each (N,), of the texts as they stand ---------------------------------------------------------------------

    def fluency(self, rows: Rows) -> Values:
        """Mean log P of a token in nats, EOS included; 0 for an empty text."""
        mean: Values = self._logp[rows] / np.maximum(self._tokens[rows], 1)
        return mean

    def _rate(self, count: Values, rows: Rows) -> Values:
        lost = self._lost(rows)
        rate: Values = count / np.maximum(self._said[rows] + lost, 1)
        return rate

    def _lost(self, rows: Rows) -> Values:
        """How many sentences were none, those included that can no longer become one."""
        pending = self._reader.pending[rows]
        going = self._reader.lost[rows] & (pending > 0)
        lost: Values = self._unparsed[rows] + going * np.maximum(1.0, pending / WORDS_A_SENTENCE)
        return lost

    def unparsed(self, rows: Rows) -> Values:
        """u, the share of sentences that are none."""
        return self._rate(self._lost(rows), rows)

    def contradictions(self, rows: Rows) -> Values:
        """c, the share of sentences that contradict the story so far."""
        return self._rate(self._contradictory[rows], rows)

    def unfaithfulness(self, rows: Rows) -> Values:
        """The share of sentences that cannot be true, the brief's world being what it is."""
        return self._rate(self._unfaithful[rows], rows)

    def redundancy(self, rows: Rows) -> Values:
        """d, the share of sentences that change neither the world nor what a reader believes."""
        return self._rate(self._redundant[rows], rows)

    def accuracy(self, rows: Rows) -> Values:
        """A, the mean over facts of (p_true - prior) / (1 - prior): 0 for silence, 1 for all told, below 0 for lies."""
        accuracy: Values = self._accuracy[rows]
        return accuracy

    def bits(self, rows: Rows) -> Values:
        """log2 of all worlds over those that a reader still believes in."""
        bits: Values = self._bits[rows]
        return bits

    def changes(self, rows: Rows) -> Values:
        """How often the brief's world became another by an event that could happen in it."""
        changes: Values = self._changes[rows]
        return changes

    def situations(self, rows: Rows) -> Values:
        """How many new situations the brief's world came into; to go back to one is a change, and not new."""
        situations: Values = self._new[rows]
        return situations

    def quality(self, rows: Rows) -> Values:
        """G = max(A, 0) (1 - u) (1 - c) (1 - d) min(1, new situations / 4)."""
        faults = (1 - self.unparsed(rows)) * (1 - self.contradictions(rows)) * (1 - self.redundancy(rows))
        happened = np.minimum(1.0, self._new[rows] / ENOUGH_CHANGES)
        quality: Values = np.maximum(self._accuracy[rows], 0) * faults * happened
        return quality

    def types(self, rows: Rows) -> Float64[np.ndarray, "N K"]:
        """How often each type of sentence occurs, the last column those that are none."""
        types: Float64[np.ndarray, "N K"] = self._types[rows]
        return types
