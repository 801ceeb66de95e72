"""Texts that a report shows: what each token earned of the reward, by component, and what is wrong with it."""

from typing import Any

import numpy as np
from jaxtyping import Float64
from textgym.benchmarks.rewards.columns import batch_of, written

from textgym.envs.story import StoryContext
from textgym.envs.tasks import Task
from textgym.reports.labels import ENGLISH
from textgym.reports.marks import marks
from textgym.scorers.reward import Reward
from textgym.types import TokenIds
from textgym.worlds.story.explain import explain

Text = dict[str, Any]


def pinned(task: Task, place: int, completion: TokenIds, way: str, paid: Reward | None) -> Text:
    """A text as rows keep it.

    What a token earned is how much the reward of the prefix rose by it, whatever the delivery: the sum is the reward.

    Args:
        task: of the text.
        place: of its prompt among the held-out ones.
        completion: T ids.
        way: how it was written.
        paid: the reward; None for none.
    """
    tokenizer = task.tokenizer
    batch = batch_of(task, [place], [completion])
    pieces = [tokenizer.decode(completion[: end + 1]) for end in range(len(completion))]
    tokens = [piece[len(before) :] for before, piece in zip(["", *pieces], pieces, strict=False)]
    found: Text = {"brief": place, "way": way, "prompt": batch.prompt_texts[0], "tokens": tokens, "components": {}}
    found["credit"] = [0.0] * len(tokens)
    if paid is not None and tokens:
        earned = _earned(task, place, completion, paid)
        found["credit"] = written({"": earned.pop("")})[""]
        found["components"] = written(earned)
    found["marks"] = _marks(task, batch.prompts[0], completion)
    return found


def _earned(task: Task, place: int, completion: TokenIds, paid: Reward) -> dict[str, Float64[np.ndarray, " T"]]:
    """By component, and of the reward by the name "", what each token added."""
    prefixes = [completion[:end] for end in range(len(completion) + 1)]
    scores = paid.score(batch_of(task, [place] * len(prefixes), prefixes))
    columns = {"": scores.values, **(scores.components if len(scores.components) > 1 else {})}
    return {name: np.diff(np.nan_to_num(column), prepend=0.0)[1:] for name, column in columns.items()}


def _marks(task: Task, prompt: TokenIds, completion: TokenIds) -> list[dict[str, Any]]:
    """What is wrong with a story, at its tokens; nothing where the truth is not known word by word."""
    context = task.context
    if not isinstance(context, StoryContext) or task.tokenizer.signature != context.world.lexicon.tokenizer.signature:
        return []
    sentences = explain(context.world, prompt, completion).sentences
    starts = np.cumsum([0, *(len(sentence.tokens) for sentence in sentences)]).tolist()
    return [
        {"token": start + mark.token, "text": mark.text, "severe": mark.severe}
        for start, sentence in zip(starts, sentences, strict=False)
        for mark in marks(sentence, ENGLISH)
    ]
