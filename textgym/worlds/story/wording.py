"""Claims, states and faults in words, in the language of the world: by its own templates where there are some."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from textgym.worlds.story.brief import Brief
from textgym.worlds.story.events import Kind
from textgym.worlds.story.lexicon import Lexicon
from textgym.worlds.story.situation import BRIEF, About, State

Event = Sequence[int]
"""Kind, subject, other person, object, place, colour; numbers within the brief, -1 for none."""

_STAND = (Kind.IS_IN, Kind.GO)


class Wording(ABC):
    """Words for one brief.

    Args:
        lexicon: the words of the world.
        brief: which of them its numbers mean.
    """

    def __init__(self, lexicon: Lexicon, brief: Brief) -> None:
        self._lexicon = lexicon
        self.people: list[str] = [lexicon.people[i][0] for i in brief.people.tolist()]
        self.places: list[str] = [lexicon.places[i] for i in brief.places.tolist()]
        self.objects: list[str] = [lexicon.objects[i][0] for i in brief.objects.tolist()]
        self.colours = list(lexicon.colours)
        self._numbers = [lexicon.objects[i][1] for i in brief.objects.tolist()]
        self._genders = ["mf".index(lexicon.people[i][1]) for i in brief.people.tolist()]

    def phrase(self, event: Event) -> str:
        """A claim as the world's plainest sentence of its type, without full stop: "sam went to the kitchen"."""
        template = self._lexicon.templates[Kind(event[0])][0]
        words = [said for word in template.split() for said in self._filled(word, event)]
        return self._lexicon.blank.join(words)

    def _filled(self, word: str, event: Event) -> list[str]:
        _, who, whom, what, place, colour = event
        match word:
            case "A":
                return [self.people[who]]
            case "B":
                return [self.people[whom]]
            case "L":
                return [self.places[place]]
            case "C":
                return [self.colours[colour]]
            case "O" | "o":
                return [self.thing(what)]
        return [self._form(word, what)]

    def thing(self, number: int) -> str:
        """An object as the language names it without its colour."""
        words = self._lexicon.noun_phrases[0].split()
        return self._lexicon.blank.join(self.objects[number] if w == "o" else self._form(w, number) for w in words)

    def _form(self, word: str, thing: int) -> str:
        return self._lexicon.forms[word[1:-1]][self._numbers[thing]] if word.startswith("[") else word

    def fact(self, about: About, number: int, value: int) -> str:
        """A fact of the brief as a sentence."""
        first = len(self.places)
        match about:
            case About.PERSON:
                return self.phrase((Kind.IS_IN, number, -1, -1, value, -1))
            case About.COLOUR:
                return self.phrase((Kind.COLOUR, -1, -1, number, -1, value))
        if value < first:
            return self.phrase((Kind.OBJECT_AT, -1, -1, number, value, -1))
        return self.phrase((Kind.HAS, value - first, -1, number, -1, -1))

    def value(self, state: State) -> str:
        """Where, with whom or which colour, in a word."""
        if state.about is About.COLOUR:
            return self.colours[state.value]
        return [*self.places, *self.people][state.value]

    def name(self, state: State) -> str:
        """Who or what a state is about, in a word."""
        return self.people[state.number] if state.about is About.PERSON else self.objects[state.number]

    def pronoun(self, person: int) -> str:
        """He or she."""
        return self._lexicon.pronouns[self._genders[person]]

    @abstractmethod
    def contradiction(self, claim: Event, culprits: Sequence[tuple[int, Event]], own: int) -> str:
        """Why a claim contradicts the story.

        Args:
            claim: what is said.
            culprits: claims that it cannot be true together with, each with the number of its sentence.
            own: the number of the claim's own sentence.
        """

    @abstractmethod
    def unfaithful(self, claim: Event, states: Sequence[State]) -> str:
        """Why a claim cannot be true under the brief, given what stands in its way."""

    @abstractmethod
    def redundant(self) -> str:
        """Why a sentence is worth nothing."""

    @abstractmethod
    def unknown_word(self, word: str) -> str:
        """That a word is not of this world."""

    @abstractmethod
    def not_in_brief(self, word: str) -> str:
        """That the brief names no such person, place or object."""

    @abstractmethod
    def no_sentence(self, word: str) -> str:
        """That no sentence goes on with a word."""

    @abstractmethod
    def nobody(self, word: str) -> str:
        """That a pronoun stands for nobody."""

    @abstractmethod
    def unfinished(self) -> str:
        """That a sentence breaks off."""

    @abstractmethod
    def after_end(self) -> str:
        """That the story was over."""


def stayed(claim: Event, culprits: Sequence[tuple[int, Event]]) -> bool:
    """Whether a contradiction comes of one person's place alone: they have not moved since."""
    return len(culprits) == 1 and claim[0] in _STAND and culprits[0][1][0] in _STAND and culprits[0][1][1] == claim[1]


class English(Wording):
    """Faults in English."""

    def contradiction(self, claim: Event, culprits: Sequence[tuple[int, Event]], own: int) -> str:
        """As `Wording.contradiction`."""
        reasons = [self._said(number, event, claim, own) for number, event in culprits]
        since = f", and {self.pronoun(claim[1])} has not moved since" if stayed(claim, culprits) else ""
        return f"{self.phrase(claim)}: {' and '.join(reasons)}{since}"

    def _said(self, number: int, event: Event, claim: Event, own: int) -> str:
        where = "this very sentence" if number == own else f"sentence {number}"
        if event[0] in _STAND and event[1] == claim[1]:
            return f"{where} put {('him', 'her')[self._genders[event[1]]]} in the {self.places[event[4]]}"
        if event[0] in _STAND:
            return f"{where} put {self.people[event[1]]} in the {self.places[event[4]]}"
        return f"{where} says that {self.phrase(event)}"

    def unfaithful(self, claim: Event, states: Sequence[State]) -> str:
        """As `Wording.unfaithful`."""
        return f"{self.phrase(claim)}: {' and '.join(map(self._state, states))}"

    def _state(self, state: State) -> str:
        from_brief = state.since == BRIEF
        if state.about is About.COLOUR:
            return f"the brief calls {self.thing(state.number)} {self.value(state)}"
        lies = state.value < len(self.places)
        where = f"in the {self.value(state)}" if lies else f"with {self.value(state)}"
        if state.about is About.PERSON:
            source = "the brief puts" if from_brief else f"sentence {state.since} put"
            return f"{source} {self.people[state.number]} {where}"
        source = "the brief has" if from_brief else f"sentence {state.since} left"
        return f"{source} {self.thing(state.number)} {where}"

    def redundant(self) -> str:
        """As `Wording.redundant`."""
        return "a reader knew it already, and nothing changes"

    def unknown_word(self, word: str) -> str:
        """As `Wording.unknown_word`."""
        return f"{word!r} is no word of this world"

    def not_in_brief(self, word: str) -> str:
        """As `Wording.not_in_brief`."""
        return f"{word!r} is not in the brief"

    def no_sentence(self, word: str) -> str:
        """As `Wording.no_sentence`."""
        return f"no sentence goes on with {word!r} here"

    def nobody(self, word: str) -> str:
        """As `Wording.nobody`."""
        return f"{word!r} is nobody: the last to act was somebody else, or nobody has"

    def unfinished(self) -> str:
        """As `Wording.unfinished`."""
        return "the sentence breaks off"

    def after_end(self) -> str:
        """As `Wording.after_end`."""
        return "the story was over"


class Chinese(Wording):
    """Faults in Chinese."""

    def contradiction(self, claim: Event, culprits: Sequence[tuple[int, Event]], own: int) -> str:
        """As `Wording.contradiction`."""
        reasons = [
            f"{'这一句' if number == own else f'第 {number} 句'}说{self.phrase(event)}" for number, event in culprits
        ]
        since = f"，此后{self.pronoun(claim[1])}没有动过" if stayed(claim, culprits) else ""
        return f"{self.phrase(claim)}：{'，'.join(reasons)}{since}"

    def unfaithful(self, claim: Event, states: Sequence[State]) -> str:
        """As `Wording.unfaithful`."""
        return f"{self.phrase(claim)}：{'，'.join(map(self._state, states))}"

    def _state(self, state: State) -> str:
        source = "提要说" if state.since == BRIEF else f"第 {state.since} 句以后"
        if state.about is About.COLOUR:
            return f"{source}{self.fact(state.about, state.number, state.value)}"
        lies = state.value < len(self.places)
        name = self.people[state.number] if state.about is About.PERSON else self.thing(state.number)
        return f"{source}{name}在{self.value(state)}{'里' if lies else '手里'}"

    def redundant(self) -> str:
        """As `Wording.redundant`."""
        return "读者已经知道，什么也没有改变"

    def unknown_word(self, word: str) -> str:
        """As `Wording.unknown_word`."""
        return f"这个世界没有“{word}”这个词"

    def not_in_brief(self, word: str) -> str:
        """As `Wording.not_in_brief`."""
        return f"提要里没有“{word}”"

    def no_sentence(self, word: str) -> str:
        """As `Wording.no_sentence`."""
        return f"没有句子在这里接“{word}”"

    def nobody(self, word: str) -> str:
        """As `Wording.nobody`."""
        return f"“{word}”不知是谁：上一个行动的是别人，或者没有人"

    def unfinished(self) -> str:
        """As `Wording.unfinished`."""
        return "句子没有说完"

    def after_end(self) -> str:
        """As `Wording.after_end`."""
        return "故事已经完了"


def wording(lexicon: Lexicon, brief: Brief) -> Wording:
    """The words for a brief in its own language."""
    return (Chinese if lexicon.name.startswith("zh") else English)(lexicon, brief)
