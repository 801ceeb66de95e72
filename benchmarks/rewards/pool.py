"""Best of n from one pool: N texts of every prompt are written and read once, whatever they are then chosen by.

The mean over all subsets of n of a prompt's N texts has no more noise than the pool has: the text of rank r is the best
of a random subset with probability C(r - 1, n - 1) / C(N, n), and texts of equal reward share theirs.
"""

import io
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64
from textgym.benchmarks.rewards.columns import batch_of, columns, places_of, written
from textgym.benchmarks.rewards.pinned import pinned
from textgym.benchmarks.rewards.plan import Job, key_of, pool_of
from textgym.benchmarks.rewards.writers import MADE, SAMPLING_SEED, language_model, task_of

from textgym.models.sampling import generate
from textgym.scorers.reward import bind_reward
from textgym.text.store import write_atomic

POOL_FILE = "pool.npz"
AT_ONCE = 4096
"""Texts that are read at a time."""


def pool_folder(job: Job, folder: Path) -> Path:
    """Where the pool of a job lies, which is written where it is missing."""
    made = folder / MADE / key_of(pool_of(job))
    if not (made / POOL_FILE).exists():
        _fill(job, folder, made)
    return made


def _fill(job: Job, folder: Path, made: Path) -> None:
    task, network, each = task_of(job), language_model(job, folder), job["pool"]
    places = np.repeat(places_of(task, job["prompts"]), each)
    texts = generate(
        network,
        [task.heldout.prompt(place) for place in places.tolist()],
        sep_id=task.tokenizer.sep_id,
        eos_id=task.tokenizer.eos_id,
        max_new_tokens=task.max_new_tokens,
        seed=SAMPLING_SEED,
    ).ids
    parts = [
        columns(task, job["model"], batch_of(task, places[some].tolist(), texts[some]))
        for some in (slice(begin, begin + AT_ONCE) for begin in range(0, len(texts), AT_ONCE))
    ]
    known = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    lengths = np.array([len(ids) for ids in texts])
    buffer = io.BytesIO()
    np.savez(buffer, tokens=np.concatenate(texts), lengths=lengths, places=places, **known)
    made.mkdir(parents=True, exist_ok=True)
    write_atomic(made / POOL_FILE, buffer.getvalue())


def best(job: Job, folder: Path) -> dict[str, Any]:
    """What the best of n by the reward of a job come to, a value a prompt."""
    task, n = task_of(job), int(job["variant"]["n"])
    with np.load(pool_folder(job, folder) / POOL_FILE, allow_pickle=False) as file:
        known = {name: file[name] for name in file.files}
    tokens, lengths, places = known.pop("tokens"), known.pop("lengths"), known.pop("places")
    texts = np.split(tokens, np.cumsum(lengths)[:-1])
    paid = bind_reward(job["reward"] or task.reward, task.context)
    known["reward"] = np.concatenate(
        [
            paid.score(batch_of(task, places[some].tolist(), texts[some])).values
            for some in (slice(begin, begin + AT_ONCE) for begin in range(0, len(texts), AT_ONCE))
        ]
    )
    each = job["pool"]
    weights = chosen(known["reward"].reshape(-1, each), n)
    values = {name: (column.reshape(-1, each) * weights).sum(1) for name, column in known.items()}
    firsts = places.reshape(-1, each)[: job["pinned"], 0].tolist()
    picked = known["reward"].reshape(-1, each)[: job["pinned"], :n].argmax(1).tolist()
    shown = [
        pinned(task, place, texts[row * each + pick], "sampled", paid)
        for row, (place, pick) in enumerate(zip(firsts, picked, strict=True))
    ]
    evaluation = {"tokens": 0, "way": "sampled", "final": True, "values": written(values)}
    facts = {"kl": float(np.log(n) - (n - 1) / n), "n": n}
    return {"evaluations": [evaluation], "curve": [], "texts": shown, "facts": facts}


def chosen(rewards: Float64[np.ndarray, "P N"], n: int) -> Float64[np.ndarray, "P N"]:
    """How probably each of a prompt's N texts is the best of n that are drawn from them without replacement.

    Args:
        rewards: of P prompts.
        n: from 1 to N.
    """
    total = rewards.shape[1]
    # C(r - 1, n - 1) / C(N, n) by the ratio of neighbours, from the largest: no factorial overflows.
    of_rank = np.zeros(total)
    of_rank[-1] = n / total
    for rank in range(total - 1, n - 1, -1):
        of_rank[rank - 1] = of_rank[rank] * (rank - n + 1) / rank
    order = np.argsort(rewards, axis=1, kind="stable")
    ranked = np.take_along_axis(rewards, order, axis=1)
    weights = np.empty_like(rewards, dtype=np.float64)
    for row in range(len(rewards)):
        starts = np.flatnonzero(np.diff(ranked[row], prepend=np.nan) != 0)
        counts = np.diff(starts, append=total)
        weights[row, order[row]] = np.repeat(np.add.reduceat(of_rank, starts) / counts, counts)
    return weights
