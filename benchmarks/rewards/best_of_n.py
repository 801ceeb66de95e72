"""Best of n by a design: what the texts of a pool come to that its reward would choose."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save
from textgym.benchmarks.rewards.columns import Columns, batch_of, columns, written
from textgym.benchmarks.rewards.ground import Ground, ground_of
from textgym.benchmarks.rewards.job import USES, Job
from textgym.benchmarks.rewards.making import made
from textgym.benchmarks.rewards.pinned import pinned
from textgym.benchmarks.rewards.pool import POOL_FILE, Places, chosen, read

from textgym.envs.tasks import Task
from textgym.text.store import write_atomic
from textgym.types import TextBatch, TokenIds

AT_ONCE = 4096
"""Texts that are read at a time."""


def best(job: Job, folder: Path) -> dict[str, Any]:
    """What the best of n by the reward of a job come to, a value a prompt."""
    ground, n = ground_of(job, folder), int(job["variant"]["n"])
    task, paid, pool = ground.task, ground.paid, job[USES]["pool"]
    assert paid is not None
    places, texts = read(made(pool, folder) / POOL_FILE)
    each, known = pool["texts"], known_of(pool, folder, ground, places, texts)
    rewards = known["reward"].reshape(-1, each)
    weights = chosen(rewards, n)
    values = {name: (column.reshape(-1, each) * weights).sum(1) for name, column in known.items()}
    picked = rewards[: job["pinned"], :n].argmax(1).tolist()
    shown = [
        pinned(task, int(places[row * each]), texts[row * each + pick], "sampled", paid)
        for row, pick in enumerate(picked)
    ]
    start = {"tokens": 0, "way": "sampled", "final": False, "values": written({"reward": rewards.mean(1)})}
    evaluation = {"tokens": 0, "way": "sampled", "final": True, "values": written(values)}
    facts = {"kl": float(np.log(n) - (n - 1) / n), "n": n}
    return {"evaluations": [start, evaluation], "curve": [], "texts": shown, "facts": facts}


def known_of(pool: Job, folder: Path, ground: Ground, places: Places, texts: list[TokenIds]) -> Columns:
    """What is known of the texts of a pool, and what they are paid; kept beside them, for the next that chooses."""
    task, paid = ground.task, ground.paid
    assert paid is not None
    target = made(pool, folder)
    truths = {axis: truth.signature for axis, truth in ground.gold.items()}
    found = _kept(
        target,
        ["columns", task.signature, ground.judge, truths],
        lambda: _by_parts(lambda batch: columns(task, ground.judge, batch, gold=ground.gold), task, places, texts),
    )
    return found | _kept(
        target,
        ["reward", paid.signature],
        lambda: _by_parts(lambda batch: {"reward": paid.score(batch).values}, task, places, texts),
    )


def _kept(folder: Path, about: list[Any], make: Callable[[], Columns]) -> Columns:
    path = folder / f"{about[0]}-{hashlib.sha256(json.dumps(about).encode()).hexdigest()[:16]}.safetensors"
    if not path.exists():
        write_atomic(path, save(make()))
    return load_file(path)


def _by_parts(read: Callable[[TextBatch], Columns], task: Task, places: Places, texts: Sequence[TokenIds]) -> Columns:
    parts = [
        read(batch_of(task, places[begin : begin + AT_ONCE].tolist(), texts[begin : begin + AT_ONCE]))
        for begin in range(0, len(texts), AT_ONCE)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
