"""The critic: a linear head whose mean learns fast and whose weights learn slowly.

Three things go wrong with the usual head (linear, zero, on the shared trunk), measured on docstrings and on stories:

- Adam moves a bias by about one learning rate a step. At 1e-4 it takes thousands of updates to reach a mean return of
  -4, and all that time the episodes that the end of a rollout cuts are bootstrapped from 0: "unfinished" looks four
  points better than "finished", and PPO made the reward worse (-3.8 to -6.2 in 50,000 tokens).
- Its gradients fill the norm that those of the policy are clipped with, through the scale of the bias most of all. On
  the mean log-probability of stories they were 1,200, the policy's 0.27: clipped to 1 together, a weight of the policy
  had a gradient of 2e-7, nothing beside the 1e-5 that Stable-Baselines3 gives Adam as eps, and PPO did not move.
- A rollout holds some sixty independent returns, far fewer than hidden units. A trunk that is trained on them is bent
  to noise, and weights that learn as fast as the mean must overfit.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

BIAS_SCALE = 300.0
"""One Adam step at 1e-4 moves the mean by 0.03, so a few rollouts find any return of ordinary size."""

GRADIENT_SCALE = 0.01
"""Of the head's gradients, which Adam does not see: they stay below those of the policy until errors are of some 30."""


class ValueHead(nn.Module):
    """V(s) = 300 b + w . h(s), without gradient into h; 0 at the start.

    Args:
        width: C, the size of a hidden state.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, width))
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, hidden: Float[Tensor, "N C"]) -> Float[Tensor, "N 1"]:
        """Values of N states."""
        weight = _Scaled.apply(self.weight, GRADIENT_SCALE)  # type: ignore[no-untyped-call]
        bias = _Scaled.apply(self.bias, GRADIENT_SCALE / BIAS_SCALE)  # type: ignore[no-untyped-call]
        return F.linear(hidden.detach(), weight, BIAS_SCALE * bias)


class _Scaled(torch.autograd.Function):
    """The identity, whose gradient is multiplied by a constant."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, scale: float) -> Tensor:
        ctx.scale = scale
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * ctx.scale, None
