"""What agents are worth after so many tokens: (V* - V) / (V* - V_uniform), exact, as they sample and greedy.

With KL control the same of the soft value, E R - beta KL, beside the KL of the soft optimum.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache, partial
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv
from textgym.agents.exact_policy import agent_policy
from textgym.benchmarks.oracle.learners import BASELINES, LEARNERS, NEAR, Learner
from textgym.benchmarks.oracle.networks import save_network
from textgym.benchmarks.oracle.unit import Row, Unit

from textgym.envs.micro import micro
from textgym.errors import TaskError
from textgym.models.checkpoint import load_language_model
from textgym.oracle import Solution, bellman, solve
from textgym.oracle.policies import ask, looked_up
from textgym.runs.agents import agent_builder
from textgym.sb3 import make_sb3_env


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
        tokens: that an agent may write.
        points: of the learning curve, evenly spread.
        seeds: runs of each agent.
        worlds: micro worlds, paid at the end of a text.
        vocab_size: actions.
        horizon: tokens of a text at most.
        n_embd: width of the network, of one block and two heads.
        near_tokens: the same where agents are held near a reference.
        beta: price of a nat, where agents are held near a reference.
        near: world in which they are.
        n: texts that the best is picked from, in best of n.
    """

    tokens: int = 80_000
    points: int = 5
    seeds: int = 5
    worlds: tuple[str, ...] = ("bigram", "grammar")
    vocab_size: int = 8
    horizon: int = 6
    n_embd: int = 32
    near_tokens: int = 150_000
    beta: float = 0.5
    near: str = "bigram"
    n: int = 64


QUICK = Plan(tokens=1_500, near_tokens=1_500, points=2, seeds=1, vocab_size=4, horizon=3, n_embd=8, n=4)

DIGITS = 7
"""Of what is saved."""

REFERENCE_SCALE = 1.5
"""What the random weights of the reference are multiplied by, lest it be uniform."""


def units(plan: Plan) -> Iterator[Unit]:
    """A piece of work for each agent, world and seed."""
    config = asdict(plan)
    yield Unit("regret", f"{plan.near}, KL: the loss", 0, config, partial(stands_still, plan))
    for turn in range(plan.seeds):
        for world in plan.worlds:
            for one in LEARNERS:
                about = {**config, "learner": asdict(one)}
                yield Unit("regret", f"{world}: {one.name}", turn, about, partial(learned, plan, world, one, turn))
        for one in NEAR:
            about = {**config, "learner": asdict(one)}
            yield Unit("regret", f"{plan.near}, KL: {one.name}", turn, about, partial(held_near, plan, one, turn))
        for world in plan.worlds:
            yield Unit("regret", f"{world}: baselines", turn, config, partial(planned, plan, world, turn))


def learned(plan: Plan, world: str, one: Learner, seed: int) -> list[Row]:
    """The learning curve of an agent, from its beginning on."""
    solution = _solved(world, plan.vocab_size, plan.horizon)
    with _network(plan, world, seed) as folder:
        agent = _made(one, _env(plan, world, one), folder, seed)
    tokens = (one.tokens or Plan.tokens) * plan.tokens // Plan.tokens
    return _curve(plan, agent, solution, tokens, {"name": one.name, "world": world})


def held_near(plan: Plan, one: Learner, seed: int) -> list[Row]:
    """The same of an agent that begins as a reference and is held near it, by the soft value."""
    task = micro(plan.near, vocab_size=plan.vocab_size, horizon=plan.horizon)
    with _network(plan, plan.near, 0, REFERENCE_SCALE) as folder:
        solution = solve(task, beta=plan.beta, reference=load_language_model(folder))
        agent = _made(one, _env(plan, plan.near, one), folder, seed, kl_coef=plan.beta)
    return _curve(plan, agent, solution, plan.near_tokens, {"name": one.name, "world": plan.near, "beta": plan.beta})


def stands_still(plan: Plan) -> list[Row]:
    """Where the KL in the loss leads, had it no noise: pi(a|s) proportional to pi_ref exp(Q(s, a) / beta), Q of pi.

    It is not the soft optimum: no KL that a token makes dear later is in this Q, since in the loss each state's KL is
    derived by what is chosen there.
    """
    task = micro(plan.near, vocab_size=plan.vocab_size, horizon=plan.horizon)
    with _network(plan, plan.near, 0, REFERENCE_SCALE) as folder:
        solution = solve(task, beta=plan.beta, reference=load_language_model(folder))
    assert solution.soft is not None
    reference, chances = solution.soft.reference, np.zeros(solution.soft.reference.shape)

    def backup(q: np.ndarray, rows: slice) -> np.ndarray:
        logits = reference[rows] + q / plan.beta
        chances[rows] = np.exp(logits - bellman.log_sum_exp(logits)[:, None])
        return bellman.under(chances)(q, rows)

    bellman.backward(solution.tree, solution.gamma, backup)
    with np.errstate(divide="ignore"):
        found = solution.evaluate(looked_up(solution.tree, np.log(chances)))
    told = {"tokens": 0, "sampled": found.regret, "soft": found.soft_regret, "kl": found.kl}
    about = {"name": "where the KL in the loss leads", "world": plan.near, "beta": plan.beta}
    return [{**about, "measured": {**told, "best_kl": solution.soft.kl}}]


def planned(plan: Plan, world: str, seed: int) -> list[Row]:
    """What agents that learn nothing are worth."""
    solution = _solved(world, plan.vocab_size, plan.horizon)
    with _network(plan, world, seed) as folder:
        begun = _made(LEARNERS[0], _env(plan, world, LEARNERS[0]), folder, seed)
        found = {
            "random": solution.uniform_value,
            "greedy": solution.evaluate(agent_policy(begun, deterministic=True)).value,
            "beam": _played(Learner("beam", "beam", rows=1), plan, world, folder, seed),
            "best_of_n": solution.best_of_n(plan.n, agent_policy(begun)).expected_reward,
        }
    assert tuple(found) == BASELINES
    scale = solution.value - solution.uniform_value
    regrets = {name: (solution.value - value) / scale for name, value in found.items()}
    return [
        {"name": name, "world": world, "measured": {"tokens": 0, "sampled": regret}} for name, regret in regrets.items()
    ]


class _Curve(BaseCallback):
    """Evaluates the agent exactly, between two rollouts, whenever so many tokens have been written since."""

    def __init__(self, solution: Solution, every: float) -> None:
        super().__init__()
        self.solution, self.every = solution, every
        self.points: list[dict[str, Any]] = []
        self.seconds, self._began = 0.0, process_time()

    def _on_rollout_start(self) -> None:
        if self.num_timesteps >= len(self.points) * self.every:
            self.evaluate()

    def evaluate(self) -> None:
        """Adds a point."""
        self.seconds += process_time() - self._began
        logprobs = ask(agent_policy(self.model), self.solution.tree)
        sampled = self.solution.evaluate(looked_up(self.solution.tree, logprobs))
        best = np.where(np.arange(logprobs.shape[1]) == logprobs.argmax(1)[:, None], 0.0, -np.inf)
        found: dict[str, Any] = {
            "sampled": sampled.regret,
            "greedy": self.solution.regret(looked_up(self.solution.tree, best)),
        }
        if self.solution.soft is not None:
            found |= {"soft": sampled.soft_regret, "kl": sampled.kl, "best_kl": self.solution.soft.kl}
        found = {name: round(float(value), DIGITS) for name, value in found.items()}
        self.points.append({"tokens": self.model.num_timesteps, **found, "seconds": round(self.seconds, 2)})
        self._began = process_time()

    def _on_step(self) -> bool:
        return True


def _curve(plan: Plan, agent: Any, solution: Solution, tokens: int, about: Mapping[str, Any]) -> list[Row]:
    curve = _Curve(solution, tokens / plan.points)
    agent.learn(tokens, callback=curve)
    curve.evaluate()
    return [{**about, "measured": curve.points[-1], "curve": curve.points}]


def _made(one: Learner, env: VecEnv, model: Any, seed: int, **more: Any) -> Any:
    settings = {**one.settings, **more}
    if one.decays:
        rate = settings["learning_rate"]
        settings["learning_rate"] = lambda left: rate * left
    return agent_builder(one.agent)(env, model, seed=seed, device="cpu", **settings)


def _env(plan: Plan, world: str, one: Learner) -> VecEnv:
    needed = getattr(agent_builder(one.agent), "environment", {})
    task = micro(world, vocab_size=plan.vocab_size, horizon=plan.horizon)
    return make_sb3_env(n_envs=one.rows, task=task, **needed)


@cache
def _solved(world: str, vocab_size: int, horizon: int) -> Solution:
    return solve(micro(world, vocab_size=vocab_size, horizon=horizon))


def _played(one: Learner, plan: Plan, world: str, folder: str, seed: int) -> float:
    """What a text earns, of an agent that always writes the same one."""
    env = _env(plan, world, one)
    agent, observations = _made(one, env, folder, seed), env.reset()
    for _ in range(plan.horizon):
        observations, rewards, over, _ = env.step(agent.predict(observations)[0])
        if over[0]:
            return float(rewards[0])
    raise TaskError(f"a text of more than {plan.horizon} tokens")


@contextmanager
def _network(plan: Plan, world: str, seed: int, scale: float = 1.0) -> Iterator[str]:
    """The folder of a network with random weights, with which all agents of a seed begin."""
    task = micro(world, vocab_size=plan.vocab_size, horizon=plan.horizon)
    shape = {"n_layer": 1, "n_head": 2, "n_embd": plan.n_embd}
    with TemporaryDirectory() as folder:
        save_network(folder, task, shape, seed=seed, scale=scale)
        yield folder
