"""The exact policy gradient of J(theta), the expected return, on a task that the oracle has enumerated.

    grad J = sum_s d(s) sum_a grad pi(a|s) Q(s, a)     (Sutton et al. 2000, theorem 1; episodic, from the start)

with d(s) = gamma^t Pr(s is reached) and Q that of the policy itself, both exact. Estimators are measured against it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from textgym.errors import TaskError
from textgym.oracle import Prefixes, Solution

AT_ONCE = 4096
"""Prefixes whose graph is held in memory at a time."""

Logits = Callable[[Int[Tensor, "B L"]], Float[Tensor, "B V"]]
"""(prefixes as observations, -1 beyond their end) -> logits of the next token; the mask is applied to them here."""


@dataclass(frozen=True, eq=False)
class ExactGradient:
    """J and its gradient.

    Attributes:
        value: J, the expected return of the policy.
        gradients: of J by each parameter, in their order and shapes.
    """

    value: float
    gradients: tuple[Tensor, ...]

    @property
    def flat(self) -> Float[Tensor, " D"]:
        """All of them end to end, (D,)."""
        return torch.cat([gradient.flatten() for gradient in self.gradients])


def exact_gradient(solution: Solution, logits: Logits, parameters: Iterable[Tensor]) -> ExactGradient:
    """The gradient of the expected return of pi(a|s) = softmax of the logits that the mask allows.

    Args:
        solution: of the task, by `textgym.oracle.solve`; gives prefixes, rewards and the discount.
        logits: the policy, differentiable. For a `TransformerPolicy`, `policy_logits(policy)`.
        parameters: by what to derive; those on which the logits do not depend get zeros.

    Raises:
        TaskError: the solution has merged prefixes, or the logits have another shape.
    """
    wanted = tuple(parameters)
    tree = solution.tree
    if tree.merged:
        raise TaskError("the policy gradient needs every prefix, and here they are merged: solve with merge=False")
    device = wanted[0].device
    observations, masks = torch.as_tensor(tree.tokens, device=device), torch.as_tensor(tree.masks, device=device)
    with torch.no_grad():
        parts = [_logprobs(logits, observations[part], masks[part]) for part in _parts(len(tree))]
    table = torch.cat(parts).double().cpu().numpy()

    def policy(prefixes: Prefixes) -> Float64[np.ndarray, "B V"]:
        found: Float64[np.ndarray, "B V"] = table[tree.find(prefixes.tokens, prefixes.lengths)]
        return found

    values, visits = solution.policy_values(policy), solution.visits(policy)
    weights = (visits * solution.gamma ** (tree.lengths - tree.starts))[:, None] * np.where(tree.masks, values.q, 0.0)
    gradients = tuple(torch.zeros_like(parameter) for parameter in wanted)
    for part in _parts(len(tree)):
        chances = _logprobs(logits, observations[part], masks[part]).exp()
        surrogate = (chances * torch.as_tensor(weights[part], device=device).to(chances.dtype)).sum()
        found = torch.autograd.grad(surrogate, wanted, allow_unused=True)
        for gradient, piece in zip(gradients, found, strict=True):
            if piece is not None:
                gradient += piece
    start = float(tree.openings.weights @ values.v[: len(tree.openings)])
    return ExactGradient(start, gradients)


def policy_logits(policy: torch.nn.Module) -> Logits:
    """The logits of an actor-critic policy of Stable-Baselines3, differentiable."""

    def logits(observations: Int[Tensor, "B L"]) -> Float[Tensor, "B V"]:
        found: Tensor = policy.get_distribution(observations).distribution.logits  # type: ignore[operator]
        return found

    return logits


def _logprobs(logits: Logits, observations: Int[Tensor, "B L"], masks: Tensor) -> Float[Tensor, "B V"]:
    found = logits(observations)
    if found.shape != masks.shape:
        raise TaskError(
            f"the policy gave logits of shape {tuple(found.shape)} for {len(masks)} prefixes: {tuple(masks.shape)} "
            "is due"
        )
    return found.masked_fill(~masks, -torch.inf).log_softmax(-1)


def _parts(size: int) -> list[slice]:
    return [slice(begin, begin + AT_ONCE) for begin in range(0, size, AT_ONCE)]
