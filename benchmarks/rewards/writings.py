"""What a network writes about held-out prompts, and what is known of it."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from textgym.benchmarks.rewards.columns import Columns, batch_of, columns, places_of, written
from textgym.benchmarks.rewards.ground import Ground, ground_of
from textgym.benchmarks.rewards.job import Job
from textgym.benchmarks.rewards.pinned import pinned
from textgym.benchmarks.rewards.pool import SAMPLING_SEED

from textgym.envs.episodes import Episodes
from textgym.envs.tasks import Task
from textgym.models.causal_network import CausalNetwork
from textgym.models.checkpoint import load_checkpoint
from textgym.models.layout import lay_out
from textgym.models.likelihood import logprob_and_entropy
from textgym.models.sampling import Sampling, generate
from textgym.runs.complete import complete, within_masks
from textgym.runs.evaluate import ROWS, sequence_kl
from textgym.types import TokenIds

WAYS = {"sampled": None, "greedy": Sampling(temperature=0)}


def reference(job: Job, folder: Path) -> dict[str, Any]:
    """What runs begin as."""
    ground = ground_of(job, folder)
    network = ground.network()
    return writings(network, network, job, ground)


def corpus(job: Job, folder: Path) -> dict[str, Any]:
    """The texts that the task itself has for the held-out prompts; nothing where it has none."""
    ground = ground_of(job, folder)
    task, places = ground.task, places_of(ground.task, job["prompts"])
    found: dict[str, Any] = {"evaluations": [], "curve": [], "texts": [], "facts": {}}
    if not all(task.heldout.references(place, task.tokenizer) for place in places):
        return found
    ids = [task.heldout.reference(place) for place in places]
    values = columns(task, ground.judge, batch_of(task, places, ids), gold=ground.gold)
    evaluation = {"tokens": 0, "way": "sampled", "final": True, "values": written(values)}
    shown = [pinned(task, place, ids[i], "corpus", None) for i, place in enumerate(places[: job["pinned"]])]
    return found | {"evaluations": [evaluation], "texts": shown}


def writings(
    network: CausalNetwork,
    reference: CausalNetwork,
    job: Job,
    ground: Ground,
    tokens: int = 0,
    obeyed: Episodes | None = None,
) -> dict[str, Any]:
    """What a network is evaluated by at the end: sampled and greedy, and the texts that are shown.

    Args:
        network: the policy.
        reference: what its KL is measured from.
        job: says how many prompts.
        ground: of the job.
        tokens: that the policy has learned from.
        obeyed: rules of an environment whose constraints the texts obey; None for none.
    """
    task, found, shown = ground.task, [], []
    places = places_of(task, job["prompts"])
    for way in WAYS:
        completions, values = written_about(network, reference, ground, places, way, obeyed)
        found.append({"tokens": tokens, "way": way, "final": True, "values": written(values)})
        for place, completion in zip(places[: job["pinned"]], completions, strict=False):
            shown.append(pinned(task, place, completion, way, ground.paid))
    return {"evaluations": found, "curve": [], "texts": shown, "facts": {}}


def before(ground: Ground, places: list[int]) -> list[dict[str, Any]]:
    """What the texts of the model that a run begins as earn by its reward, which says what it has learned."""
    assert ground.paid is not None
    found = []
    for way in WAYS:
        completions = _at_start(ground.task, ground.start, tuple(places), way)
        values = {"reward": ground.paid.score(batch_of(ground.task, places, completions)).values}
        found.append({"tokens": 0, "way": way, "final": False, "values": written(values)})
    return found


@lru_cache(maxsize=8)
def _at_start(task: Task, start: str, places: tuple[int, ...], way: str) -> list[TokenIds]:
    """The same for every run of a process that begins so."""
    return _completed(load_checkpoint(start).model.eval(), task, list(places), way)


def _completed(
    network: CausalNetwork, task: Task, places: list[int], way: str, obeyed: Episodes | None = None
) -> list[TokenIds]:
    if obeyed is not None:
        choose = within_masks(network, SAMPLING_SEED, greedy=WAYS[way] is not None)
        return complete(choose, obeyed, np.array(places), rows=ROWS)
    return generate(
        network,
        [task.heldout.prompt(place) for place in places],
        sep_id=task.tokenizer.sep_id,
        eos_id=task.tokenizer.eos_id,
        max_new_tokens=task.max_new_tokens,
        sampling=WAYS[way],
        seed=SAMPLING_SEED,
    ).ids


def written_about(
    network: CausalNetwork,
    reference: CausalNetwork,
    ground: Ground,
    places: list[int],
    way: str,
    obeyed: Episodes | None = None,
) -> tuple[list[TokenIds], Columns]:
    """Completions of held-out prompts, and what is known of them; the KL of those alone that were drawn."""
    task, completions = ground.task, _completed(network, ground.task, places, way, obeyed)
    values = columns(task, ground.judge, batch_of(task, places, completions), ground.paid, ground.gold)
    if WAYS[way] is None:
        ids, sep_id = [task.heldout.prompt(place) for place in places], task.tokenizer.sep_id
        values["kl"] = sequence_kl(network, reference, ids, completions, sep_id)
        values["entropy"] = sequence_entropy(network, ids, completions, sep_id)
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
        places, count = states.nonzero()[:, 0].cpu().numpy(), len(states)
        steps = np.bincount(places, minlength=count)
        found.append(np.bincount(places, entropy, count) / np.maximum(steps, 1))
    return np.concatenate(found)
