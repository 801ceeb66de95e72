"""What is added to the objective of each step beside the advantage: an entropy bonus, less the price of the KL.

    c H(pi(.|s)) - beta KL(pi(.|s) || pi_ref(.|s))

Estimators of the KL (Schulman 2020, "Approximating KL divergence"), with r = pi_ref(a|s) / pi(a|s), a drawn from pi:

    k1 = -log r    k2 = (log r)^2 / 2    k3 = r - 1 - log r    full = sum_a pi log(pi / pi_ref)

As a loss each is differentiated as it stands, and only two of the gradients are that of the KL: full's in every state,
and k2's in expectation. That of k1 is zero in expectation, that of k3 is the gradient of KL(pi_ref || pi).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from textgym.errors import CheckpointError, did_you_mean
from textgym.models.causal_network import CausalNetwork
from textgym.models.likelihood import kl_divergence
from textgym.models.masks import Masks, forbid

ESTIMATORS = ("k1", "k2", "k3", "full")

CHUNK = 2**21
"""Logits of the full estimator that are held at a time; each chunk is computed again for the gradient."""


def kl_estimate(
    estimator: str, logprobs: Float[Tensor, " N"], reference_logprobs: Float[Tensor, " N"]
) -> Float[Tensor, " N"]:
    """The sampled KL of N steps in nats, differentiable, by k1, k2 or k3.

    Args:
        estimator: which one.
        logprobs: log pi of the actions taken.
        reference_logprobs: log pi_ref of the same.
    """
    log_r = reference_logprobs - logprobs
    match estimator:
        case "k1":
            return -log_r
        case "k2":
            return log_r.square() / 2
        case "k3":
            return torch.expm1(log_r) - log_r
    raise CheckpointError(f"no estimator of the KL {estimator!r}. {did_you_mean(estimator, ESTIMATORS)}")


@dataclass(frozen=True)
class Regulariser:
    """The terms of N steps, for a policy to add up.

    Attributes:
        ent_coef: c, in reward units a nat.
        kl_coef: beta, in reward units a nat.
        estimator: one of `ESTIMATORS`.
        reference_logprobs: (N,) log pi_ref of the actions taken; None where nothing is asked of the reference.
        reference: the network, for "full".
        temperature: of policy and reference alike.
    """

    ent_coef: float
    kl_coef: float
    estimator: str
    reference_logprobs: Float[Tensor, " N"] | None
    reference: CausalNetwork | None
    temperature: float = 1.0

    def sampled(self, entropy: Float[Tensor, " N"], logprobs: Float[Tensor, " N"]) -> Float[Tensor, " N"]:
        """The sum c H - beta KL of each step, by an estimator that needs the actions' log-probabilities alone."""
        bonus = self.ent_coef * entropy
        if not self.kl_coef or self.estimator == "full":
            return bonus
        assert self.reference_logprobs is not None
        return bonus - self.kl_coef * kl_estimate(self.estimator, logprobs, self.reference_logprobs)


def full_kl(
    model: CausalNetwork,
    hidden: Float[Tensor, "N C"],
    reference: CausalNetwork,
    reference_hidden: Float[Tensor, "N D"],
    masks: Masks | None = None,
    temperature: float = 1.0,
) -> Float[Tensor, " N"]:
    """KL(pi || pi_ref) in nats over the whole vocabulary, differentiable by pi; a chunk of rows at a time.

    Args:
        model: makes the logits of pi.
        hidden: its hidden states.
        reference: makes the logits of pi_ref.
        reference_hidden: its hidden states in the same prefixes.
        masks: both distributions are over these tokens alone; None for all.
        temperature: divides the logits of both.
    """
    rows = max(CHUNK // model.config.vocab_size, 1)

    def part(ours: Tensor, theirs: Tensor, chosen: Masks | None) -> Tensor:
        logits, reference_logits = model.logits(ours) / temperature, reference.logits(theirs) / temperature
        if chosen is not None:
            logits, reference_logits = forbid(logits, chosen), forbid(reference_logits, chosen)
        return kl_divergence(logits, reference_logits)

    found = []
    for begin in range(0, len(hidden), rows):
        some = slice(begin, begin + rows)
        chosen = None if masks is None else masks[some]
        if len(hidden) <= rows:
            return part(hidden, reference_hidden, chosen)
        found.append(checkpoint(part, hidden[some], reference_hidden[some], chosen, use_reentrant=False))
    return torch.cat(found)
