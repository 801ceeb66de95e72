"""Where a reward is tried: texts that it should like, several completions of a prompt, and what to make bad texts of.

A task gives held-out references and samples of an n-gram model; a file of rollouts gives its own completions, or the
references in it, and needs neither task nor model. Everything is text on the way in and tokens inside: of the task, or
words.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from textgym.envs.taskless import TasklessContext
from textgym.envs.tasks import Task
from textgym.errors import CorpusError, TaskError
from textgym.models.ngram import KneserNey
from textgym.scorers.bound import BoundScorer
from textgym.scorers.plain import OpenVocabulary, batch_of_texts
from textgym.scorers.spec import RewardLike, parse, resolve
from textgym.text.offsets import token_ends
from textgym.text.prompts import PromptSet
from textgym.text.rollouts import Rollout, read_rollouts
from textgym.text.sentences import cjk_share, split_units
from textgym.types import LanguageModel, Scores, ScoringContext, TextBatch, TokenIds, Tokenizer

GOOD, PROMPTS, SAMPLES = 128, 16, 8
"""Good texts at most; prompts that are completed several times, and how often."""

ENOUGH = 16
"""References that fit the budget from which those that it cuts are left out."""

ORDER = 4
"""Of the n-gram model that says which texts are fluent."""


@dataclass(frozen=True, eq=False)
class Arena:
    """A bound reward and what it is tried on.

    Attributes:
        bound: the reward.
        good: B texts that it should like, with prompts, references and metadata.
        samples: S completions, several for each of some prompts, none of them known to be good.
        group: (S,) which prompt each belongs to.
        where: what to call all this in a report.
        budget: tokens of the longest completion.
        gold: what is exactly true of a text; None where no world knows.
        task: which task it is; None for rollouts.
        recorded: (S,) what the samples earned when they were written down, NaN where not known; None for a task.
    """

    bound: BoundScorer
    good: TextBatch
    samples: TextBatch
    group: Int64[np.ndarray, " S"]
    where: str
    budget: int
    gold: BoundScorer | None = None
    task: Task | None = None
    recorded: Float64[np.ndarray, " S"] | None = None

    @property
    def tokenizer(self) -> Tokenizer:
        """What the ids mean."""
        return self.good.tokenizer

    def score(self, batch: TextBatch) -> Scores:
        """What the reward says, NaN and infinity included."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            return self.bound.score(batch)

    def values(self, batch: TextBatch) -> Float64[np.ndarray, " B"]:
        """Values (B,), NaN where not applicable."""
        scores = self.score(batch)
        return np.where(scores.valid, scores.values, np.nan)

    @cached_property
    def liked(self) -> Float64[np.ndarray, " B"]:
        """What the good texts earn."""
        return self.values(self.good)

    @cached_property
    def sampled(self) -> Float64[np.ndarray, " S"]:
        """What the samples earn."""
        return self.values(self.samples)

    def rewritten(self, texts: Sequence[str], rows: Sequence[int] | None = None) -> TextBatch:
        """Other completions for the good texts at `rows`, all if None; ended by EOS where those are."""
        rows = range(len(self.good)) if rows is None else rows
        base, tokenizer = self.good.rows(list(rows)), self.tokenizer
        if isinstance(tokenizer, OpenVocabulary):  # whatever words there are
            return batch_of_texts(texts, base.prompt_texts, base.references, base.metadata)
        completions = []
        for text, old in zip(texts, base.completions, strict=True):
            end = old[-1:] if len(old) and old[-1] == tokenizer.eos_id else old[:0]
            completions.append(np.concatenate([tokenizer.encode(text), end]).astype(np.int32))
        return TextBatch(base.prompts, completions, tokenizer, base.references, base.metadata)

    @cached_property
    def sentences(self) -> list[str]:
        """The distinct sentences of the good texts, the most frequent first; white space behind them."""
        counts = Counter(unit for text in self.good.completion_texts for unit in split_units(text) if unit.strip())
        return [unit for unit, _ in sorted(counts.items(), key=lambda item: (-item[1], len(item[0]), item[0]))]

    @cached_property
    def blocks(self) -> list[TokenIds]:
        """The distinct sentences as tokens, as they stand in the good texts, the most frequent first."""
        counts: Counter[bytes] = Counter()
        for ids, text in zip(self.good.content, self.good.completion_texts, strict=True):
            ends, place, begin = token_ends(self.tokenizer, ids, text), 0, 0
            for unit in split_units(text):
                cut = int(np.searchsorted(ends, place + len(unit.rstrip()))) + 1
                place += len(unit)
                counts[np.asarray(ids[begin:cut], dtype=np.int32).tobytes()] += 1
                begin = cut
        ranked = sorted(counts.items(), key=lambda item: (-item[1], len(item[0]), item[0]))
        return [np.frombuffer(block, dtype=np.int32) for block, _ in ranked if block]

    def last_block(self, row: int) -> TokenIds:
        """The last sentence of a good text, as tokens."""
        ids, text = self.good.content[row], self.good.completion_texts[row]
        units = split_units(text)
        if len(units) < 2:
            return ids[:0]
        ends = token_ends(self.tokenizer, ids, text)
        return ids[int(np.searchsorted(ends, len("".join(units[:-1]).rstrip()))) + 1 :]

    @cached_property
    def tokens(self) -> tuple[Int64[np.ndarray, " K"], Float64[np.ndarray, " K"]]:
        """The ids that the good texts are made of, EOS aside, and how frequent each is."""
        ids = np.concatenate([*self.good.content, *self.good.prompts])
        known, counts = np.unique(ids, return_counts=True)
        real = known != self.tokenizer.unk_id
        return known[real].astype(np.int64), counts[real] / max(counts[real].sum(), 1)

    @cached_property
    def language_model(self) -> LanguageModel:
        """What is fluent here: n-grams of the task's training split; without a task, of every other good text."""
        if self.task is not None:
            return self.task.context.language_model(f"ngram:{ORDER}")
        half = self.good.rows(range(0, len(self.good), 2))
        rows = [np.concatenate(pair) for pair in zip(half.prompts, half.completions, strict=True)]
        return KneserNey.fit(rows, vocab_size=self.tokenizer.vocab_size, order=ORDER)

    @cached_property
    def fluent(self) -> float:
        """The surprise that one good text in twenty exceeds, of those that `language_model` was not fitted to."""
        new = self.good if self.task is not None or len(self.good) < 2 else self.good.rows(range(1, len(self.good), 2))
        return float(np.quantile(self.surprise(new), 0.95))

    def surprise(self, batch: TextBatch) -> Float64[np.ndarray, " B"]:
        """Mean surprisal under `language_model` in nats per token, EOS included, (B,); 0 for no token."""
        table = self.language_model.logprobs(batch.prompts, list(batch.completions))
        lengths = np.array([len(ids) for ids in batch.completions])
        return np.asarray(-table.sum(axis=1) / np.maximum(lengths, 1))


def arena_of_task(reward: RewardLike, task: Task, *, seed: int = 0, good: int = GOOD) -> Arena:
    """A task's held-out references, and samples of an n-gram model of its training split.

    Args:
        reward: what is tried.
        task: where.
        seed: which references, and of the samples.
        good: how many references at most.

    Raises:
        TaskError: its held-out prompts have no references.
        ScorerError: the reward cannot be bound to it.
    """
    bound = resolve(reward).bind(task.context)
    rng = np.random.default_rng(seed)
    prompts, tokenizer = task.heldout, task.tokenizer
    referenced = np.flatnonzero(prompts.reference_lengths > 0)
    if not len(referenced):
        raise TaskError(f"the held-out prompts of {task.name!r} have no references, so nothing is known to be good")
    whole = referenced[prompts.ended[referenced]]  # the budget cuts the others off
    chosen = np.sort(rng.permutation(whole if len(whole) >= ENOUGH else referenced)[:good])
    texts = _batch(prompts, chosen, [prompts.reference(int(i)) for i in chosen], tokenizer)
    some = np.repeat(chosen[: max(1, min(PROMPTS, len(chosen)))], SAMPLES)
    model = task.context.language_model(f"ngram:{ORDER}")
    drawn = _draw(model, [prompts.prompt(int(i)) for i in some], task, rng)
    gold = parse(task.gold["quality"]).bind(task.context) if "quality" in task.gold else None
    group = np.repeat(np.arange(len(some) // SAMPLES), SAMPLES)
    samples = _batch(prompts, some, drawn, tokenizer)
    return Arena(bound, texts, samples, group, f"task {task.name}", task.max_new_tokens, gold, task)


def arena_of_rollouts(
    reward: RewardLike,
    saved: str | Path | Sequence[Rollout],
    context: ScoringContext | None = None,
    *,
    seed: int = 0,
    good: int = GOOD,
) -> Arena:
    """Saved rollouts: good are the references in them, or where there are none the completions themselves.

    Args:
        reward: what is tried.
        saved: a file or folder as `textgym.text.rollouts.read_rollouts` takes it, or what it gave.
        context: a task's, where the reward needs one; its tokenizer makes the tokens. Without one, tokens are words.
        seed: which of the rollouts are taken.
        good: how many good texts at most.

    Raises:
        CorpusError: the file cannot be read, or holds no completion with a word in it.
        ScorerError: the reward needs a task.
    """
    scorer = resolve(reward)
    rollouts = list(read_rollouts(saved)) if isinstance(saved, str | Path) else list(saved)
    name = f" of {saved}" if isinstance(saved, str | Path) else ""
    if not any(rollout.completion.strip() for rollout in rollouts):
        raise CorpusError(f"every completion{name} is empty, so there is nothing to try a reward on")
    tokenizer = context.tokenizer if context is not None else _words(rollouts)
    bound = scorer.bind(TasklessContext() if context is None else context)
    rng = np.random.default_rng(seed)
    groups: dict[str, list[Rollout]] = {}
    for rollout in rollouts:
        groups.setdefault(rollout.group or rollout.prompt, []).append(rollout)
    several = [rows for rows in groups.values() if len(rows) > 1] or list(groups.values())
    taken = [several[i] for i in rng.permutation(len(several))[: max(PROMPTS, good // 4)]]
    samples = _rollout_batch([r for rows in taken for r in rows], tokenizer)
    group = np.repeat(np.arange(len(taken)), [len(rows) for rows in taken])
    recorded = np.array([np.nan if r.reward is None else r.reward for rows in taken for r in rows])
    shown = [rollouts[i] for i in np.sort(rng.permutation(len(rollouts))[:good])]
    ideal = [r for r in shown if r.references and r.references[0].strip()]
    texts = _rollout_batch(ideal, tokenizer, [r.references[0] for r in ideal]) if ideal else None
    batch = texts or _rollout_batch([r for r in shown if r.completion.strip()] or rollouts[:1], tokenizer)
    longest = max(map(len, [*samples.completions, *batch.completions]))
    return Arena(bound, batch, samples, group, f"{len(rollouts):,} rollouts{name}", longest, None, None, recorded)


def _batch(
    prompts: PromptSet, chosen: Int64[np.ndarray, " B"], completions: Sequence[TokenIds], tokenizer: Tokenizer
) -> TextBatch:
    return TextBatch(
        [prompts.prompt(int(i)) for i in chosen],
        completions,
        tokenizer,
        [prompts.references(int(i), tokenizer) for i in chosen],
        [prompts.metadata(int(i)) for i in chosen],
    )


def _draw(model: Any, prompts: list[TokenIds], task: Task, rng: np.random.Generator) -> list[TokenIds]:
    if not isinstance(model, KneserNey):  # it learned completions alone
        model, prompts = model.model, [np.zeros(0, dtype=np.int32)] * len(prompts)
    drawn: list[TokenIds] = model.sample(prompts, task.max_new_tokens, task.tokenizer.eos_id, rng)
    return drawn


def _words(rollouts: Sequence[Rollout]) -> Tokenizer:
    blanks = ["a ", "a\n"]  # a text may end with one
    return OpenVocabulary([text for r in rollouts for text in (r.prompt, r.completion, *r.references)] + blanks)


def _rollout_batch(rows: Sequence[Rollout], tokenizer: Tokenizer, texts: Sequence[str] | None = None) -> TextBatch:
    completions = [r.completion for r in rows] if texts is None else texts
    return TextBatch(
        [tokenizer.encode(r.prompt) for r in rows],
        [tokenizer.encode(text) for text in completions],
        tokenizer,
        [r.references for r in rows],
        [r.metadata for r in rows],
    )


def spaced(text: str) -> bool:
    """Whether the text is of a script with spaces between words."""
    return cjk_share(text) <= 0.5
