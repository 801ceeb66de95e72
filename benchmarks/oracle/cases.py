"""The gradient estimators that are measured: how each agent is made, what its gradient should be, and what it is.

Shares of the right gradient that are known beforehand, of G texts in a group and N in a rollout:

- a group's mean that a text is part of shrinks the gradient by 1 - 1/G (GRPO), that of a rollout by 1 - 1/N ("mean");
- the mean over tokens in place of the sum over texts divides it by the length of the texts (A2C, PPO).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv
from textgym.agents import a2c, grpo, ppo, reinforce, rloo

from textgym.sb3.advantages import Steps
from textgym.sb3.agent import make_agent, needs
from textgym.sb3.text_buffer import WholeTextBuffer

GROUP = 4
"""Texts of a group."""

BETA = 0.5
"""Price of a nat, where there is a KL."""

FEW = 8
"""Texts of a rollout, where so small a number matters."""


@dataclass(frozen=True)
class Case:
    """An estimator.

    Attributes:
        name: what it is called.
        build: its builder.
        settings: of the agent.
        due: which of `targets` its mean should be.
        share: of that, as is known beforehand.
        per_token: whether it is a mean over tokens, and so that share divided by E[T].
        kind: "unbiased", "biased" or "wrong": what theory says.
        gamma: discount.
        rows: texts of a rollout; None for the plan's.
        endless: whether the policy never ends a text early, so that all have T tokens.
        kl: of the buffer, where there is one.
        moved: whether the gradient is that of a second step, from where the exact gradient leads.
    """

    name: str
    build: Any
    settings: Mapping[str, Any] = field(default_factory=dict)
    due: str = "return"
    share: float = 1.0
    per_token: bool = False
    kind: str = "unbiased"
    gamma: float = 1.0
    rows: int | None = None
    endless: bool = False
    kl: Mapping[str, Any] = field(default_factory=dict)
    moved: bool = False


class WrongSign(reinforce.REINFORCE):
    """Descends."""

    def advantages(self, buffer: WholeTextBuffer) -> Steps:
        """Those of REINFORCE, turned round."""
        found: Steps = -super().advantages(buffer)
        return found


class OffByOne(reinforce.REINFORCE):
    """Credits each step with what is paid after it, and not for it."""

    def advantages(self, buffer: WholeTextBuffer) -> Steps:
        """Those of REINFORCE, a step too late."""
        found = super().advantages(buffer)
        return np.concatenate([found[1:], np.zeros_like(found[:1])])


class ActionBaseline(reinforce.REINFORCE):
    """Subtracts a baseline that looks at the action."""

    def advantages(self, buffer: WholeTextBuffer) -> Steps:
        """Those of REINFORCE, less a half for every second token of the vocabulary."""
        baseline: Steps = 0.5 * (buffer.actions % 2).astype(np.float32)
        found: Steps = super().advantages(buffer) - baseline
        return found


def _wrong(algorithm: type[reinforce.REINFORCE]) -> Any:
    @needs(autoreset=False)
    def build(env: VecEnv, model: str, **settings: Any) -> BaseAlgorithm:
        return make_agent(algorithm, {}, env, model, **settings)

    return build


def _reinforce(name: str, **changed: Any) -> Case:
    settings: dict[str, Any] = {key: changed.pop(key) for key in ("reward_to_go", "baseline") if key in changed}
    return Case(f"REINFORCE, {name}", reinforce.build, settings, **changed)


def _grpo(name: str, std: bool, aggregate: str, *, steps: int = 1, clip: float = 0.2, **changed: Any) -> Case:
    changed |= {"share": 1 - 1 / GROUP, "per_token": aggregate != "token_sum"}
    settings = {"scale_advantages": std, "aggregate": aggregate, "n_epochs": steps, "batch_size": None}
    clips = {"clip_range": min(clip, 0.999), "clip_range_high": clip}
    return Case(f"GRPO, {name}", grpo.build, {**settings, **clips, "max_grad_norm": None}, **changed)


_ONCE = {"normalize_advantage": False, "gae_lambda": 1.0, "max_grad_norm": float("inf")}
_PPO = {**_ONCE, "n_epochs": 1}
_LOO = {"baseline": "leave_one_out"}

CASES = (
    _reinforce("whole return", reward_to_go=False, baseline="none"),
    _reinforce("whole return, leave one out", reward_to_go=False, baseline="leave_one_out"),
    _reinforce("whole return, value", reward_to_go=False, baseline="value"),
    _reinforce("reward to go", baseline="none"),
    _reinforce("reward to go, leave one out", baseline="leave_one_out"),
    _reinforce("reward to go, value", baseline="value"),
    _reinforce("whole return, gamma .8", reward_to_go=False, baseline="none", gamma=0.8),
    _reinforce("reward to go, gamma .8", baseline="leave_one_out", gamma=0.8),
    _reinforce("reward to go, mean of 8", baseline="mean", rows=FEW, share=1 - 1 / FEW),
    Case("RLOO", rloo.build),
    _grpo("no std, token sum", False, "token_sum"),
    Case("A2C, texts of one length", a2c.build, _ONCE, per_token=True, endless=True),
    Case("PPO, texts of one length", ppo.build, _PPO, per_token=True, endless=True),
    Case("KL in the reward", reinforce.build, _LOO, due="kl", kl={"kl_in": "reward"}),
    Case(
        "KL in the loss, full", reinforce.build, _LOO, due="kl of states", kl={"kl_in": "loss", "kl_estimator": "full"}
    ),
    Case("KL in the loss, k2", reinforce.build, _LOO, due="kl of states", kl={"kl_in": "loss", "kl_estimator": "k2"}),
    Case("KL in the loss, k1 (none)", reinforce.build, _LOO, due="return", kl={"kl_in": "loss", "kl_estimator": "k1"}),
    Case(
        "KL in the loss, k3 (turned)",
        reinforce.build,
        _LOO,
        due="kl turned round",
        kl={"kl_in": "loss", "kl_estimator": "k3"},
    ),
    _reinforce("mean of 8, as if exact", baseline="mean", rows=FEW, kind="biased"),
    _grpo("std, token sum", True, "token_sum", kind="biased"),
    _grpo("no std, sequence mean", False, "sequence_mean", kind="biased"),
    _grpo("no std, token mean of 8", False, "token_mean", rows=FEW, kind="biased"),
    _grpo("as in the paper", True, "sequence_mean", kind="biased"),
    _grpo("second step", False, "token_sum", steps=2, clip=1e6, kind="biased", moved=True),
    _grpo("second step, clip .2", False, "token_sum", steps=2, kind="biased", moved=True),
    Case("A2C, texts cut, critic wrong", a2c.build, {**_ONCE, "n_steps": 6}, per_token=True, kind="biased"),
    Case(
        "PPO, GAE .5, critic wrong", ppo.build, {**_PPO, "gae_lambda": 0.5}, per_token=True, kind="biased", endless=True
    ),
    Case(
        "PPO, normalised advantages",
        ppo.build,
        {**_PPO, "normalize_advantage": True},
        per_token=True,
        kind="biased",
        endless=True,
    ),
    Case(
        "KL in the loss, full, as if of texts",
        reinforce.build,
        _LOO,
        due="kl",
        kind="biased",
        kl={"kl_in": "loss", "kl_estimator": "full"},
    ),
    Case(
        "KL in the loss, k3, as if of states",
        reinforce.build,
        _LOO,
        due="kl of states",
        kind="biased",
        kl={"kl_in": "loss", "kl_estimator": "k3"},
    ),
    Case("wrong sign", _wrong(WrongSign), kind="wrong"),
    Case("reward to go, off by one", _wrong(OffByOne), kind="wrong"),
    Case("baseline that looks at the action", _wrong(ActionBaseline), kind="wrong"),
)
"""In the order of the table."""
