"""Best of n from one pool: N texts of every prompt are written and read once, whatever they are then chosen by.

The mean over all subsets of n of a prompt's N texts has no more noise than the pool has: the text of rank r is the best
of a random subset with probability C(r - 1, n - 1) / C(N, n), and texts of equal reward share theirs.
"""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64
from safetensors.numpy import load_file, save
from textgym.benchmarks.rewards.columns import places_of

from textgym.envs.tasks import Task
from textgym.models.causal_network import CausalNetwork
from textgym.models.sampling import generate
from textgym.text.store import write_atomic
from textgym.types import TokenIds

Places = Int64[np.ndarray, " N"]

SAMPLING_SEED = 0
"""Of every evaluation: text i of two rows is about the same prompt, drawn with the same random numbers."""

POOL_FILE = "pool.safetensors"


def fill(task: Task, network: CausalNetwork, prompts: int, each: int, target: Path) -> dict[str, Any]:
    """Writes the texts of a pool.

    Args:
        task: whose held-out prompts are completed.
        network: by which.
        prompts: P.
        each: N texts of each.
        target: the folder.

    Returns:
        How many texts, and how many tokens they have.
    """
    places = np.repeat(places_of(task, prompts), each)
    texts = generate(
        network,
        [task.heldout.prompt(place) for place in places.tolist()],
        sep_id=task.tokenizer.sep_id,
        eos_id=task.tokenizer.eos_id,
        max_new_tokens=task.max_new_tokens,
        seed=SAMPLING_SEED,
    ).ids
    lengths = np.array([len(ids) for ids in texts])
    write_atomic(target / POOL_FILE, save({"tokens": np.concatenate(texts), "lengths": lengths, "places": places}))
    return {"texts": len(texts), "tokens": int(lengths.sum())}


def read(path: Path) -> tuple[Places, list[TokenIds]]:
    """Places of the prompts and texts of a pool."""
    found = load_file(path)
    return found["places"], np.split(found["tokens"], np.cumsum(found["lengths"])[:-1])


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
