"""A text view of a story's truth: what each sentence says, what it contradicts and since when, and what it is worth.

Every finding is exact: the grammar says what was parsed, the possible worlds what contradicts and what is new, and the
totals are those of `Truth`.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float64, Int64

from textgym.types import TokenIds
from textgym.worlds.story.brief import Brief
from textgym.worlds.story.culprits import Culprits
from textgym.worlds.story.events import UNPARSED, Kind
from textgym.worlds.story.explanation import (
    Belief,
    Change,
    Explanation,
    Fault,
    FaultKind,
    Sentence,
    Statement,
    Token,
    Totals,
)
from textgym.worlds.story.parse import Parse, Parsed, parse
from textgym.worlds.story.situation import BRIEF, About, Situation, State
from textgym.worlds.story.wording import Wording, wording
from textgym.worlds.story.words import read_brief, read_story
from textgym.worlds.story.world import StoryWorld
from textgym.worlds.story.worlds import PossibleWorlds

_ROW = np.zeros(1, dtype=np.int64)
_DESCRIBING = (Kind.IS_IN, Kind.COLOUR, Kind.OBJECT_AT, Kind.HAS, Kind.MEET)


def explain(
    world: StoryWorld, brief: str | TokenIds | Sequence[int] | Brief, story: str | TokenIds | Sequence[int]
) -> Explanation:
    """What a story says, sentence by sentence, and how true it is.

    Args:
        world: the story world.
        brief: what the story is about.
        story: text, or ids with or without <eos>. An empty one is explained as empty.

    Raises:
        TaskError: the brief is none, or something stands after <eos>; the message says which word is wrong.
        TokenizerError: ids outside the vocabulary.
    """
    known = read_brief(world, brief)
    ids, words = read_story(world, story)
    parsed = parse(world, known, ids)
    books = _Books(world, known, parsed)
    truth = world.read([known], [ids])
    axes = {name: float(getattr(truth, name)(_ROW)[0]) for name in Totals.__dataclass_fields__}
    facts = dict(zip(books.facts, books.beliefs[-1].tolist(), strict=True))
    ended = len(ids) > 0 and ids[-1] == world.lexicon.tokenizer.eos_id
    end = Token(words[-1], float(parsed.logprobs[-1])) if ended else None
    sentences = tuple(
        books.sentence(number, _tokens(words, parsed.logprobs, one)) for number, one in enumerate(parsed.sentences)
    )
    brief_text = world.lexicon.tokenizer.decode(world.briefs.encode(known))
    return Explanation(world.name, brief_text, facts, sentences, end, Totals(**axes))


def _tokens(words: Sequence[str], logprobs: Float64[np.ndarray, " T"], of: Parsed) -> tuple[Token, ...]:
    places = range(of.start, of.start + len(of.ids))
    return tuple(Token(words[i], float(logprobs[i])) for i in places)


class _Books:
    """Goes through the claims of a story once, and keeps what each of them did."""

    def __init__(self, world: StoryWorld, brief: Brief, parsed: Parse) -> None:
        self._world, self._brief, self._sentences = world, brief, parsed.sentences
        self._words: Wording = wording(world.lexicon, brief)
        self.facts = self._told(brief)
        self._claims = [claim for one in parsed.sentences for claim in one.events]
        self._owner = [number for number, one in enumerate(parsed.sentences) for _ in one.events]
        worlds = PossibleWorlds(world.shape, len(world.lexicon.colours), 1)
        worlds.begin(_ROW, [brief])
        situation = Situation(brief)
        self.beliefs: list[Float64[np.ndarray, " F"]] = [worlds.beliefs(_ROW)[0]]
        """(S + 1) times (F,): a reader's before the first sentence, and after each."""
        self._flags: list[tuple[bool, bool, bool, bool]] = []
        self._obstacles: list[list[State]] = []
        self._moved: list[list[tuple[State, State]]] = []
        for number, one in enumerate(parsed.sentences, start=1):
            for event in one.events:
                self._obstacles.append(situation.obstacles(event))
                verdict = worlds.apply(_ROW, np.array([event], dtype=np.int64))
                flags = (verdict.contradicts, verdict.unfaithful, verdict.informs, verdict.changes)
                self._flags.append(tuple(bool(flag[0]) for flag in flags))  # type: ignore[arg-type]
                self._moved.append(situation.happen(event, number))
            self.beliefs.append(worlds.beliefs(_ROW)[0])
        self._culprits = self._due()

    def _told(self, brief: Brief) -> list[str]:
        """The facts of a brief in the order of beliefs."""
        parts = ((About.PERSON, brief.at), (About.OBJECT, brief.where), (About.COLOUR, brief.colours))
        return [self._words.fact(about, n, value) for about, row in parts for n, value in enumerate(row.tolist())]

    def _due(self) -> dict[int, tuple[int, ...]]:
        contradicting = [claim for claim, flags in enumerate(self._flags) if flags[0]]
        if not contradicting:
            return {}
        events: Int64[np.ndarray, "E 6"] = np.array(self._claims, dtype=np.int64)
        idle: Bool[np.ndarray, " E"] = np.array(
            [
                event[0] in _DESCRIBING and not (contradicts or informs)
                for event, (contradicts, _, informs, _) in zip(self._claims, self._flags, strict=True)
            ]
        )
        colours = len(self._world.lexicon.colours)
        return Culprits(self._brief, self._world.shape, colours, events, idle).of(contradicting)

    def sentence(self, number: int, tokens: tuple[Token, ...]) -> Sentence:
        """All that is known of a sentence, numbered from 0."""
        one = self._sentences[number]
        claims = [claim for claim, owner in enumerate(self._owner) if owner == number]
        flags = [self._flags[claim] for claim in claims]
        faults = [fault for claim in claims for fault in self._faults(claim, one)]
        redundant = bool(claims) and not any(informs or changes for _, _, informs, changes in flags)
        if redundant and not faults:
            faults.append(Fault(FaultKind.REDUNDANT, self._words.redundant(), one.anchor(one.events[-1])))
        if one.broken is not None:
            faults.append(self._broken(one, one.broken, tokens))
        kind = "unparsed" if one.kind == UNPARSED else "unfinished" if one.kind < 0 else Kind(one.kind).name.lower()
        return Sentence(
            number=number + 1,
            tokens=tokens,
            kind=kind,
            statements=tuple(self._statement(claim, one, tokens) for claim in claims),
            faults=tuple(faults),
            beliefs=self._learned(number),
            changes=tuple(
                Change(self._words.name(before), self._words.value(before), self._words.value(after))
                for claim in claims
                if self._flags[claim][3]
                for before, after in self._moved[claim]
            ),
            redundant=redundant,
        )

    def _statement(self, claim: int, one: Parsed, tokens: tuple[Token, ...]) -> Statement:
        event, words = self._claims[claim], self._words
        kind, who, whom, what, where, colour = event
        pronoun = None if who < 0 or one.pronoun is None else tokens[one.pronoun].text.strip()

        def named(names: Sequence[str], number: int) -> str | None:
            return names[number] if number >= 0 else None

        return Statement(
            Kind(kind).name.lower(),
            words.phrase(event),
            named(words.people, who),
            named(words.people, whom),
            named(words.objects, what),
            named(words.places, where),
            named(words.colours, colour),
            pronoun,
            one.anchor(event),
            *self._flags[claim],
        )

    def _faults(self, claim: int, one: Parsed) -> list[Fault]:
        event, (contradicts, unfaithful, _, _) = self._claims[claim], self._flags[claim]
        faults = []
        if contradicts:
            due = [(self._owner[other] + 1, self._claims[other]) for other in self._culprits[claim]]
            text = self._words.contradiction(event, due, self._owner[claim] + 1)
            numbers = tuple(sorted({number for number, _ in due}))
            faults.append(Fault(FaultKind.CONTRADICTION, text, one.anchor(event), numbers))
        if unfaithful:
            states = self._obstacles[claim]
            numbers = tuple(sorted({state.since for state in states} - {BRIEF}))
            facts = tuple(self._words.fact(s.about, s.number, s.value) for s in states if s.since == BRIEF)
            text = self._words.unfaithful(event, states)
            faults.append(Fault(FaultKind.UNFAITHFUL, text, one.anchor(event), numbers, facts))
        return faults

    def _broken(self, one: Parsed, kind: FaultKind, tokens: tuple[Token, ...]) -> Fault:
        words, at = self._words, one.broken_at
        word = tokens[at].text.strip()
        text = {
            FaultKind.UNKNOWN_WORD: words.unknown_word(word),
            FaultKind.NOT_IN_BRIEF: words.not_in_brief(word),
            FaultKind.NO_SENTENCE: words.nobody(word) if one.pronoun == at else words.no_sentence(word),
            FaultKind.UNFINISHED: words.unfinished(),
            FaultKind.AFTER_END: words.after_end(),
        }[kind]
        return Fault(kind, text, at)

    def _learned(self, number: int) -> tuple[Belief, ...]:
        pairs = zip(self.facts, self.beliefs[number].tolist(), self.beliefs[number + 1].tolist(), strict=True)
        return tuple(Belief(fact, before, after) for fact, before, after in pairs if abs(after - before) > 1e-12)
