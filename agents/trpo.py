"""TRPO (Schulman et al. 2015): sb3-contrib's own, with settings that suit text, and fewer backward passes.

Each update goes along the natural gradient, found by conjugate gradients on Fisher-vector products, as far as a mean KL
of `target_kl` nats a token allows, and back until the surrogate grows (section 6 and appendix C).

It keeps the whole distribution of every step of the rollout, with the graph of its gradient: at V = 50,257 some GB for
4,096 tokens. So it is for small vocabularies; PPO approximates it at the price of an ordinary gradient.
"""

from pathlib import Path
from typing import Any

import torch
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor, nn

from textgym.errors import MissingExtraError, TaskError
from textgym.sb3 import EpisodeRolloutBuffer
from textgym.sb3.agent import make_agent

try:
    from sb3_contrib import TRPO
except ImportError as error:
    raise MissingExtraError("sb3-contrib", "contrib", "TRPO") from error

TRPO_DEFAULTS: dict[str, Any] = {
    "gamma": 1.0,  # as for PPO: a text is worth its score however long it is
    "gae_lambda": 1.0,  # as for PPO
    "n_steps": 64,  # as for PPO
    "batch_size": 1024,  # of the critic's updates; the policy's takes the whole rollout
    "n_critic_updates": 10,  # TRPO's own; the critic does not train the trunk (see `value_head`)
    "learning_rate": 1e-3,  # the critic's alone: the policy's step follows from `target_kl`
    "target_kl": 0.01,  # nats a token, a rollout (Schulman et al. 2015, table 2: delta)
    "cg_max_steps": 10,  # Fisher-vector products, each as dear as two gradients
    "cg_damping": 0.1,  # TRPO's own
    "rollout_buffer_class": EpisodeRolloutBuffer,  # as for PPO
}
"""Keyword arguments for TRPO: `TRPO(TransformerPolicy, env, policy_kwargs={"model": ...}, **TRPO_DEFAULTS)`."""


class TransformerTRPO(TRPO):
    """sb3-contrib's TRPO, which takes the gradients of KL and surrogate by all parameters at once.

    There each of a Transformer's dozens of parameters costs two backward passes of its own; the gradients are the same.
    """

    def _compute_actor_grad(
        self, kl_div: Tensor, policy_objective: Tensor
    ) -> tuple[list[nn.Parameter], Tensor, Tensor, list[tuple[int, ...]]]:
        named = [(name, p) for name, p in self.policy.named_parameters() if p.requires_grad and "value" not in name]
        of_kl = torch.autograd.grad(kl_div, [p for _, p in named], create_graph=True, allow_unused=True)
        moved = [(p, gradient) for (_, p), gradient in zip(named, of_kl, strict=True) if gradient is not None]
        parameters = [p for p, _ in moved]
        of_objective = torch.autograd.grad(policy_objective, parameters, retain_graph=True)
        flat = torch.cat([gradient.reshape(-1) for gradient in of_objective])
        flat_kl = torch.cat([gradient.reshape(-1) for _, gradient in moved])
        return parameters, flat, flat_kl, [tuple(p.shape) for p in parameters]


def build(env: VecEnv, model: str | Path, **settings: Any) -> TransformerTRPO:
    """A TRPO agent that begins as the language model `model`; settings as in `textgym.sb3.agent.make_agent`.

    Raises:
        TaskError: `sub_sampling_factor`: steps of an episode are scored in one pass, so that none can be left out; or
            a KL in the loss, which here is no sum that a term could be added to.
        MissingExtraError: sb3-contrib is not installed.
    """
    if settings.get("sub_sampling_factor", 1) != 1:
        raise TaskError(
            f"sub_sampling_factor={settings['sub_sampling_factor']}: whole episodes are scored in one pass, so leaving "
            "steps out saves nothing. Lower n_steps instead"
        )
    if settings.get("kl_in") == "loss":
        raise TaskError('kl_in="loss": TRPO climbs the surrogate within a bound, without further terms. Use "reward"')
    return make_agent(TransformerTRPO, TRPO_DEFAULTS, env, model, **settings)
