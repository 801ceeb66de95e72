"""The adaptive KL coefficient: a proportional controller on log beta (Ziegler et al. 2019, section 2.2)."""

from textgym.errors import CheckpointError

MAX_ERROR = 0.2
"""What the relative error is clipped to: one strange rollout moves beta by a fifth of the gain at most."""


HORIZON = 640.0
"""Texts: ten rollouts of 64 rows, so that K is the paper's 0.1 there."""


def adapted(kl_coef: float, kl: float, *, target: float, horizon: float, texts: int) -> float:
    """The coefficient after a rollout: beta (1 + K e), e = clip(KL / target - 1, -0.2, 0.2), K = texts / horizon.

    K is the paper's K_beta, 0.1 there; it is held to 1, where a rollout moves beta by a fifth.

    Args:
        kl_coef: beta that the rollout was paid with.
        kl: KL to the reference in nats a text, of the rollout.
        target: KL to be reached, in the same unit.
        horizon: texts over which an error of 1 would move log beta by 1, were it not clipped.
        texts: how many texts `kl` is the mean of.
    """
    error = min(max(kl / target - 1, -MAX_ERROR), MAX_ERROR)
    return kl_coef * (1 + min(texts / horizon, 1.0) * error)


def check_kl_settings(kl_coef: float, kl_target: float | None, kl_horizon: float = HORIZON) -> None:
    """Raises CheckpointError for settings that cannot be meant."""
    if kl_coef < 0:
        raise CheckpointError(f"kl_coef={kl_coef} would reward distance from the reference; it must be at least 0")
    if kl_target is None:
        return
    if kl_target <= 0 or kl_horizon <= 0:
        raise CheckpointError(
            f"kl_target={kl_target} (nats a text) and kl_horizon={kl_horizon} (texts) must both be above 0"
        )
    if kl_coef == 0:
        raise CheckpointError(
            f"kl_target={kl_target} needs a kl_coef above 0 to begin with: the controller multiplies it"
        )
