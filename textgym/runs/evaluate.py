"""Completions of held-out prompts by a model, scored: what "before" and "after" mean."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64
from scipy.stats import bootstrap

from textgym.envs.tasks import Task
from textgym.models.fit import perplexity
from textgym.models.layout import lay_out
from textgym.models.likelihood import kl_divergence
from textgym.models.sampling import Sampling, generate
from textgym.models.transformer import Transformer
from textgym.scorers import parse
from textgym.scorers.reward import Reward
from textgym.types import TextBatch, TokenIds

ALWAYS = ("repetition", "distinct")
"""Scorers that are reported whatever the reward is."""


@dataclass(frozen=True)
class Evaluation:
    """N completions and what is known of each.

    Attributes:
        prompts: N texts.
        completions: N texts.
        values: by name, one value a completion (N,): reward, reward/<component>, kl, length, ended, repetition,
            distinct, and gold/<axis> where the task knows the truth.
        perplexity: of the held-out references under the model, per token.
        batch: the same prompts and completions as ids, with references and metadata.
    """

    prompts: list[str]
    completions: list[str]
    values: dict[str, Float64[np.ndarray, " N"]]
    perplexity: float
    batch: TextBatch

    def means(self) -> dict[str, float]:
        """The mean of each value, and the perplexity."""
        return {name: float(values.mean()) for name, values in self.values.items()} | {"perplexity": self.perplexity}


def evaluate(
    model: Transformer,
    reference: Transformer,
    task: Task,
    reward: Reward,
    *,
    n: int,
    seed: int,
    sampling: Sampling | None = None,
) -> Evaluation:
    """Completes `n` prompts and scores them.

    Args:
        model: what completes.
        reference: what the KL is measured against.
        task: whose held-out prompts are completed; the same `n` and `seed` always take the same.
        reward: bound to the task.
        n: how many prompts; fewer if the split is smaller.
        seed: of the choice of prompts and of sampling.
        sampling: temperature 1 if None.
    """
    prompts, tokenizer = task.heldout, task.tokenizer
    chosen = np.sort(np.random.default_rng(seed).permutation(len(prompts))[:n])
    ids = [prompts.prompt(int(i)) for i in chosen]
    made = generate(
        model,
        ids,
        sep_id=tokenizer.sep_id,
        eos_id=tokenizer.eos_id,
        max_new_tokens=task.max_new_tokens,
        sampling=sampling or Sampling(),
        seed=seed,
    )
    references = [prompts.references(int(i), tokenizer) for i in chosen]
    batch = TextBatch(ids, made.ids, tokenizer, references, [prompts.metadata(int(i)) for i in chosen])
    scores = reward.score(batch)
    values = {"reward": scores.values} | {f"reward/{name}": column for name, column in scores.components.items()}
    for name in ALWAYS:
        values[name] = parse(name).bind(task.context).score(batch).values
    for name, truth in task.gold.items():
        values[f"gold/{name}"] = parse(truth).bind(task.context).score(batch).values
    values["kl"] = sequence_kl(model, reference, ids, made.ids, tokenizer.sep_id)
    values["length"] = np.array([len(row) for row in batch.content], np.float64)
    values["ended"] = np.array([len(row) > 0 and row[-1] == tokenizer.eos_id for row in made.ids], np.float64)
    held_out = perplexity(model, prompts, sep_id=tokenizer.sep_id)
    return Evaluation(batch.prompt_texts, batch.completion_texts, values, held_out, batch)


@torch.no_grad()
def sequence_kl(
    model: Transformer,
    reference: Transformer,
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
        layout = lay_out(prompts[rows], completions[rows], sep_id=sep_id, device=model.wte.weight.device)
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
