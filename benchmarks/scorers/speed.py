"""How fast scorers are: texts a CPU-second, growth with length, batches against a loop, and the cost of a token."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from textgym.scorers.bound import BoundScorer
from textgym.scorers.grammar import parse
from textgym.types import ScoringContext, TextBatch

TOKENS, ROWS = 60, 256
LOOP = 32
"""Texts of the one-by-one loop."""

TIMED = (
    "fluency",
    "fluency(lm='unigram')",
    "slor",
    "informativeness",
    "coherence",
    "order",
    "entity_grid",
    "relevance",
    "repetition",
    "distinct",
    "length",
    "content_words",
    "numeric",
    "bleu",
    "chrf",
    "rouge(n='L')",
    "f1",
)
STREAMED = ("fluency", "repetition")


def speeds(
    context: ScoringContext, *, rows: int = ROWS, tokens: int = TOKENS, repeats: int = 3
) -> Iterator[dict[str, Any]]:
    """One row a scorer; CPU time of this process, the best of some repeats."""
    short, long = (_batch(context, rows, tokens * times) for times in (1, 4))
    for name in TIMED:
        bound = parse(name).bind(context)
        cost = _cost(partial(_fresh, bound, short), repeats)
        longer = _cost(partial(_fresh, bound, long), repeats)
        some = short.rows(range(min(LOOP, rows)))
        alone = _cost(partial(_one_by_one, bound, some), repeats)
        yield {
            "data": f"speed, {tokens} tokens, batch {rows}",
            "scorer": name,
            "texts_per_cpu_second": round(rows / cost),
            "cost_at_four_times_the_length": round(longer / cost, 2),
            "batch_against_loop": round(alone / len(some) / (cost / rows), 2),
        }
    for name in STREAMED:
        yield {"data": "cost of token 1,000 over token 100", "scorer": name, "growth": _growth(name, context)}


def _batch(context: ScoringContext, rows: int, tokens: int) -> TextBatch:
    """Completions of exactly so many tokens, cut from the task's own references, one a text of its own."""
    references = context.references()
    ids = np.concatenate([ids for ids in references.content if len(ids)])
    starts = np.random.default_rng(0).integers(max(1, len(ids) - tokens), size=rows).tolist()
    texts = [np.resize(ids[start:], tokens).astype(np.int32) for start in starts]
    prompts = [references.prompts[i % len(references)] for i in range(rows)]
    others = [[context.tokenizer.decode(ids[start : start + tokens])] for start in starts[::-1]]
    return TextBatch(prompts, texts, context.tokenizer, others)


def _fresh(bound: BoundScorer, batch: TextBatch) -> None:
    """Scores a batch that has decoded no text yet."""
    bound.score(batch.rows(range(len(batch))))


def _one_by_one(bound: BoundScorer, batch: TextBatch) -> None:
    for i in range(len(batch)):
        _fresh(bound, batch.row(i))


def _cost(action: Callable[[], object], repeats: int) -> float:
    costs = []
    for _ in range(repeats):
        began = time.process_time()
        action()
        costs.append(time.process_time() - began)
    return max(min(costs), 1e-9)


def _growth(name: str, context: ScoringContext) -> float:
    """Mean cost of tokens 950-1,050 over that of tokens 50-150, of 64 texts."""
    rows = np.arange(64)
    stream = parse(name).stream(len(rows), context)
    assert stream is not None
    batch = _batch(context, len(rows), 1050)
    stream.begin(rows, batch.prompts)
    table = np.stack(batch.completions).astype(np.int64)
    costs = [_cost(partial(stream.advance, rows, table[:, step]), 1) for step in range(1050)]
    return round(float(np.mean(costs[950:1050]) / np.mean(costs[50:150])), 2)


def speed_table(rows: list[dict[str, Any]]) -> str:
    """Rows of speed as a table in Markdown."""
    lines = ["| scorer | texts a CPU-second | cost at 4x the length | batch against loop |", "|---|---|---|---|"]
    lines += [
        f"| `{row['scorer']}` | {row['texts_per_cpu_second']:,} | {row['cost_at_four_times_the_length']:g} | "
        f"{row['batch_against_loop']:g} |"
        for row in rows
        if "texts_per_cpu_second" in row
    ]
    growths = [f"`{row['scorer']}` {row['growth']:g}" for row in rows if "growth" in row]
    return "\n".join([*lines, "", f"Cost of token 1,000 over that of token 100: {', '.join(growths)}."])
