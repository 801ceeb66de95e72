"""Log-probability and entropy of chosen tokens, fused so that training keeps one (N, V) array, not five.

With p = softmax(z):  d log p_a / dz = 1[a] - p   and   dH / dz = -p (log p + H).
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor


class _LogprobEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        logp = torch.log_softmax(logits, dim=-1)
        entropy = -(logp.exp() * logp).sum(-1)
        ctx.save_for_backward(logp, actions, entropy)
        return logp.gather(-1, actions[:, None])[:, 0], entropy

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        grad_logp, grad_entropy = grads
        logp, actions, entropy = ctx.saved_tensors
        # One expression for both: -p * (g_logp + g_H * (log p + H)), plus g_logp at the chosen token.
        weight = logp + entropy[:, None]
        weight.mul_(grad_entropy[:, None]).add_(grad_logp[:, None]).mul_(logp.exp()).neg_()
        weight.scatter_add_(-1, actions[:, None], grad_logp[:, None])
        return weight, None


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
