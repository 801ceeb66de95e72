"""Sampling completions: temperature, top-k and top-p, with the log-probabilities of what was really sampled from.

Holtzman et al. 2020 for top-p ("The Curious Case of Neural Text Degeneration"); Fan et al. 2018 for top-k.

Letters: B rows, N prompts, T tokens of a completion, V vocabulary.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from textgym.errors import CheckpointError, TaskError
from textgym.models.causal_network import BANNED_LOGIT, CausalNetwork
from textgym.models.layout import lay_out
from textgym.types import TokenIds

BLOCK = 64
"""Tokens whose probability is summed up before the one among them is sought."""


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn from the model's distribution.

    Args:
        temperature: divides the logits; 0 takes the likeliest token (greedy), 1 leaves the model as it is.
        top_k: only the k likeliest tokens; None for all.
        top_p: only the likeliest tokens, as few as together have a probability of p; None for all. Applied after
            temperature and top_k.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise TaskError(f"temperature={self.temperature!r}: must be a number of at least 0 (0 is greedy)")
        if self.top_k is not None and (not isinstance(self.top_k, int) or self.top_k < 1):
            raise TaskError(f"top_k={self.top_k!r}: must be a whole number of at least 1, or None for all tokens")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise TaskError(f"top_p={self.top_p!r}: must be above 0 and at most 1, or None for all tokens")


@dataclass(frozen=True)
class Completions:
    """N completions.

    Attributes:
        ids: of each, the final EOS included where the text was ended by it.
        logprobs: for each token the natural logarithm of its probability in the distribution it was drawn from.
    """

    ids: list[TokenIds]
    logprobs: list[Float64[np.ndarray, " _"]]


def warp(logits: Float[Tensor, "*B V"], sampling: Sampling) -> Float[Tensor, "*B V"]:
    """Logits of the distribution that is really sampled from.

    Tokens that are cut get a logit so low that their probability is 0, yet finite: p log p stays 0 and not NaN.
    Settings that change nothing give the very same tensor back. Ties at the edge are cut: never more than k.
    """
    if sampling.temperature == 0:
        return _keep_only(logits, logits.argmax(-1, keepdim=True), torch.tensor(True, device=logits.device))
    if sampling.temperature != 1:
        shifted = logits - logits.amax(-1, keepdim=True)  # so that a tiny temperature overflows downwards only
        logits = (shifted / sampling.temperature).clamp(min=BANNED_LOGIT)
    size = logits.shape[-1]
    k = min(sampling.top_k or size, size)
    p = 1.0 if sampling.top_p is None else sampling.top_p
    if k == size and p == 1:
        return logits
    values, ids = logits.detach().topk(k, dim=-1)  # sorted, likeliest first
    # A token stays while those before it have less than p: the set that reaches p is the smallest one.
    probabilities = values.double().softmax(-1)
    return _keep_only(logits, ids, probabilities.cumsum(-1) - probabilities < (p if p < 1 else 2))


def generate(
    model: CausalNetwork,
    prompts: Sequence[TokenIds],
    *,
    sep_id: int,
    eos_id: int,
    max_new_tokens: int,
    sampling: Sampling | None = None,
    seed: int | torch.Generator = 0,
    batch_rows: int = 256,
) -> Completions:
    """Completes N prompts.

    The same seed gives the same tokens, whatever was drawn before; each (prompt, step) has its own random number,
    so that neither `batch_rows` nor the end of another row changes a draw.

    Args:
        model: the network; stays where it is.
        prompts: N prompts without separator.
        sep_id: stands between prompt and completion.
        eos_id: ends a completion.
        max_new_tokens: longest completion.
        sampling: how tokens are drawn; None for the model's own distribution.
        seed: of the draws, or a CPU generator that goes on from where it stands.
        batch_rows: rows that are decoded side by side.

    Raises:
        CheckpointError: where a prompt, separator and completion do not fit the model's context.
    """
    if max_new_tokens < 1 or batch_rows < 1:
        raise TaskError(f"max_new_tokens={max_new_tokens}, batch_rows={batch_rows}: both must be at least 1")
    longest = max((len(prompt) for prompt in prompts), default=0) + 1 + max_new_tokens
    if longest > model.config.context:
        raise CheckpointError(
            f"a prompt of {longest - 1 - max_new_tokens} tokens, the separator and {max_new_tokens} new tokens make "
            f"{longest}; the model's context is {model.config.context}. Shorten the prompt or ask for fewer tokens."
        )
    generator = seed if isinstance(seed, torch.Generator) else torch.Generator().manual_seed(seed)
    uniform = torch.rand((len(prompts), max_new_tokens), generator=generator, dtype=torch.float64)
    ids: list[TokenIds] = [np.zeros(0, np.int32)] * len(prompts)
    logprobs: list[Float64[np.ndarray, " _"]] = [np.zeros(0)] * len(prompts)
    by_length = np.argsort([len(prompt) for prompt in prompts], kind="stable")
    for begin in range(0, len(prompts), batch_rows):
        rows = by_length[begin : begin + batch_rows]
        batch = [prompts[i] for i in rows]
        tokens, scores = _decode_batch(
            model, batch, sep_id=sep_id, eos_id=eos_id, sampling=sampling or Sampling(), uniform=uniform[rows]
        )
        for i, row_tokens, row_scores in zip(rows, tokens, scores, strict=True):
            ends = np.flatnonzero(row_tokens == eos_id)
            length = int(ends[0]) + 1 if len(ends) else len(row_tokens)
            ids[i], logprobs[i] = row_tokens[:length], row_scores[:length]
    return Completions(ids, logprobs)


@torch.inference_mode()
def _decode_batch(
    model: CausalNetwork,
    prompts: Sequence[TokenIds],
    *,
    sep_id: int,
    eos_id: int,
    sampling: Sampling,
    uniform: Float[Tensor, "B T"],
) -> tuple[np.ndarray, np.ndarray]:
    """Tokens (B, T) int32 and their log-probabilities (B, T); what stands beyond a row's EOS means nothing."""
    device = model.device
    uniform = uniform.to(device)
    layout = lay_out(prompts, [np.zeros(0, np.int32)] * len(prompts), sep_id=sep_id, device=device)
    cache = model.new_cache(len(prompts), layout.tokens.shape[1] + uniform.shape[1])
    live = torch.arange(len(prompts), device=device)  # which row of the batch stands in each row of the cache
    states = model.prefill(layout.tokens, layout.lengths, cache, live)
    hidden = states[live, layout.lengths - 1]
    tokens = torch.full(uniform.shape, eos_id, dtype=torch.int32, device=device)
    logprobs = torch.zeros(uniform.shape, dtype=torch.float64, device=device)
    ended = torch.zeros(len(prompts), dtype=torch.bool, device=device)
    for step in range(uniform.shape[1]):
        chosen, scores = draw(warp(model.logits(hidden), sampling), uniform[live, step])
        # A row that ended before and was not dropped yet goes on unseen; its first EOS marks its end.
        tokens[live, step], logprobs[live, step] = chosen.to(torch.int32), scores.double()
        ended |= chosen == eos_id
        going = int((~ended).sum())
        if going == 0 or step + 1 == uniform.shape[1]:
            break
        if going <= 0.75 * len(ended):  # dropping copies the cache, so not at every end
            rest = (~ended).nonzero()[:, 0]
            cache.keep(rest)
            live, chosen, ended = live[rest], chosen[rest], ended[rest]
        hidden = model.decode(chosen, cache)
    return tokens.cpu().numpy(), logprobs.cpu().numpy()


def draw(logits: Float[Tensor, "B V"], uniform: Float[Tensor, " B"]) -> tuple[Int[Tensor, " B"], Float[Tensor, " B"]]:
    """One token a row by the inverse of its distribution function, and its log-probability.

    First the block of tokens that the number falls into, then the token in it: a running sum over the whole
    vocabulary would take three times as long at V = 50,257.

    Args:
        logits: warped ones.
        uniform: (B,) float64 in [0, 1), one number a row.
    """
    size, peak = logits.shape[1], logits.amax(-1, keepdim=True)
    probabilities = logits.softmax(-1)
    whole = size // BLOCK
    parts = probabilities[:, : whole * BLOCK].reshape(len(logits), whole, BLOCK).sum(-1)
    rest = probabilities[:, whole * BLOCK :].sum(-1, keepdim=True)
    block, level = _invert(torch.cat([parts, rest], 1), uniform[:, None])
    columns = block * BLOCK + torch.arange(BLOCK, device=logits.device)
    inside = probabilities.gather(1, columns.clamp(max=size - 1)) * (columns < size)
    tokens = block * BLOCK + _invert(inside, level)[0]
    # log p of the likeliest token is exact, and the difference of logits too: a tiny p would lose digits.
    logprobs = logits.gather(1, tokens) - peak + probabilities.amax(-1, keepdim=True).log()
    return tokens[:, 0], logprobs[:, 0]


def _invert(
    masses: Float[Tensor, "B K"], uniform: Float[Tensor, "B 1"]
) -> tuple[Int[Tensor, "B 1"], Float[Tensor, "B 1"]]:
    """The part that a share `uniform` of the whole mass falls into, and how far into it, from 0 to 1."""
    sums = masses.cumsum(-1, dtype=torch.float64)
    # Below the whole mass by more than rounding, so that the first part beyond it always has a mass.
    level = uniform.clamp(max=1 - 2**-50) * sums[:, -1:]
    part = torch.searchsorted(sums, level, right=True)
    mass = masses.gather(1, part)
    return part, ((level - (sums.gather(1, part) - mass)) / mass).clamp(min=0)


def _keep_only(logits: Tensor, ids: Tensor, kept: Tensor) -> Tensor:
    mask = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, ids, kept.expand(ids.shape))
    return logits.masked_fill(~mask, BANNED_LOGIT)
