"""Language models that jobs begin with, and what a network writes about held-out prompts."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from textgym.benchmarks.rewards.columns import Columns, batch_of, columns, places_of, written
from textgym.benchmarks.rewards.pinned import pinned
from textgym.benchmarks.rewards.plan import Job, fit_of, key_of

from textgym.envs.tasks import Task
from textgym.models.causal_network import CausalNetwork
from textgym.models.checkpoint import load_checkpoint
from textgym.models.layout import lay_out
from textgym.models.likelihood import logprob_and_entropy
from textgym.models.sampling import Sampling, generate
from textgym.runs.config import TrainConfig
from textgym.runs.evaluate import sequence_kl
from textgym.runs.train import open_task, pretrained_model
from textgym.scorers.reward import Reward
from textgym.types import TokenIds

WAYS = {"sampled": None, "greedy": Sampling(temperature=0)}
MADE = "made"
"""Folder beside the rows of what jobs make for others."""

SAMPLING_SEED = 0
"""Of every evaluation: text i of two rows is about the same prompt, drawn with the same random numbers."""


@dataclass(frozen=True)
class Writer:
    """Who writes.

    Attributes:
        network: the policy.
        reference: what its KL is measured from.
    """

    network: CausalNetwork
    reference: CausalNetwork


def task_of(job: Job) -> Task:
    """The task of a job, with the tokenizer of its model."""
    return _task(job["task"], job["model"])


@lru_cache(maxsize=2)
def _task(name: str, model: str) -> Task:
    return open_task(TrainConfig(task=name, model=model), None)


def starts_as(job: Job, folder: Path) -> str:
    """The checkpoint that a job begins with: the plan's own, or one that is fitted where that was not done before."""
    return str(job["model"]) if not job["checkpoint"] else str(fitted(job, folder))


def fitted(job: Job, folder: Path) -> Path:
    """Where a further language model lies, which is fitted by maximum likelihood where it is missing."""
    made = folder / MADE / key_of(fit_of(job))
    if not made.exists():
        config = TrainConfig(
            task=job["task"], model_size=job["size"], pretrain_tokens=job["pretrain_tokens"], seed=job["checkpoint"]
        )
        pretrained_model(config, task_of(job), made, None)
    return made


def language_model(job: Job, folder: Path) -> CausalNetwork:
    """Its network."""
    return load_checkpoint(starts_as(job, folder)).model.eval()


def writings(writer: Writer, job: Job, paid: Reward | None, tokens: int = 0) -> dict[str, Any]:
    """What a writer is evaluated by at the end: sampled and greedy, and the texts that are shown."""
    task, found, shown = task_of(job), [], []
    places = places_of(task, job["prompts"])
    for way in WAYS:
        completions, values = written_about(writer, task, job, places, way, paid)
        found.append({"tokens": tokens, "way": way, "final": True, "values": written(values)})
        for place, completion in zip(places[: job["pinned"]], completions, strict=False):
            shown.append(pinned(task, place, completion, way, paid))
    return {"evaluations": found, "curve": [], "texts": shown, "facts": {}}


def written_about(
    writer: Writer, task: Task, job: Job, places: list[int], way: str, paid: Reward | None
) -> tuple[list[TokenIds], Columns]:
    """Completions of held-out prompts, and what is known of them; the KL of those alone that were drawn."""
    ids = [task.heldout.prompt(place) for place in places]
    completions = generate(
        writer.network,
        ids,
        sep_id=task.tokenizer.sep_id,
        eos_id=task.tokenizer.eos_id,
        max_new_tokens=task.max_new_tokens,
        sampling=WAYS[way],
        seed=SAMPLING_SEED,
    ).ids
    values = columns(task, job["model"], batch_of(task, places, completions), paid)
    if WAYS[way] is None:
        sep_id = task.tokenizer.sep_id
        values["kl"] = sequence_kl(writer.network, writer.reference, ids, completions, sep_id)
        values["entropy"] = sequence_entropy(writer.network, ids, completions, sep_id)
    return completions, values


@torch.no_grad()
def sequence_entropy(
    network: CausalNetwork, prompts: list[TokenIds], completions: list[TokenIds], sep_id: int, batch_rows: int = 64
) -> Float64[np.ndarray, " N"]:
    """Mean entropy of the next token along each completion, in nats."""
    found = []
    for begin in range(0, len(prompts), batch_rows):
        rows = slice(begin, begin + batch_rows)
        layout = lay_out(prompts[rows], completions[rows], sep_id=sep_id, device=network.device)
        states = layout.completions()
        logits = network.logits(network(layout.tokens[:, :-1])[states])
        entropy = logprob_and_entropy(logits, layout.tokens[:, 1:][states])[1].double().cpu().numpy()
        places = states.nonzero()[:, 0].cpu().numpy()
        found.append(
            np.bincount(places, entropy, len(states)) / np.maximum(np.bincount(places, minlength=len(states)), 1)
        )
    return np.concatenate(found)
