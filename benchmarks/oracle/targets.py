"""What the gradient estimators are measured against: exact gradients on an enumerated task, as vectors of parameters.

return          grad J
kl              grad (J - beta KL of texts), where what is written later counts too
kl of states    grad J - beta E[sum_t grad KL(pi(.|s_t) || pi_ref(.|s_t))], the states held fixed
kl turned round grad J - beta E[sum_t grad KL(pi_ref(.|s_t) || pi(.|s_t))], likewise
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64
from textgym.agents.exact_gradient import exact_gradient, policy_logits
from torch import Tensor

from textgym.oracle import PrefixTree, Solution


def targets(
    solution: Solution, policy: Any, reference: Float64[np.ndarray, "N V"] | None = None, beta: float = 0.0
) -> dict[str, Float[Tensor, " D"]]:
    """The exact gradients by the parameters of the policy's network, (D,) each.

    Args:
        solution: of the task, at the agent's gamma.
        policy: of the agent.
        reference: log-probabilities of pi_ref at the prefixes of the tree; None for no KL.
        beta: price of a nat.
    """
    parameters = [*policy.transformer.parameters()]
    found = {"return": exact_gradient(solution, policy_logits(policy), parameters).flat}
    if reference is None:
        return found
    logprobs, forbidden = tree_logprobs(policy, solution.tree), torch.as_tensor(~solution.tree.masks)
    ours, theirs = (logs.masked_fill(forbidden, 0) for logs in (logprobs, torch.as_tensor(reference)))
    allowed, reached = (~forbidden).double(), _reached(solution.tree, logprobs)
    divergence = (allowed * ours.exp() * (ours - theirs)).sum(1)
    turned = (allowed * theirs.exp() * (theirs - ours)).sum(1)
    prices = {
        "kl": (reached * divergence).sum(),
        "kl of states": (reached.detach() * divergence).sum(),
        "kl turned round": (reached.detach() * turned).sum(),
    }
    for name, price in prices.items():
        found[name] = found["return"] - beta * flat(torch.autograd.grad(price, parameters, retain_graph=True))
    return found


def tree_logprobs(policy: Any, tree: PrefixTree) -> Float[Tensor, "N V"]:
    """Log-probabilities of a policy at every prefix, differentiable, within the masks."""
    logits = policy_logits(policy)(torch.as_tensor(tree.tokens)).double()
    return logits.masked_fill(~torch.as_tensor(tree.masks), -torch.inf).log_softmax(-1)


def _reached(tree: PrefixTree, logprobs: Float[Tensor, "N V"]) -> Float[Tensor, " N"]:
    """How likely an episode comes by each prefix, differentiable; those of a level follow from the level before."""
    found = [torch.as_tensor(tree.openings.weights)]
    for rows in tree.slices[:-1]:
        children = torch.as_tensor(tree.children[rows])
        passed = found[-1][:, None] * logprobs[rows].exp()
        following = children[children >= 0]
        found.append(passed[children >= 0][following.argsort()])
    return torch.cat(found)


def score_directions(solution: Solution, policy: Any, count: int) -> Float64[np.ndarray, "K D"]:
    """The leading eigenvectors of the Fisher information E[sum_t grad log pi (grad log pi)'], as rows, at most `count`.

    Whatever an estimator weighs tokens by, its mean is a sum of grad log pi: what it gets wrong shows in these.
    """
    tree, parameters = solution.tree, [*policy.transformer.parameters()]
    logprobs = tree_logprobs(policy, tree)
    reached = _reached(tree, logprobs).detach()
    shares = reached[:, None] * logprobs.detach().exp()
    rows = [
        share.sqrt() * flat(torch.autograd.grad(logprobs[place], parameters, retain_graph=True))
        for place, share in ((place, shares[place]) for place in zip(*np.nonzero(shares.numpy() > 0), strict=True))
    ]
    _, sizes, directions = torch.linalg.svd(torch.stack(rows).double(), full_matrices=False)
    known = int((sizes > 1e-6 * sizes[0]).sum())
    found: Float64[np.ndarray, "K D"] = directions[: min(count, known)].numpy()
    return found


def flat(tensors: Iterable[Tensor]) -> Float[Tensor, " D"]:
    """Tensors end to end, (D,)."""
    return torch.cat([tensor.detach().flatten() for tensor in tensors])
