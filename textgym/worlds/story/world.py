"""A story world in one piece: words, grammar, briefs, stories and the truth about them."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from jaxtyping import Float64

from textgym.errors import UnknownNameError
from textgym.types import TokenIds
from textgym.worlds.story import chinese, english
from textgym.worlds.story.brief import Brief, BriefFormat, Shape
from textgym.worlds.story.generator import StoryGenerator
from textgym.worlds.story.grammar import Grammar, compile_grammar
from textgym.worlds.story.lexicon import Lexicon
from textgym.worlds.story.truth import Truth

SHAPES = {"small": Shape(people=2), "base": Shape(people=3)}
BUDGETS = {"small": 80, "base": 96}
"""Tokens of the longest story, EOS included."""

LEXICONS = {("en", "small"): english.SMALL, ("en", "base"): english.BASE}
LEXICONS |= {("zh", "small"): chinese.SMALL, ("zh", "base"): chinese.BASE}

NOISE, REPETITION = 0.04, 0.03
"""Of the corpus that models are trained on."""

VERSION = 2
"""Raised when the same text has another truth than before."""

_REMEMBERED = 65_536

YARDSTICK = 512
"""Clean stories that the frequencies of types and the entropy rate are taken from."""


@dataclass(frozen=True, eq=False)
class StoryWorld:
    """One world: a preset in a language.

    Attributes:
        name: language and preset, e.g. "en-small".
        lexicon: the words.
        shape: how much there is in a brief.
        max_tokens: the longest story, EOS included.
    """

    name: str
    lexicon: Lexicon
    shape: Shape
    max_tokens: int

    def __deepcopy__(self, memo: object) -> "StoryWorld":
        return self

    @cached_property
    def grammar(self) -> Grammar:
        """The sentence grammar, compiled."""
        return compile_grammar(self.lexicon)

    @cached_property
    def briefs(self) -> BriefFormat:
        """Briefs as ids and back."""
        return BriefFormat(self.lexicon, self.shape)

    @cached_property
    def signature(self) -> str:
        """Name and content hash: equal iff the same texts have the same truth."""
        grammar, form = self.grammar, self.shape
        digest = hashlib.sha256(self.lexicon.tokenizer.signature.encode())
        for array in (grammar.edge, grammar.weights, grammar.share, grammar.events, grammar.unigram):
            digest.update(np.ascontiguousarray(array).tobytes())
        digest.update(repr((form, self.max_tokens, VERSION)).encode())
        return f"{self.name}:{digest.hexdigest()[:16]}"

    def brief(self, ids: TokenIds) -> Brief:
        """The brief that a prompt is; those met before are remembered.

        Raises:
            TaskError: it is none.
        """
        key = np.asarray(ids, dtype=np.int32).tobytes()
        if key not in self._met:
            if len(self._met) >= _REMEMBERED:
                self._met.clear()
            self._met[key] = self.briefs.decode(ids)
        return self._met[key]

    @cached_property
    def _met(self) -> dict[bytes, Brief]:
        return {}

    def generator(self, noise: float = 0.0, repetition: float = 0.0) -> StoryGenerator:
        """Writes stories; clean ones by default."""
        return StoryGenerator(self.lexicon, self.briefs, noise=noise, repetition=repetition, max_tokens=self.max_tokens)

    def truth(self, rows: int) -> Truth:
        """The books of so many stories."""
        return Truth(self.lexicon, self.grammar, self.briefs, rows)

    def read(self, briefs: Sequence[Brief], stories: Sequence[TokenIds]) -> Truth:
        """The truth about whole stories, a row each.

        Raises:
            TokenizerError: ids outside the vocabulary.
        """
        truth = self.truth(len(stories))
        truth.begin(np.arange(len(stories)), briefs)
        lengths = np.array([len(ids) for ids in stories], dtype=np.int64)
        tokens = np.zeros((len(stories), int(lengths.max(initial=0))), dtype=np.int64)
        for row, ids in zip(tokens, stories, strict=True):
            row[: len(ids)] = self.lexicon.tokenizer.checked(ids)
        for step in range(tokens.shape[1]):
            live = np.flatnonzero(lengths > step)
            truth.advance(live, tokens[live, step])
        return truth

    @cached_property
    def norms(self) -> "Norms":
        """What clean stories of this world are like; always the same ones."""
        rng = np.random.default_rng(0)
        generator = self.generator()
        briefs = [self.briefs.draw(rng) for _ in range(YARDSTICK)]
        truth = self.read(briefs, [generator.story(brief, rng) for brief in briefs])
        rows = np.arange(YARDSTICK)
        types = truth.types(rows).sum(0)
        return Norms(float(truth.fluency(rows).mean()), types / types.sum())


@dataclass(frozen=True)
class Norms:
    """What clean stories are like.

    Attributes:
        fluency: mean log P of a token in nats: less the entropy rate of the world as its grammar sees it.
        types: (K,) share of each type of sentence, the last those that are none.
    """

    fluency: float
    types: Float64[np.ndarray, " K"]


@lru_cache(maxsize=8)
def story_world(preset: str = "small", language: str = "en") -> StoryWorld:
    """The world of a preset, "small" or "base", in a language, "en" or "zh".

    Raises:
        UnknownNameError: no such preset or language.
    """
    if preset not in SHAPES:
        raise UnknownNameError("preset of the story world", preset, SHAPES)
    if (language, preset) not in LEXICONS:
        raise UnknownNameError("language of the story world", language, {known for known, _ in LEXICONS})
    return StoryWorld(f"{language}-{preset}", LEXICONS[language, preset], SHAPES[preset], BUDGETS[preset])
