"""What holds an agent near its reference: where the KL is paid, at which price, and near which reference.

In the reward of each step, r_t - beta (log pi(a_t) - log pi_ref(a_t)) (Ziegler et al. 2019, eq. 2); or in the loss, by
one of the estimators of `textgym.sb3.regulariser` (Shao et al. 2024, eq. 4). The price may be steered to a target by a
proportional controller on log beta (Ziegler et al. 2019, section 2.2), and the reference may follow the policy.
"""

from typing import Any

from stable_baselines3.common.callbacks import BaseCallback

from textgym.errors import CheckpointError, did_you_mean
from textgym.sb3.regulariser import ESTIMATORS

PLACES = ("reward", "loss")
"""Where the KL may be paid."""

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


def check_kl_settings(
    kl_coef: float,
    kl_target: float | None,
    kl_horizon: float = HORIZON,
    kl_in: str = "reward",
    kl_estimator: str | None = None,
) -> None:
    """Raises CheckpointError for settings that cannot be meant."""
    if kl_in not in PLACES:
        raise CheckpointError(f"kl_in={kl_in!r}: the KL is paid in the reward or in the loss. Known: {PLACES}")
    if kl_estimator is not None and kl_estimator not in ESTIMATORS:
        raise CheckpointError(f"no estimator of the KL {kl_estimator!r}. {did_you_mean(kl_estimator, ESTIMATORS)}")
    if kl_in == "reward" and kl_estimator not in (None, "k1"):
        raise CheckpointError(
            f"kl_estimator={kl_estimator!r} with kl_in='reward': a reward is not differentiated, so that the log-ratio "
            "k1 is the one estimator whose policy gradient is that of the KL. Others belong to kl_in='loss'"
        )
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


class RefreshReference(BaseCallback):
    """Makes the policy as it is the reference of its KL penalty, every so many rollouts.

    The penalty then bounds how far the policy moves between two refreshments, not how far in all: what `RewardLog`
    reports is still measured from the first reference. Works with every algorithm whose buffer has a reference; a
    `TrainingCheckpoint` saves the refreshed one.

    Args:
        every: rollouts from one refreshment to the next.
        verbose: as in Stable-Baselines3.

    Raises:
        CheckpointError: `every` below 1; when training begins, where there is no reference.
    """

    def __init__(self, every: int, verbose: int = 0) -> None:
        super().__init__(verbose)
        if every < 1:
            raise CheckpointError(f"every={every} counts rollouts and must be at least 1")
        self.every = every

    def _on_training_start(self) -> None:
        if getattr(self._buffer, "reference", None) is None:
            raise CheckpointError(
                "RefreshReference: this agent's buffer has no reference that could be refreshed: give the agent a "
                "kl_coef above 0"
            )

    def _on_rollout_start(self) -> None:
        # Asked of the buffer, which is saved with the training. To refresh twice at one place changes nothing.
        rollouts: int = self._buffer.rollouts
        if rollouts and rollouts % self.every == 0:
            self._buffer.refresh(self.model.policy.transformer)

    def _on_step(self) -> bool:
        return True

    @property
    def _buffer(self) -> Any:
        agent: Any = self.model
        return getattr(agent, "rollout_buffer", None)
