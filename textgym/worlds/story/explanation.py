"""What `explain` finds: a story, sentence by sentence, as data that can be written as JSON. Numbers count from 1."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any


class FaultKind(str, Enum):
    """What can be wrong with a sentence."""

    CONTRADICTION = "contradiction"
    """It cannot be true together with earlier sentences."""
    UNFAITHFUL = "unfaithful"
    """It cannot be true, the world being what the brief says."""
    REDUNDANT = "redundant"
    """A reader knew it, and nothing changes."""
    UNKNOWN_WORD = "unknown word"
    """It is no sentence, for a word that the world does not know."""
    NOT_IN_BRIEF = "not in the brief"
    """It is no sentence, for a person, place or object of another brief."""
    NO_SENTENCE = "no sentence"
    """It is none, for a word that cannot stand there."""
    UNFINISHED = "unfinished"
    """It breaks off."""
    AFTER_END = "after the end"
    """The story was over."""


@dataclass(frozen=True)
class Token:
    """One token of a story.

    Attributes:
        text: as it was written, with the blank before it.
        logprob: log P(token | brief, story so far), in nats, under the grammar with its noise.
    """

    text: str
    logprob: float


@dataclass(frozen=True)
class Statement:
    """One claim of a sentence, pronouns resolved.

    Attributes:
        kind: type of the claim, e.g. "is_in".
        text: the claim in plain words.
        who: the person it is about.
        whom: the other person.
        what: the object.
        where: the place.
        colour: the colour.
        pronoun: what the sentence calls `who`; None for the name.
        token: which token of the sentence it hangs on, from 0.
        contradicts: the story so far.
        unfaithful: to the brief.
        informs: a reader now believes in other worlds.
        changes: the brief's world is another.
    """

    kind: str
    text: str
    who: str | None
    whom: str | None
    what: str | None
    where: str | None
    colour: str | None
    pronoun: str | None
    token: int
    contradicts: bool
    unfaithful: bool
    informs: bool
    changes: bool


@dataclass(frozen=True)
class Fault:
    """What is wrong, where, why, and since when.

    Attributes:
        kind: one of few.
        text: a sentence for a person.
        token: which token of the sentence, from 0.
        culprits: numbers of the earlier sentences (its own, where it contradicts itself) that it is due to.
        brief: facts of the brief that it is due to.
    """

    kind: FaultKind
    text: str
    token: int
    culprits: tuple[int, ...] = ()
    brief: tuple[str, ...] = ()


@dataclass(frozen=True)
class Belief:
    """What a sentence did to a reader's belief in a fact of the brief.

    Attributes:
        fact: the fact.
        before: its probability before the sentence.
        after: and after it.
    """

    fact: str
    before: float
    after: float


@dataclass(frozen=True)
class Change:
    """What became another in the brief's world.

    Attributes:
        what: a person or an object.
        before: the place, or who held it.
        after: the place, or who holds it.
    """

    what: str
    before: str
    after: str


@dataclass(frozen=True)
class Sentence:
    """One sentence, or a run of tokens that is none.

    Attributes:
        number: from 1.
        tokens: with its full stop.
        kind: its type, e.g. "go", or "unparsed", or "unfinished" for what may still become a sentence.
        statements: what it claims, its own claim last.
        faults: what is wrong with it.
        beliefs: the facts that became more or less likely to a reader.
        changes: what became another.
        redundant: it says something, and neither a reader's beliefs nor the world changed.
    """

    number: int
    tokens: tuple[Token, ...]
    kind: str
    statements: tuple[Statement, ...] = ()
    faults: tuple[Fault, ...] = ()
    beliefs: tuple[Belief, ...] = ()
    changes: tuple[Change, ...] = ()
    redundant: bool = False

    @property
    def text(self) -> str:
        """As it was written."""
        return "".join(token.text for token in self.tokens)

    @property
    def fluency(self) -> float:
        """Mean log P of its tokens, in nats."""
        return sum(token.logprob for token in self.tokens) / len(self.tokens)


@dataclass(frozen=True)
class Totals:
    """The axes of the whole story, as `Truth` has them: rates among the sentences that say something, or try to.

    Attributes:
        contradictions: share that contradict the story so far, [0, 1].
        unfaithfulness: share that cannot be true under the brief, [0, 1].
        unparsed: share that are no sentences, [0, 1].
        redundancy: share that are redundant, [0, 1].
        accuracy: what a reader knows of the brief's facts: 0 nothing, 1 all, below 0 lies.
        bits: log2 of all worlds over those that a reader still believes in.
        changes: how often the world changed.
        fluency: mean log P of a token, in nats.
        quality: gold quality, [0, 1].
    """

    contradictions: float
    unfaithfulness: float
    unparsed: float
    redundancy: float
    accuracy: float
    bits: float
    changes: float
    fluency: float
    quality: float


@dataclass(frozen=True)
class Explanation:
    """A story's truth.

    Attributes:
        world: name of the world, e.g. "en-small".
        brief: as text.
        facts: what the brief says, in sentences; a reader's final belief in each.
        sentences: of the story; none for an empty one.
        end: the token that ended the text, None for a text that was not ended.
        totals: the axes.
    """

    world: str
    brief: str
    facts: Mapping[str, float]
    sentences: tuple[Sentence, ...]
    end: Token | None
    totals: Totals

    @property
    def language(self) -> str:
        """Of the story: "en" or "zh"."""
        return self.world.split("-")[0]

    @property
    def story(self) -> str:
        """The story as text, without what ended it."""
        return "".join(sentence.text for sentence in self.sentences)

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        plain: dict[str, Any] = asdict(self)
        for sentence in plain["sentences"]:
            for fault in sentence["faults"]:
                fault["kind"] = fault["kind"].value
        return plain
