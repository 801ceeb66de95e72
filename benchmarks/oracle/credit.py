"""Whom agents credit: the advantages that they compute, beside the exact ones Q(s, a) - V(s) of the policy as it is.

In the key-token world one token of a text decides, so that most of what others are credited with is noise.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float64
from stable_baselines3.common.callbacks import BaseCallback
from textgym.agents.exact_policy import agent_policy
from textgym.benchmarks.oracle.learners import FAST, SLOW, Learner
from textgym.benchmarks.oracle.unit import Row, Unit

from textgym.envs.micro import micro
from textgym.oracle import Solution, solve
from textgym.runs.agents import agent_builder
from textgym.sb3 import make_sb3_env

DELIVERIES = ("terminal", "per_token")


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
        tokens: that each agent writes and learns from before it is asked again.
        rollouts: whose advantages are compared, at the start and behind those tokens.
        seeds: runs.
        vocab_size: actions.
        horizon: tokens of a text at most.
        n_embd: width of the network, of one block and two heads.
    """

    tokens: int = 6_000
    rollouts: int = 4
    seeds: int = 5
    vocab_size: int = 6
    horizon: int = 5
    n_embd: int = 32


QUICK = Plan(tokens=500, rollouts=1, seeds=1, vocab_size=4, horizon=3, n_embd=8)


def _critic(name: str, agent: str, gae_lambda: float, **settings: Any) -> Learner:
    chosen = {"n_steps": 5, "normalize_advantage": False, "gae_lambda": gae_lambda, **settings}
    return Learner(f"{name}, GAE {gae_lambda:g}", agent, chosen)


_PPO = {"learning_rate": SLOW, "batch_size": 320}
_A2C = {"learning_rate": FAST}

CREDITED = (
    Learner("REINFORCE, whole return", "reinforce", {**_A2C, "reward_to_go": False, "baseline": "none"}),
    Learner("REINFORCE, leave one out", "reinforce", {**_A2C, "baseline": "leave_one_out"}),
    Learner("REINFORCE, value", "reinforce", {**_A2C, "baseline": "value"}),
    Learner("RLOO", "rloo", _A2C),
    Learner("GRPO", "grpo", _PPO),
    _critic("A2C", "a2c", 1.0, **_A2C),
    _critic("A2C", "a2c", 0.95, **_A2C),
    _critic("PPO", "ppo", 1.0, **_PPO),
    _critic("PPO", "ppo", 0.95, **_PPO),
)
"""In the order of the table."""


def units(plan: Plan) -> Iterator[Unit]:
    """A piece of work for each agent, delivery and seed."""
    for turn in range(plan.seeds):
        for delivery in DELIVERIES:
            for one in CREDITED:
                about = {**asdict(plan), "learner": asdict(one)}
                yield Unit(
                    "credit", f"{delivery}: {one.name}", turn, about, partial(credited, plan, delivery, one, turn)
                )


def credited(plan: Plan, delivery: str, one: Learner, seed: int) -> list[Row]:
    """The correlation at the start, and after some training."""
    builder = agent_builder(one.agent)
    task = micro("key-token", vocab_size=plan.vocab_size, horizon=plan.horizon)
    env = make_sb3_env(n_envs=one.rows, task=task, delivery=delivery, **getattr(builder, "environment", {}))
    shape = {"n_layer": 1, "n_head": 2, "n_embd": plan.n_embd}
    agent = builder(env, shape, seed=seed, device="cpu", **one.settings)
    solution = solve(task, delivery=delivery)
    found = {}
    for when, tokens in (("start", 0), ("end", plan.tokens)):
        if tokens:
            agent.learn(tokens, reset_num_timesteps=False)
        begun, watch = agent.num_timesteps, _Watch(solution, plan.rollouts)
        regret = solution.regret(agent_policy(agent))
        agent.learn(plan.rollouts * one.rows * plan.horizon, callback=watch, reset_num_timesteps=False)
        found[when] = {"tokens": begun, "regret": regret, "correlation": watch.correlation()}
    return [{"name": one.name, "delivery": delivery, "measured": found}]


class _Watch(BaseCallback):
    """Looks at the advantages of the first rollouts."""

    def __init__(self, solution: Solution, rollouts: int) -> None:
        super().__init__()
        self.solution, self.rollouts = solution, rollouts
        self.theirs: list[Float64[np.ndarray, " N"]] = []
        self.exact: list[Float64[np.ndarray, " N"]] = []

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        if len(self.theirs) == self.rollouts:
            return
        agent: Any = self.model
        exact = self.solution.policy_values(agent_policy(agent)).advantages
        theirs, due = _steps(agent.rollout_buffer, self.solution, exact)
        self.theirs.append(theirs)
        self.exact.append(due)

    def correlation(self) -> float:
        """Of all steps seen."""
        return float(np.corrcoef(np.concatenate(self.theirs), np.concatenate(self.exact))[0, 1])


def _steps(
    buffer: Any, solution: Solution, exact: Float64[np.ndarray, "N V"]
) -> tuple[Float64[np.ndarray, " N"], Float64[np.ndarray, " N"]]:
    """Advantages of all steps of a rollout, in an order of its own: the buffer's, and the exact ones."""
    segments = buffer.segments(range(buffer.n_segments))
    row, actions = segments.row.numpy(), segments.actions.numpy()
    lengths = segments.position.numpy() + 1
    tokens = np.where(np.arange(segments.tokens.shape[1]) < lengths[:, None], segments.tokens.numpy()[row], -1)
    places = solution.tree.find(tokens.astype(np.int32), lengths)
    theirs = buffer.advantages[buffer._steps(range(buffer.n_segments))]
    return theirs.astype(np.float64), exact[places, actions]
