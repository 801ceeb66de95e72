"""Rows: the truth of what each reward picks from a pool, and of what it is compared with."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64
from scipy.stats import bootstrap
from textgym.benchmarks.naive_rewards.rewards import REWARDS

from textgym.envs.story import story_task
from textgym.envs.tasks import Task, make_task
from textgym.models.checkpoint import load_checkpoint
from textgym.models.sampling import Sampling, generate
from textgym.runs.config import versions
from textgym.scorers import parse
from textgym.scorers.ngrams import Distinct, Repetition
from textgym.types import TextBatch
from textgym.worlds.story.gold import AXES

POOL, GREEDY, CORPUS, CLEAN = "the pool", "greedy", "corpus", "clean stories"


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Args:
        model: checkpoint, by folder or name.
        task: which story world.
        prompts: held-out briefs.
        n: completions of each.
        seed: of sampling.
    """

    model: str = "story-small"
    task: str = "story"
    prompts: int = 200
    n: int = 64
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Pool:
    """Texts of P briefs, n each, one brief after the other, with what is known of each.

    Attributes:
        batch: P n texts.
        facts: by name, (P n,): gold axes, length, rep-4, distinct-2.
    """

    batch: TextBatch
    facts: dict[str, Float64[np.ndarray, " N"]]


def rows(plan: Plan) -> Iterator[dict[str, Any]]:
    """One row for each thing compared, as JSON-able values; the yardsticks first."""
    task = make_task(plan.task)
    pool = sampled(plan, task, plan.n, None)
    every = np.arange(len(pool.batch)).reshape(plan.prompts, plan.n)
    yield _row(plan, POOL, "", pool, every)
    greedy = sampled(plan, task, 1, Sampling(temperature=0))
    yield _row(plan, GREEDY, "", greedy, np.arange(plan.prompts)[:, None])
    for name, known in ((CORPUS, task), (CLEAN, _clean(plan))):
        yield _row(plan, name, "", known_of(references(known, plan.prompts), known), np.arange(plan.prompts)[:, None])
    for name, expression in REWARDS.items():
        text = expression.format(model=plan.model) or task.reward
        values = parse(text).bind(task.context).score(pool.batch).values.reshape(every.shape)
        best = every[np.arange(plan.prompts), values.argmax(1)][:, None]
        yield _row(plan, name, text, pool, best, gain=(values.max(1) - values.mean()) / values.std())


def sampled(plan: Plan, task: Task, n: int, sampling: Sampling | None) -> Pool:
    """Completions of the first held-out briefs, n of each."""
    model = load_checkpoint(plan.model).model
    prompts, tokenizer = task.heldout, task.tokenizer
    places = np.repeat(np.arange(plan.prompts), n).tolist()
    ids = [prompts.prompt(i) for i in places]
    made = generate(
        model,
        ids,
        sep_id=tokenizer.sep_id,
        eos_id=tokenizer.eos_id,
        max_new_tokens=task.max_new_tokens,
        sampling=sampling,
        seed=plan.seed,
    )
    return known_of(TextBatch(ids, made.ids, tokenizer, (), [prompts.metadata(i) for i in places]), task)


def references(task: Task, count: int) -> TextBatch:
    """The first held-out briefs with the stories that the generator wrote."""
    prompts = task.heldout
    return TextBatch(
        [prompts.prompt(i) for i in range(count)], [prompts.reference(i) for i in range(count)], task.tokenizer
    )


def known_of(batch: TextBatch, task: Task) -> Pool:
    """Texts with everything that is known of them."""
    facts = {axis: parse(text).bind(task.context).score(batch).values for axis, text in AXES.items()}
    facts["length"] = np.array([len(ids) for ids in batch.completions], dtype=np.float64)
    facts["rep-4"], facts["distinct-2"] = Repetition(n=4).score(batch).values, Distinct(n=2).score(batch).values
    return Pool(batch, facts)


def _clean(plan: Plan) -> Task:
    preset, language = ("base" if "base" in plan.task else "small"), ("zh" if plan.task.endswith("zh") else "en")
    return story_task(preset, language, noise=0.0, repetition=0.0)


def _row(
    plan: Plan,
    name: str,
    reward: str,
    pool: Pool,
    chosen: Int64[np.ndarray, "P K"],
    **more: Float64[np.ndarray, " P"],
) -> dict[str, Any]:
    """Means over briefs with their 95% intervals, and the first brief's first text."""
    columns = {fact: values[chosen].mean(1) for fact, values in pool.facts.items()} | more
    first = pool.batch.rows(chosen[:3, 0].tolist())
    return {
        "name": name,
        "reward": reward,
        "measured": {fact: _interval(values, plan.seed) for fact, values in columns.items()},
        "samples": [
            {"prompt": prompt, "text": text}
            for prompt, text in zip(first.prompt_texts, first.completion_texts, strict=True)
        ],
        "config": asdict(plan),
        "versions": versions(),
    }


def _interval(values: Sequence[float] | Float64[np.ndarray, " P"], seed: int) -> list[float]:
    """Mean, and its bootstrap 95% interval over briefs."""
    column = np.asarray(values, dtype=np.float64)
    mean = float(column.mean())
    if np.ptp(column) == 0:
        return [mean, mean, mean]
    found = bootstrap((column,), np.mean, rng=np.random.default_rng(seed), n_resamples=2000).confidence_interval
    return [mean, float(found.low), float(found.high)]
