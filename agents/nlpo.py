"""NLPO (Ramamurthy et al. 2022, algorithm 1): MaskablePPO that chooses among the likeliest tokens of its own past.

    pi(a | s) ~ pi_theta(a | s) 1[a in top-p of pi_psi(. | s)],    psi <- theta every `target_update` rollouts

The mask policy pi_psi is a copy of the policy: the tokens that it thinks unlikely are not tried. Its masks are stored
with the rollout, so that log-probability, entropy and KL are those of the distribution that was sampled from.
"""

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

from textgym.errors import MissingExtraError, TaskError
from textgym.models.causal_network import BANNED_LOGIT
from textgym.models.masks import ILLEGAL_LOGIT
from textgym.models.sampling import Sampling, warp
from textgym.sb3.agent import make_agent

try:
    from sb3_contrib import MaskablePPO
except ImportError as error:
    raise MissingExtraError("sb3-contrib", "contrib", "NLPO") from error

from textgym.sb3.maskable import MASKABLE_PPO_DEFAULTS, MaskableTransformerPolicy

NLPO_DEFAULTS: dict[str, Any] = {
    **MASKABLE_PPO_DEFAULTS,
    "top_p": 0.9,  # the paper's
    "target_update": 5,  # rollouts; the authors' library shows 20, more than half of a training of 150,000 tokens here
}
"""Keyword arguments for NLPO: those of MaskablePPO, and what the mask policy lets through."""

LIKELY = BANNED_LOGIT / 2
"""Below are the logits of what is cut, banned by the model, or forbidden."""


class NLPO(MaskablePPO):
    """MaskablePPO under the environment's masks and those of a mask policy; with `top_p=1`, MaskablePPO itself.

    Args:
        policy: `MaskableTransformerPolicy`.
        env: from `make_sb3_env`.
        top_p: what the mask policy lets through: the smallest set of allowed tokens that has this probability.
        target_update: rollouts from one copy of the policy to the next.
        **settings: MaskablePPO's own.

    Attributes:
        mask_policy: the copy; saved with the agent, and with its training.

    Raises:
        TaskError: a `top_p` outside (0, 1], or a `target_update` below 1.
    """

    policy: MaskableTransformerPolicy
    mask_policy: MaskableTransformerPolicy

    def __init__(self, policy: Any, env: Any, top_p: float = 0.9, target_update: int = 5, **settings: Any) -> None:
        if not 0 < top_p <= 1:
            raise TaskError(f"top_p={top_p}: a probability above 0 and at most 1 (which masks nothing)")
        if target_update < 1:
            raise TaskError(f"target_update={target_update} counts rollouts and must be at least 1")
        self.top_p, self.target_update = top_p, target_update
        self._rollouts = 0
        super().__init__(policy, env, **settings)

    def _setup_model(self) -> None:
        super()._setup_model()
        self.mask_policy = deepcopy(self.policy)
        self.mask_policy.requires_grad_(False).set_training_mode(False)

    def masks(self, observations: Any, action_masks: np.ndarray | None = None) -> Bool[np.ndarray, "B V"] | None:
        """Which tokens may follow these prefixes (B, L); None where every token may.

        Of those that `action_masks` (B, V) allows, the smallest set that has probability top-p under the mask policy.
        """
        if self.top_p == 1:
            return action_masks
        logits = self.mask_policy.next_logits(torch.as_tensor(observations, device=self.device), action_masks)
        likely = warp(logits, Sampling(top_p=self.top_p)) > LIKELY
        # Where the model bans all that is allowed, none is likely, and the mask is obeyed all the same.
        kept = likely | ((logits > ILLEGAL_LOGIT) & ~likely.any(1, keepdim=True))
        found: Bool[np.ndarray, "B V"] = kept.cpu().numpy()
        return found

    def collect_rollouts(self, env: VecEnv, *args: Any, **kwargs: Any) -> bool:
        """As in the base class, under both masks."""
        self.mask_policy.clear_caches()  # so that a training that goes on here finds the very same digits
        collected: bool = super().collect_rollouts(_MaskedTwice(env, self), *args, **kwargs)
        return collected

    def train(self) -> None:
        """As in the base class; every `target_update` rollouts the copy is made anew."""
        super().train()
        self._rollouts += 1
        if self._rollouts % self.target_update == 0:
            self._copy()

    def _copy(self) -> None:
        self.mask_policy.load_state_dict(self.policy.state_dict())

    def predict(
        self,
        observation: np.ndarray | dict[str, np.ndarray],
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
        action_masks: np.ndarray | None = None,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """As in the base class; the mask policy's masks hold here too, with or without `action_masks`."""
        masks = self.masks(self.policy.obs_to_tensor(observation)[0], action_masks)
        chosen: tuple[np.ndarray, tuple[np.ndarray, ...] | None] = super().predict(
            observation, state, episode_start, deterministic, masks
        )
        return chosen

    # Saving and loading -----------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """What a training has beside MaskablePPO's own: the mask policy, and how many rollouts have been trained on."""
        weights = {name: value for name, value in self.mask_policy.state_dict().items() if name != "_extra_state"}
        return {"mask_policy": weights, "rollouts": self._rollouts}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes over what `state_dict` gave."""
        self.mask_policy.load_state_dict({**self.mask_policy.state_dict(), **state["mask_policy"]})
        self._rollouts = int(state["rollouts"])

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "mask_policy"]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        names, variables = super()._get_torch_save_params()
        return [*names, "mask_policy"], variables


class _MaskedTwice(VecEnvWrapper):
    """The environment as a rollout sees it: its `action_masks` are those of the mask policy too."""

    def __init__(self, env: VecEnv, agent: NLPO) -> None:
        super().__init__(env)
        self._agent = agent

    def reset(self) -> Any:
        return self.venv.reset()

    def step_wait(self) -> Any:
        return self.venv.step_wait()

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        answers = super().env_method(method_name, *args, indices=indices, **kwargs)
        if method_name != "action_masks":
            return answers
        masks = self._agent.masks(self._agent._last_obs, np.stack(answers))
        assert masks is not None
        return list(masks)


def build(env: VecEnv, model: str | Path, **settings: Any) -> NLPO:
    """An NLPO agent that begins as the language model `model`; settings as in `textgym.sb3.agent.make_agent`.

    Raises:
        MissingExtraError: sb3-contrib is not installed.
    """
    return make_agent(NLPO, NLPO_DEFAULTS, env, model, **{"policy_class": MaskableTransformerPolicy, **settings})
