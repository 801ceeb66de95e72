"""A story cut into sentences as the reader cuts it, with the place at which each run of tokens ceased to be one."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from textgym.types import TokenIds
from textgym.worlds.story.brief import Brief
from textgym.worlds.story.events import UNPARSED, Kind
from textgym.worlds.story.explanation import FaultKind
from textgym.worlds.story.reader import Reader, Sentences
from textgym.worlds.story.world import StoryWorld

OPEN = -1
"""In place of a type: what stands at the end of a text and may still become a sentence."""

STRANGER = -1
"""In place of a number: the brief names no such person, place or object."""

Event = tuple[int, int, int, int, int, int]
_ROW = np.zeros(1, dtype=np.int64)


@dataclass(frozen=True)
class Parsed:
    """One sentence, or a run that is none.

    Attributes:
        start: place of its first token in the story.
        ids: its tokens, <eos> apart.
        kind: its type, `UNPARSED` or `OPEN`.
        events: what it claims, its own claim last: kind, subject, other person, object, place, colour.
        roles: for each token what it names, "person", "place", "object", "colour", "pronoun" or nothing, and the
            number of it within the brief (of a colour: in the lexicon), `STRANGER` for none.
        pronoun: which token is a pronoun, None for none.
        broken: why it is no sentence, None if it is one.
        broken_at: at which token that shows.
    """

    start: int
    ids: tuple[int, ...]
    kind: int
    events: tuple[Event, ...]
    roles: tuple[tuple[str, int], ...]
    pronoun: int | None
    broken: FaultKind | None
    broken_at: int = 0

    def anchor(self, event: Event) -> int:
        """The token that a claim hangs on: the colour, place, object or other person, whichever says it."""
        kind, _, whom, what, place, colour = event
        role = {
            Kind.COLOUR: ("colour", colour),
            Kind.IS_IN: ("place", place),
            Kind.GO: ("place", place),
            Kind.OBJECT_AT: ("place", place),
            Kind.MEET: ("person", whom),
        }.get(Kind(kind), ("object", what))
        places = [place for place, named in enumerate(self.roles) if named == role]
        if kind == Kind.COLOUR:
            places = [place for place in places if self._colours_this(place, what)] or places
        # A relative clause, whose claim comes first, stands before the rest of its sentence.
        return places[-1] if event is self.events[-1] else places[0]

    def _colours_this(self, place: int, what: int) -> bool:
        """Whether a colour is said of an object: of the next one, or of the last one where none follows."""
        after = [number for role, number in self.roles[place:] if role == "object"]
        before = [number for role, number in self.roles[:place] if role == "object"]
        return (after[0] if after else before[-1]) == what


@dataclass(frozen=True)
class Parse:
    """A whole story.

    Attributes:
        logprobs: (T,) log P of each token, <eos> included, in nats.
        sentences: in their order.
    """

    logprobs: Float64[np.ndarray, " T"]
    sentences: tuple[Parsed, ...]


def parse(world: StoryWorld, brief: Brief, ids: TokenIds) -> Parse:
    """Reads a story token by token."""
    lexicon = world.lexicon
    reader = Reader(world.grammar, lexicon, world.shape, 1)
    reader.begin(_ROW, [brief])
    eos = lexicon.tokenizer.eos_id
    cutter = _Cutter(world, brief)
    logprobs = np.zeros(len(ids))
    for place, token in enumerate(ids.tolist()):
        logp, ended = reader.advance(_ROW, np.array([token], dtype=np.int64))
        logprobs[place] = logp[0]
        if token != eos:
            cutter.add(place, token, bool(reader.lost[0]))
        if ended is not None:
            cutter.close(ended)
    if reader.pending[0]:
        cutter.leave(bool(reader.lost[0]))
    return Parse(logprobs, tuple(cutter.sentences))


class _Cutter:
    """Collects the tokens of the sentence that is being read."""

    def __init__(self, world: StoryWorld, brief: Brief) -> None:
        self.sentences: list[Parsed] = []
        self._unknown = world.lexicon.tokenizer.unk_id
        lexicon = world.lexicon
        self._stop = lexicon.id_of(lexicon.stop)
        self._meant: dict[int, tuple[str, int]] = {}
        for role, ids, numbers in (
            ("person", lexicon.ids([name for name, _ in lexicon.people]), brief.people),
            ("place", lexicon.ids(lexicon.places), brief.places),
            ("object", lexicon.ids([noun for noun, _ in lexicon.objects]), brief.objects),
            ("colour", lexicon.ids(lexicon.colours), np.arange(len(lexicon.colours))),
            ("pronoun", lexicon.ids(lexicon.pronouns), np.arange(len(lexicon.pronouns))),
        ):
            self._meant |= dict.fromkeys(ids.tolist(), (role, STRANGER))
            self._meant |= {token: (role, number) for number, token in enumerate(ids[numbers].tolist())}
        self._start, self._ids, self._lost_at, self._over = 0, list[int](), -1, False

    def add(self, place: int, token: int, lost: bool) -> None:
        """A token, and whether no sentence can come of it any more."""
        if not self._ids:
            self._start = place
        if lost and self._lost_at < 0:
            self._lost_at = len(self._ids)
        self._ids.append(token)

    def close(self, ended: Sentences) -> None:
        """A full stop, or the end of the text."""
        kind = int(ended.kinds[0])
        events: list[Event] = [tuple(row) for row in ended.events[0].tolist() if row[0] >= 0]
        self._keep(kind, events, kind == UNPARSED)
        self._over |= kind == Kind.END

    def leave(self, lost: bool) -> None:
        """The text goes no further."""
        self._keep(UNPARSED if lost else OPEN, [], True)

    def _keep(self, kind: int, events: Sequence[Event], broken: bool) -> None:
        at = self._lost_at if self._lost_at >= 0 else len(self._ids) - 1
        roles = tuple(self._meant.get(token, ("", 0)) for token in self._ids)
        pronouns = [place for place, (role, _) in enumerate(roles) if role == "pronoun"]
        self.sentences.append(
            Parsed(
                self._start,
                tuple(self._ids),
                kind,
                tuple(events),
                roles,
                pronouns[0] if pronouns else None,
                self._why(at) if broken else None,
                at,
            )
        )
        self._ids, self._lost_at = [], -1

    def _why(self, at: int) -> FaultKind:
        token = self._ids[at]
        if self._over:
            return FaultKind.AFTER_END
        if token == self._unknown:
            return FaultKind.UNKNOWN_WORD
        if self._meant.get(token, ("", 0))[1] == STRANGER:
            return FaultKind.NOT_IN_BRIEF
        if at and (token == self._stop or self._lost_at < 0):
            return FaultKind.UNFINISHED
        return FaultKind.NO_SENTENCE
