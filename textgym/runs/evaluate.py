"""Completions of held-out prompts by a model or an agent, scored: what "before" and "after" mean."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64, Int64
from scipy.stats import bootstrap
from stable_baselines3.common.base_class import BaseAlgorithm

from textgym.envs.episodes import Episodes
from textgym.envs.tasks import Task
from textgym.models.causal_network import CausalNetwork
from textgym.models.fit import perplexity
from textgym.models.layout import lay_out
from textgym.models.likelihood import kl_divergence
from textgym.models.sampling import Sampling, generate
from textgym.runs.complete import as_it_acts, complete, is_language_model, takes_masks, within_masks
from textgym.scorers import parse
from textgym.scorers.reward import Reward
from textgym.types import TextBatch, TokenIds

ALWAYS = ("repetition", "distinct")
"""Scorers that are reported whatever the reward is."""

ROWS = 64
"""Prompts that an agent completes side by side, where it is asked for every token."""


@dataclass(frozen=True)
class Evaluation:
    """N completions and what is known of each.

    Attributes:
        prompts: N texts.
        completions: N texts.
        values: by name, one value a completion (N,): reward, reward/<component>, length, ended, repetition, distinct,
            kl where a language model wrote them, and gold/<axis> where the task knows the truth.
        perplexity: of the held-out references under the model, per token; None where no language model wrote.
        batch: the same prompts and completions as ids, with references and metadata.
    """

    prompts: list[str]
    completions: list[str]
    values: dict[str, Float64[np.ndarray, " N"]]
    perplexity: float | None
    batch: TextBatch

    def means(self) -> dict[str, float]:
        """The mean of each value, and the perplexity where there is one."""
        means = {name: float(values.mean()) for name, values in self.values.items()}
        return means if self.perplexity is None else means | {"perplexity": self.perplexity}


def evaluate(
    model: CausalNetwork,
    reference: CausalNetwork,
    task: Task,
    reward: Reward,
    *,
    n: int,
    seed: int,
    sampling: Sampling | None = None,
    constrained: Episodes | None = None,
) -> Evaluation:
    """Completes `n` prompts by a language model and scores them.

    Args:
        model: what completes.
        reference: what the KL is measured against.
        task: whose held-out prompts are completed; the same `n` and `seed` always take the same.
        reward: bound to the task.
        n: how many prompts; fewer if the split is smaller.
        seed: of the choice of prompts and of sampling.
        sampling: temperature 1 if None.
        constrained: the rules of an environment whose constraints the completions obey; None for none.
    """
    tokenizer, chosen = task.tokenizer, _chosen(task, n, seed)
    ids = [task.heldout.prompt(int(i)) for i in chosen]
    if constrained is not None:
        made = complete(within_masks(model, seed), constrained, chosen, rows=ROWS)
    else:
        made = generate(
            model,
            ids,
            sep_id=tokenizer.sep_id,
            eos_id=tokenizer.eos_id,
            max_new_tokens=task.max_new_tokens,
            sampling=sampling or Sampling(),
            seed=seed,
        ).ids
    values = {"kl": sequence_kl(model, reference, ids, made, tokenizer.sep_id)}
    return _scored(task, reward, chosen, made, values, perplexity(model, task.heldout, sep_id=tokenizer.sep_id))


def evaluate_agent(
    agent: BaseAlgorithm, reference: CausalNetwork, task: Task, reward: Reward, *, n: int, seed: int
) -> Evaluation:
    """Completes `n` prompts by an agent, as it acts with `deterministic=False`, and scores them.

    An agent that is its language model is evaluated as one. Any other has no KL and no perplexity: what it writes is
    not what its network, if it has one, would draw.

    Args:
        agent: what completes.
        reference: what the KL is measured against.
        task: as for `evaluate`, as is all else.
        reward: bound to the task.
        n: how many prompts.
        seed: of the choice of prompts and of what is drawn.
    """
    if is_language_model(agent):
        network: Any = agent.policy.transformer
        return evaluate(network, reference, task, reward, n=n, seed=seed)
    chosen = _chosen(task, n, seed)
    made = complete(as_it_acts(agent, seed), heldout_episodes(agent, task), chosen, rows=ROWS)
    return _scored(task, reward, chosen, made, {}, None)


def constraints_of(agent: BaseAlgorithm, task: Task) -> Episodes | None:
    """What an agent's texts obey, for prompts that are held out; None where it looks at no masks, or there are none."""
    episodes = heldout_episodes(agent, task)
    return episodes if episodes.constraints and takes_masks(agent) else None


def heldout_episodes(agent: BaseAlgorithm, task: Task) -> Episodes:
    """The rules of an agent's environment, with the prompts that are held out."""
    env = agent.get_env()
    assert env is not None
    episodes: Episodes = env.get_attr("episodes")[0]
    return replace(episodes, prompts=task.heldout)


def _chosen(task: Task, n: int, seed: int) -> Int64[np.ndarray, " N"]:
    return np.sort(np.random.default_rng(seed).permutation(len(task.heldout))[:n])


def _scored(
    task: Task,
    reward: Reward,
    chosen: Int64[np.ndarray, " N"],
    made: list[TokenIds],
    measured: dict[str, Float64[np.ndarray, " N"]],
    held_out: float | None,
) -> Evaluation:
    prompts, tokenizer = task.heldout, task.tokenizer
    ids = [prompts.prompt(int(i)) for i in chosen]
    references = [prompts.references(int(i), tokenizer) for i in chosen]
    batch = TextBatch(ids, made, tokenizer, references, [prompts.metadata(int(i)) for i in chosen])
    scores = reward.score(batch)
    values = {"reward": scores.values} | {f"reward/{name}": column for name, column in scores.components.items()}
    for name in ALWAYS:
        values[name] = parse(name).bind(task.context).score(batch).values
    for name, truth in task.gold.items():
        values[f"gold/{name}"] = parse(truth).bind(task.context).score(batch).values
    values |= measured
    values["length"] = np.array([len(row) for row in batch.content], np.float64)
    values["ended"] = np.array([len(row) > 0 and row[-1] == tokenizer.eos_id for row in made], np.float64)
    return Evaluation(batch.prompt_texts, batch.completion_texts, values, held_out, batch)


@torch.no_grad()
def sequence_kl(
    model: CausalNetwork,
    reference: CausalNetwork,
    prompts: list[TokenIds],
    completions: list[TokenIds],
    sep_id: int,
    batch_rows: int = 64,
) -> Float64[np.ndarray, " N"]:
    """KL(model || reference) along each completion in nats: the sum over its states of the exact next-token KL.

    Its mean over completions sampled from `model` estimates the KL between distributions over texts (Amini 2025).
    """
    sums = np.zeros(len(prompts))
    for begin in range(0, len(prompts), batch_rows):
        rows = slice(begin, begin + batch_rows)
        layout = lay_out(prompts[rows], completions[rows], sep_id=sep_id, device=model.device)
        states = layout.completions()
        hidden, reference_hidden = model(layout.tokens[:, :-1])[states], reference(layout.tokens[:, :-1])[states]
        steps = kl_divergence(model.logits(hidden), reference.logits(reference_hidden)).cpu().double().numpy()
        sums[rows] = np.bincount(states.nonzero()[:, 0].cpu().numpy(), steps, minlength=len(states))
    return sums


def paired_interval(
    before: Float64[np.ndarray, " N"], after: Float64[np.ndarray, " N"], seed: int = 0
) -> tuple[float, float, float]:
    """Mean of after - before over the same prompts, with its bootstrap 95% interval (BCa, scipy)."""
    change = after - before
    mean = float(change.mean())
    if len(change) < 2 or np.ptp(change) == 0:
        return mean, mean, mean
    result = bootstrap((change,), np.mean, rng=np.random.default_rng(seed), n_resamples=2000)
    return mean, float(result.confidence_interval.low), float(result.confidence_interval.high)
