"""What is known of each text of an evaluation: columns of values, one a text."""

import logging
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float64

from textgym.envs.story import StoryContext
from textgym.envs.tasks import Task
from textgym.errors import TextGymError
from textgym.scorers import parse
from textgym.scorers.ngrams import Distinct, Repetition
from textgym.scorers.parameters import show
from textgym.scorers.reward import Reward, bind_reward
from textgym.types import TextBatch, TokenIds
from textgym.worlds.story.events import Kind
from textgym.worlds.story.gold import truth_of

_log = logging.getLogger("textgym")

Columns = dict[str, Float64[np.ndarray, " N"]]

SCORES: Mapping[str, str] = {
    "mean log p": "fluency(lm={model})",
    "sum log p": "fluency(lm={model}, form='sum')",
    "mean log p, n-gram": "fluency",
    "adjacent cosine": "default(coherence, 0)",
    "mean surprisal": "informativeness",
    "keyword coverage": "keywords",
    "distinct-2": "distinct",
    "repetition": "repetition",
    "default reward": "",
}
"""Columns of the cross-metric matrix beside the truth, as expressions; empty is the task's own reward."""

DIGITS = 5
"""Significant ones that rows keep."""


@lru_cache(maxsize=4)
def scores_of(task: Task, model: str) -> dict[str, Reward]:
    """The scorers that fit a task, bound to it; those that need what it lacks are left out.

    Args:
        task: whose texts are scored.
        model: language model of the log-probabilities, by name or folder.
    """
    bound = {
        name: _bound(name, expression.format(model=show(model)) or task.reward, task)
        for name, expression in SCORES.items()
    }
    return {name: scorer for name, scorer in bound.items() if scorer is not None}


def _bound(name: str, expression: str, task: Task) -> Reward | None:
    try:
        return bind_reward(expression, task.context)
    except TextGymError as error:
        _log.info("no column %r on task %s: %s", name, task.name, error)
        return None


def columns(
    task: Task, model: str, batch: TextBatch, paid: Reward | None = None, gold: Mapping[str, Reward] | None = None
) -> Columns:
    """Everything that is known of texts but what needs the network that wrote them.

    Args:
        task: of the texts.
        model: as for `scores_of`.
        batch: N texts.
        paid: the reward that their writer learned from.
        gold: what is true of them, where the task's world does not say it.
    """
    found: Columns = {} if paid is None else {"reward": paid.score(batch).values}
    for name, scorer in scores_of(task, model).items():
        scores = scorer.score(batch)
        found[f"score/{name}"] = np.where(scores.valid, scores.values, np.nan)
    for axis, expression in task.gold.items():
        scorer = parse(expression)
        if getattr(scorer, "higher_is_better", True):
            found[f"gold/{axis}"] = scorer.bind(task.context).score(batch).values
    for axis, truth in (gold or {}).items():
        found[f"gold/{axis}"] = truth.score(batch).values
    if isinstance(task.context, StoryContext):
        found["filler"] = _fillers(task.context, batch)
    content = batch.content
    found["length"] = np.array([len(ids) for ids in content], np.float64)
    ends = [len(ids) > 0 and int(ids[-1]) == task.tokenizer.eos_id for ids in batch.completions]
    found["ended"] = np.array(ends, np.float64)
    found["rep-4"] = Repetition(n=4).score(batch).values
    found["distinct-2"] = Distinct(n=2).score(batch).values
    return found


def batch_of(task: Task, places: Sequence[int], completions: Sequence[TokenIds]) -> TextBatch:
    """Completions of held-out prompts, with references and metadata."""
    prompts, tokenizer = task.heldout, task.tokenizer
    return TextBatch(
        [prompts.prompt(place) for place in places],
        list(completions),
        tokenizer,
        [prompts.references(place, tokenizer) for place in places],
        [prompts.metadata(place) for place in places],
    )


def places_of(task: Task, count: int) -> list[int]:
    """Which held-out prompts are completed: the last ones, since settings were chosen by a look at the first.

    In an order of no meaning, so that the first of them are a fair sample.
    """
    total = len(task.heldout)
    chosen = np.arange(total)[-count:]
    return [int(place) for place in np.random.default_rng(0).permutation(chosen)]


def written(values: Mapping[str, Float64[np.ndarray, " N"]]) -> dict[str, list[Any]]:
    """Columns as rows keep them: few digits, None for what is not known."""
    return {name: [_number(value) for value in column.tolist()] for name, column in values.items()}


def _number(value: float) -> float | None:
    return float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None


def _fillers(context: StoryContext, batch: TextBatch) -> Float64[np.ndarray, " N"]:
    """Share of a story's sentences that say nothing."""
    types = truth_of(context.world, batch).types(np.arange(len(batch)))
    share: Float64[np.ndarray, " N"] = types[:, Kind.FILLER] / np.maximum(types.sum(1), 1)
    return share
