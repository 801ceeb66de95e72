"""Best of n by a design: what the texts of a pool come to that its reward would choose."""

import hashlib
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
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
    task, paid, uses = ground.task, ground.paid, job[USES]["pool"]
    assert paid is not None
    places, texts = read(made(uses, folder) / POOL_FILE)
    each, known = uses["texts"], read_columns(uses, folder, ground, places, texts)
    known["reward"] = _by_parts(lambda batch: {"reward": paid.score(batch).values}, task, places, texts)["reward"]
    weights = chosen(known["reward"].reshape(-1, each), n)
    values = {name: (column.reshape(-1, each) * weights).sum(1) for name, column in known.items()}
    picked = known["reward"].reshape(-1, each)[: job["pinned"], :n].argmax(1).tolist()
    shown = [
        pinned(task, int(places[row * each]), texts[row * each + pick], "sampled", paid)
        for row, pick in enumerate(picked)
    ]
    evaluation = {"tokens": 0, "way": "sampled", "final": True, "values": written(values)}
    facts = {"kl": float(np.log(n) - (n - 1) / n), "n": n}
    return {"evaluations": [evaluation], "curve": [], "texts": shown, "facts": facts}


def read_columns(uses: Job, folder: Path, ground: Ground, places: Places, texts: list[TokenIds]) -> Columns:
    """What is known of the texts of a pool, whoever chooses; kept beside them, for the next that chooses."""
    about = json.dumps([ground.task.signature, ground.judge, {a: r.signature for a, r in ground.gold.items()}])
    path = made(uses, folder) / f"columns-{hashlib.sha256(about.encode()).hexdigest()[:16]}.npz"
    if not path.exists():
        found = _by_parts(
            lambda batch: columns(ground.task, ground.judge, batch, gold=ground.gold), ground.task, places, texts
        )
        buffer = io.BytesIO()
        np.savez(buffer, **found)
        write_atomic(path, buffer.getvalue())
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _by_parts(read: Callable[[TextBatch], Columns], task: Task, places: Places, texts: Sequence[TokenIds]) -> Columns:
    parts = [
        read(batch_of(task, places[begin : begin + AT_ONCE].tolist(), texts[begin : begin + AT_ONCE]))
        for begin in range(0, len(texts), AT_ONCE)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
