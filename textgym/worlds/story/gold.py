"""Gold: what is exactly true of a story, as scorers like any other.

Each axis is a scorer ``gold.<axis>``; ``gold`` by itself is the quality G. All are causal: they mean something for an
unfinished story, and what a token adds depends on nothing after it. See `textgym.worlds.story.truth` for definitions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from weakref import ref

import numpy as np
from jaxtyping import Float64, Int64

from textgym.errors import ScorerError
from textgym.scorers.base import Score, Scorer, Stream, register
from textgym.types import Arrays, Scores, ScoringContext, TextBatch, TokenIds
from textgym.worlds.story.truth import Truth
from textgym.worlds.story.words import tidy
from textgym.worlds.story.world import Norms, StoryWorld

Rows = Int64[np.ndarray, " N"]
Values = Float64[np.ndarray, " N"]


class GoldAxis(Scorer):
    """An axis of the truth; a subclass says which, by `axis`."""

    causal = True
    needs = frozenset({"world"})

    def axis(self, truth: Truth, rows: Rows, norms: Norms) -> Values:
        """The values of these stories as they stand, (N,)."""
        raise NotImplementedError  # abstract

    def fingerprint(self, context: ScoringContext) -> str:
        """The world's signature."""
        return self._world(context).signature

    def prepare(self, context: ScoringContext | None) -> Score:
        """Takes the world from the context.

        Raises:
            ScorerError: there is no context, or it is of a task without a story world.
        """
        world, norms = self._world(context), self._norms(context)

        def score(batch: TextBatch) -> Scores:
            truth = truth_of(world, batch)
            return Scores(self.axis(truth, np.arange(len(batch)), norms))

        return score

    def stream(self, rows: int, context: ScoringContext) -> Stream | None:
        """O(1) a token; None where the task's tokens are not the world's words."""
        world = self._world(context)
        if context.tokenizer.signature != world.lexicon.tokenizer.signature:
            return None
        return _Running(self, world, self._norms(context), rows)

    def _world(self, context: ScoringContext | None) -> StoryWorld:
        world = getattr(context, "world", None)
        if context is None:
            raise self._unbound()
        if not isinstance(world, StoryWorld):
            raise ScorerError(f"{self} needs a story world, where the truth is known: task='story'")
        return world

    def _norms(self, context: ScoringContext | None) -> Norms:
        assert context is not None
        world = self._world(context)

        def measure() -> Arrays:
            return {"fluency": np.array([world.norms.fluency]), "types": world.norms.types}

        arrays = context.cached("story-norms", f"{world.signature}", measure)
        return Norms(float(arrays["fluency"][0]), arrays["types"])


class _Running:
    """An axis of stories that grow."""

    def __init__(self, scorer: GoldAxis, world: StoryWorld, norms: Norms, rows: int) -> None:
        self._scorer, self._world, self._norms = scorer, world, norms
        self._truth = world.truth(rows)

    def begin(self, rows: Rows, prompts: Sequence[TokenIds]) -> Values:
        self._truth.begin(rows, [self._world.brief(ids) for ids in prompts])
        return self._scorer.axis(self._truth, rows, self._norms)

    def advance(self, rows: Rows, tokens: Int64[np.ndarray, " N"]) -> Values:
        self._truth.advance(rows, tokens)
        return self._scorer.axis(self._truth, rows, self._norms)


_last: dict[str, tuple["ref[TextBatch]", Truth]] = {}
"""The truth about the batch that each world read last: several axes ask about the same."""


def truth_of(world: StoryWorld, batch: TextBatch) -> Truth:
    """The truth about a batch of stories; texts of another tokenizer are read word by word.

    Raises:
        TaskError: a prompt that is no brief.
    """
    known = _last.get(world.name)
    if known is not None and known[0]() is batch:
        return known[1]
    tokenizer = world.lexicon.tokenizer
    prompts, stories = batch.prompts, batch.completions
    if batch.tokenizer.signature != tokenizer.signature:
        eos = np.array([tokenizer.eos_id], dtype=np.int32)
        ended = [len(ids) > 0 and ids[-1] == batch.tokenizer.eos_id for ids in batch.completions]
        prompts = [tokenizer.encode(tidy(world, text).lstrip()) for text in batch.prompt_texts]
        stories = [
            np.concatenate([tokenizer.encode(tidy(world, text)), eos[: int(end)]])
            for text, end in zip(batch.completion_texts, ended, strict=True)
        ]
    truth = world.read([world.brief(ids) for ids in prompts], stories)
    _last[world.name] = ref(batch), truth
    return truth


@register("gold.quality")
@dataclass(frozen=True)
class Quality(GoldAxis):
    """G: how good a story is: what it tells of its brief, less what is wrong with it, and whether anything happens.

    G = max(A, 0) (1 - u) (1 - c) (1 - d) min(1, s / 4), with A the reader's accuracy, u, c and d the shares of
    unparsable, contradictory and redundant sentences, and s how many new situations events bring about that can happen.
    """

    formula = "max(A, 0) (1 - u) (1 - c) (1 - d) min(1, s/4)"
    source = ""
    range = (0.0, 1.0)

    def axis(self, truth: Truth, rows: Rows, norms: Norms) -> Values:
        """G."""
        return truth.quality(rows)


@register("gold")
@dataclass(frozen=True)
class Gold(Quality):
    """The same as gold.quality; in Python also the place of the axes: ``scorers.gold.coherence()``."""


@register("gold.fluency")
@dataclass(frozen=True)
class Fluency(GoldAxis):
    """Mean log-probability of a token under the world's own grammar, with its noise; blind to what is true."""

    formula = "mean over t of log P(w_t | w_<t), P of the world grammar"
    source = ""
    range = (-float("inf"), 0.0)
    unit = "nats per token"

    def axis(self, truth: Truth, rows: Rows, norms: Norms) -> Values:
        """Mean log P."""
        return truth.fluency(rows)


@register("gold.typicality")
@dataclass(frozen=True)
class Typicality(GoldAxis):
    """Less the distance between a story's mean log-probability and that of clean stories: 0 is typical.

    The most probable text is not the best one (Meister et al. 2023, locally typical sampling).
    """

    formula = "-|fluency - mean fluency of clean stories|"
    source = "Meister et al. 2023"
    range = (-float("inf"), 0.0)
    unit = "nats per token"

    def axis(self, truth: Truth, rows: Rows, norms: Norms) -> Values:
        """-|mean log P + entropy rate|."""
        distance: Values = -np.abs(truth.fluency(rows) - norms.fluency)
        return distance


@register("gold.grammar")
@dataclass(frozen=True)
class Grammatical(GoldAxis):
    """1 - u: the share of sentences that are sentences."""

    formula = "1 - |unparsable sentences| / |sentences|"
    source = ""
    range = (0.0, 1.0)

    def axis(self, truth: Truth, rows: Rows, norms: Norms) -> Values:
        """1 - u."""
        return 1.0 - truth.unparsed(rows)


@register("gold.coherence")
@dataclass(frozen=True)
class Coherent(GoldAxis):
    """1 - c: the share of sentences that do not contradict the story so far; 1 where nothing is said."""

    formula = "1 - |contradictory sentences| / |sentences|"
    source = ""
    range = (0.0, 1.0)

    def axis(self, truth: Truth, rows: Rows, norms: Norms) -> Values:
        """1 - c."""
        return 1.0 - truth.contradictions(rows)


@register("gold.faithfulness")
@dataclass(frozen=True)
class Faithful(GoldAxis):
    """The share of sentences that can be true, the brief's world being what it is; 1 where nothing is said."""

    formula = "1 - |unfaithful sentences| / |sentences|"
    source = ""
    range = (0.0, 1.0)

    def axis(self, truth: Truth, rows: Rows, norms: Norms) -> Values:
        """1 - rate of unfaithful sentences."""
        return 1.0 - truth.unfaithfulness(rows)


@register("gold.information")
@dataclass(frozen=True)
class Informed(GoldAxis):
    """A, the reader's accuracy: the mean over the brief's facts of (p_true - prior) / (1 - prior).

    A reader believes in the worlds with the fewest violations, each as likely. Silence is 0, all told is 1, to repeat a
    fact adds nothing, a lie subtracts.
    """

    formula = "A = mean over facts of (p_true - prior) / (1 - prior)"
    source = ""
    range = (-1.0, 1.0)

    def axis(self, truth: Truth, rows: Rows, norms: Norms) -> Values:
        """A."""
        return truth.accuracy(rows)


@register("gold.bits")
@dataclass(frozen=True)
class Bits(GoldAxis):
    """How far a story narrows down how it began: log2 of all worlds over those that fit it best; lies count."""

    formula = "log2(|worlds| / |worlds that fit best|)"
    source = ""
    range = (0.0, float("inf"))
    unit = "bits"

    def axis(self, truth: Truth, rows: Rows, norms: Norms) -> Values:
        """Bits."""
        return truth.bits(rows)


@register("gold.novelty")
@dataclass(frozen=True)
class Novel(GoldAxis):
    """1 - d: the share of sentences that change the world or what a reader believes; 1 where nothing is said."""

    formula = "1 - |redundant sentences| / |sentences|"
    source = ""
    range = (0.0, 1.0)

    def axis(self, truth: Truth, rows: Rows, norms: Norms) -> Values:
        """1 - d."""
        return 1.0 - truth.redundancy(rows)


@register("gold.changes")
@dataclass(frozen=True)
class Changes(GoldAxis):
    """How often the brief's world became another by an event that could happen in it, there and back included."""

    formula = "|changes of the world by possible events|"
    source = ""
    range = (0.0, float("inf"))
    unit = "events"

    def axis(self, truth: Truth, rows: Rows, norms: Norms) -> Values:
        """Changes."""
        return truth.changes(rows)


@register("gold.types")
@dataclass(frozen=True)
class Types(GoldAxis):
    """Jensen-Shannon divergence between a story's types of sentences and those of clean stories; 1 without sentences.

    The other rates leave fillers out, so a story may be padded with them; it shows here.
    """

    formula = "JSD(types of the story, types of clean stories)"
    source = ""
    range = (0.0, 1.0)
    unit = "bits"
    higher_is_better = False

    def axis(self, truth: Truth, rows: Rows, norms: Norms) -> Values:
        """The divergence."""
        counts = truth.types(rows)
        total = counts.sum(1, keepdims=True)
        share = counts / np.maximum(total, 1)
        middle = (share + norms.types) / 2
        divergence = (_entropy(middle) - (_entropy(share) + _entropy(norms.types[None])) / 2).clip(0.0, 1.0)
        return np.where(total[:, 0] > 0, divergence, 1.0)


def _entropy(shares: Float64[np.ndarray, "N K"]) -> Values:
    """Bits, of each row."""
    logs = np.log2(shares, out=np.zeros_like(shares), where=shares > 0)
    entropy: Values = -(shares * logs).sum(1)
    return entropy


_KINDS: tuple[type[GoldAxis], ...] = (
    Quality,
    Fluency,
    Typicality,
    Grammatical,
    Coherent,
    Faithful,
    Informed,
    Bits,
    Novel,
    Changes,
    Types,
)

AXES: Mapping[str, str] = {kind.name.removeprefix("gold."): kind.name for kind in _KINDS}
"""Every axis by its short name, under which it is reported, and its expression."""

for _kind in _KINDS:
    setattr(Gold, _kind.name.removeprefix("gold."), _kind)
