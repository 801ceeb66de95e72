"""Log-probability and entropy of chosen tokens, fused so that training keeps one (N, V) array, not five; or none.

With p = softmax(z):  d log p_a / dz = 1[a] - p   and   dH / dz = -p (log p + H).

Where N x V is large, `action_likelihood` makes the logits a chunk of rows at a time and makes them again for the
gradient: at V = 50,257 the logits of 4,096 tokens are 823 MB, and the plain way holds four such arrays at once.

Inside autocast the head's products have autocast's dtype; what is added up over tokens is float32.

Letters: N positions, C width, V vocabulary.
"""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from textgym.models.causal_network import BANNED_LOGIT, CausalNetwork, product_dtype
from textgym.models.masks import Masks, PackedMasks, forbid, forbid_

WHOLE = 2**22
"""Up to so many logits (16 MiB in float32) are made at once. Above, chunks are the faster way too: measured for 1,024
rows, 68 ms against 59 at V = 4,096, but 136 against 196 at V = 8,192."""

CHUNK = 2**21
"""How many logits a chunk has."""

CHUNK_ROWS = 64
"""A chunk has at least so many rows: each adds to the whole gradient of the head, which is dear for fewer."""

FAR = 2**26
"""In place of both on an accelerator, which has more memory and wants larger kernels."""

ALIGNED = 64
"""Columns that an accelerator's matrix products come in."""


class _LogprobEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        logp = torch.log_softmax(logits, dim=-1, dtype=_wide(logits))
        entropy = _entropy(logp.exp(), logp)
        ctx.save_for_backward(logp, actions, entropy)
        return logp.gather(-1, actions[:, None])[:, 0], entropy

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        logp, actions, entropy = ctx.saved_tensors
        scratch = torch.empty_like(logp) if _matters(grads[1]) else logp
        return _gradient(logp.exp(), logp, scratch, actions, entropy, *grads), None


def _entropy(p: Tensor, logp: Tensor) -> Tensor:
    with torch.autocast(p.device.type, enabled=False):
        negative: Tensor = torch.linalg.vecdot(p, logp)
    return -negative


def _matters(grad_entropy: Tensor) -> bool:
    """Whether anything is asked of the entropies; PPO asks nothing of them where its bonus is 0."""
    return bool(grad_entropy.any())


def _gradient(
    p: Tensor, logp: Tensor, scratch: Tensor, actions: Tensor, entropy: Tensor, grad_logp: Tensor, grad_entropy: Tensor
) -> Tensor:
    """The gradient of the logits, in the memory of `p`; `scratch`, of that shape too, may be `logp`."""
    # One expression for both: -p * (g_logp + g_H * (log p + H)), plus g_logp at the chosen token.
    offset = -(grad_logp + grad_entropy * entropy)[:, None]
    if _matters(grad_entropy):
        p.mul_(torch.addcmul(offset, logp, -grad_entropy[:, None], out=scratch))
    else:
        p.mul_(offset)
    return p.scatter_add_(-1, actions[:, None], grad_logp[:, None])


def logprob_and_entropy(
    logits: Float[Tensor, "N V"], actions: Int[Tensor, " N"]
) -> tuple[Float[Tensor, " N"], Float[Tensor, " N"]]:
    """Log-probability of each action and the entropy of p = softmax(logits), both in nats, both differentiable once.

    Args:
        logits: unnormalised; banned tokens hold a large negative number, never -inf.
        actions: the chosen token of each row.
    """
    logp, entropy = _LogprobEntropy.apply(logits, actions)  # type: ignore[no-untyped-call]
    return logp, entropy


def action_likelihood(
    model: CausalNetwork,
    hidden: Float[Tensor, "N C"],
    actions: Int[Tensor, " N"],
    masks: Masks | None = None,
    temperature: float = 1.0,
) -> tuple[Float[Tensor, " N"], Float[Tensor, " N"]]:
    """`logprob_and_entropy` of the model's next-token distributions, in memory that does not grow with N x V.

    Args:
        model: its head makes the logits.
        hidden: hidden state of each position.
        actions: the token chosen there.
        masks: tokens that may be chosen; the distribution is that over them alone. None for all.
        temperature: divides the logits.
    """
    if len(hidden) * model.config.vocab_size > _most(hidden, WHOLE):
        bias = model.head_bias
        if temperature != 1:
            hidden, bias = hidden / temperature, bias / temperature
        tensors = (hidden, model.head, bias, actions)
        logp, entropy = _Chunked.apply(*tensors, masks, product_dtype(hidden))  # type: ignore[no-untyped-call]
        return logp, entropy
    logits = model.logits(hidden)
    if temperature != 1:
        logits = logits / temperature
    return logprob_and_entropy(logits if masks is None else forbid(logits, masks), actions)


class _Chunked(torch.autograd.Function):
    """Head and `_LogprobEntropy` in one: entropies are kept, logits are not.

    Two arrays hold logits and log-probabilities of one chunk after the other: with new ones for each, the C library's
    heap grew to gigabytes, mostly holes (measured: 2.3 GB where 0.4 are in use now).
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor, actions: Tensor, masks: Masks | None, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        chosen, entropy = torch.empty((2, len(hidden)), dtype=_wide(hidden), device=hidden.device)
        for rows, logits, logp in _chunks(hidden.to(dtype), *_head(weight, bias, dtype), masks):
            torch.log_softmax(logits, -1, out=logp)
            chosen[rows] = logp.gather(-1, actions[rows, None])[:, 0]
            entropy[rows] = _entropy(torch.exp(logp, out=logits), logp)
        ctx.masks, ctx.dtype = masks, dtype
        ctx.save_for_backward(hidden, weight, bias, actions, entropy)
        return chosen, entropy

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None, None, None, None]:
        hidden, weight, bias, actions, entropy = ctx.saved_tensors
        size, wide = len(weight), weight.dtype
        _, of_weight, of_bias, *_ = ctx.needs_input_grad  # a frozen head beside adapters; most heads have no bias
        hidden, (weight, bias) = hidden.to(ctx.dtype), _head(weight, bias, ctx.dtype)
        grad_hidden, grad_weight = torch.empty_like(hidden), torch.zeros_like(weight, dtype=wide)
        grad_bias = torch.zeros_like(bias, dtype=wide)
        for rows, logits, logp in _chunks(hidden, weight, bias, ctx.masks):
            torch.log_softmax(logits, -1, out=logp)
            p = torch.exp(logp, out=logits)
            grad = _gradient(p, logp, logp, actions[rows], entropy[rows], grads[0][rows], grads[1][rows])
            grad = grad.to(weight.dtype)
            torch.mm(grad, weight, out=grad_hidden[rows])
            if of_bias:
                grad_bias += grad.sum(0)
            if not of_weight:
                continue
            if grad.dtype == wide:
                grad_weight.addmm_(grad.T, hidden[rows])
            else:  # a sum of many chunks would lose digits in a narrow dtype
                grad_weight += grad.T @ hidden[rows]
        of_head = grad_weight[:size] if of_weight else None, grad_bias[:size] if of_bias else None
        return grad_hidden, *of_head, None, None, None


def _head(weight: Tensor, bias: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Weight and bias in this dtype; on an accelerator with tokens nobody can say, up to a multiple of 64.

    Its kernels for odd sizes are the slow ones: at V = 50,257 they took a third of the time of a whole update.
    """
    weight, bias = weight.to(dtype), bias.to(dtype)
    missing = 0 if weight.device.type == "cpu" else -len(weight) % ALIGNED
    if not missing:
        return weight, bias
    return F.pad(weight, (0, 0, 0, missing)), F.pad(bias, (0, missing), value=BANNED_LOGIT)


def _chunks(
    hidden: Tensor, weight: Tensor, bias: Tensor, masks: Masks | None
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Rows, their logits, and an array of that shape to write to; both are overwritten by the next chunk."""
    size = max(_most(hidden, CHUNK) // len(weight), CHUNK_ROWS)
    logits = hidden.new_empty(min(size, len(hidden)), len(weight))
    scratch = torch.empty_like(logits, dtype=_wide(hidden))
    for begin in range(0, len(hidden), size):
        rows = slice(begin, begin + size)
        part = torch.addmm(bias, hidden[rows], weight.T, out=logits[: len(hidden) - begin]).to(scratch.dtype)
        if masks is not None:
            known = masks[rows]
            forbid_(part[:, : _vocabulary(known)], known)
        yield rows, part, scratch[: len(part)]


def _most(tensor: Tensor, near: int) -> int:
    """How many logits at once, where the tensor is; `near` on a CPU."""
    return near if tensor.device.type == "cpu" else FAR


def _vocabulary(masks: Masks) -> int:
    return masks.vocab_size if isinstance(masks, PackedMasks) else masks.shape[-1]


def _wide(tensor: Tensor) -> torch.dtype:
    return torch.promote_types(tensor.dtype, torch.float32)


def kl_divergence(logits: Float[Tensor, "N V"], reference_logits: Float[Tensor, "N V"]) -> Float[Tensor, " N"]:
    """KL(p || q) in nats over the whole vocabulary, row by row.

    Summed over the states a text visits, its mean is the KL between the two distributions over texts, with less
    variance than any estimate from the sampled tokens alone (Amini et al. 2025).

    Args:
        logits: of p.
        reference_logits: of q.
    """
    logp, logq = torch.log_softmax(logits, -1), torch.log_softmax(reference_logits, -1)
    return (logp.exp() * (logp - logq)).sum(-1)
