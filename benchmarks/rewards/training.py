"""A run: an agent learns on a design, is looked at on its way, and evaluated at its end."""

from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from textgym.benchmarks.rewards.columns import places_of, written
from textgym.benchmarks.rewards.plan import Job
from textgym.benchmarks.rewards.writers import Writer, language_model, starts_as, task_of, writings, written_about

from textgym.envs.tasks import Task
from textgym.errors import TaskError
from textgym.models.causal_network import CausalNetwork
from textgym.runs.agents import agent_builder, build_agent, check_agent, environment_of, settings_of
from textgym.runs.config import TrainConfig
from textgym.sb3.callbacks import RewardLog
from textgym.sb3.dual_ascent import DualAscent
from textgym.sb3.vec_env import make_sb3_env
from textgym.scorers.constrained import multipliers
from textgym.scorers.reward import Reward, bind_reward

LOOKED_AT = 100
"""Prompts of a look."""

CURVE = {
    "tokens/total": "tokens",
    "reward/paid": "reward",
    "gold/quality": "gold",
    "kl/reference": "kl",
    "rollout/length": "length",
    "rollout/entropy": "entropy",
    "rollout/eos_rate": "ended",
    "rollout/rep_4": "rep-4",
}
"""What the log of training calls what rows keep of each rollout."""

PRICE, POINTS = "lagrangian/", 60
"""Prices of constraints in that log; most points of a curve."""


OWN = ("learning_rate", "temperature")
"""Settings of an agent that a run has fields of its own for."""


def learned(job: Job, folder: Path) -> dict[str, Any]:
    """The run of a job."""
    task, config = task_of(job), config_of(job)
    reference, paid = language_model(job, folder), bind_reward(job["reward"] or task.reward, task.context)
    agent = agent_of(job, folder, task, config)
    curve = _Curve()
    look = _Look(job, task, reference, paid)
    callbacks: list[BaseCallback] = [DualAscent()] if multipliers(paid.bound) else []
    callbacks += [RewardLog(reference=starts_as(job, folder)), curve, look]
    agent.learn(config.steps, callback=CallbackList(callbacks))
    found = writings(Writer(network_of(agent), reference), job, paid, agent.num_timesteps)
    found["evaluations"] = [*look.found, *found["evaluations"]]
    return found | {"curve": curve.points()}


def config_of(job: Job) -> TrainConfig:
    """A job's settings, as a run has them; the KL is left away where its agent knows of none."""
    known = settings_of(agent_builder(job["agent"]))
    held = known is None or "kl_coef" in known
    settings = dict(job["settings"])
    own = {name: settings.pop(name) for name in OWN if name in settings}
    return TrainConfig(
        task=job["task"],
        model=job["model"],
        reward=job["reward"] or None,
        delivery=job["delivery"],
        agent=job["agent"],
        settings=settings,
        **own,
        constraint=job["constraint"],
        steps=job["tokens"],
        envs=job["rows"],
        kl=job["beta"] if held else None,
        kl_in=job["kl_in"] if held else None,
        kl_estimator="full" if held and job["kl_in"] == "loss" else None,
        seed=seed_of(job),
    )


def agent_of(job: Job, folder: Path, task: Task, config: TrainConfig) -> BaseAlgorithm:
    """The agent of a job in its environment, before it has learned.

    Raises:
        TaskError: an agent without a language model of its own to learn; or settings that it does not take.
    """
    build = check_agent(config)
    env = make_sb3_env(
        "TextGen-v0",
        n_envs=config.envs,
        seed=config.seed,
        task=task,
        reward=config.reward,
        delivery=config.delivery,
        gamma=job["gamma"],
        **environment_of(build, config),
    )
    agent = build_agent(build, env, starts_as(job, folder), config)
    if not isinstance(getattr(agent.policy, "transformer", None), CausalNetwork):
        raise TaskError(
            f"agent {config.agent} trains no language model whose KL could be measured: name another, e.g. grpo or ppo"
        )
    return agent


def network_of(agent: BaseAlgorithm) -> CausalNetwork:
    """What an agent writes with."""
    network: CausalNetwork = agent.policy.transformer.eval()  # type: ignore[assignment,operator,union-attr]
    return network


def seed_of(job: Job) -> int:
    """Of a run: the same for all designs, which are compared under the same draws; far apart for its neighbours."""
    return int(np.random.SeedSequence([job["checkpoint"], job["seed"]]).generate_state(1)[0] >> 1)


class _Curve(BaseCallback):
    """Keeps what `RewardLog`, which stands before it, has logged of each rollout."""

    def __init__(self) -> None:
        super().__init__()
        self._points: list[dict[str, float | None]] = []

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        known = self.logger.name_to_value
        point = {name: known[key] for key, name in CURVE.items() if key in known}
        point |= {f"price/{key.removeprefix(PRICE)}": known[key] for key in known if key.startswith(PRICE)}
        columns = {name: np.array([float(value)]) for name, value in point.items()}
        self._points.append({name: value for name, (value,) in written(columns).items()})

    def points(self) -> list[dict[str, float | None]]:
        """At most `POINTS`, evenly over the run, the last one among them."""
        places = np.unique(np.linspace(0, len(self._points) - 1, min(POINTS, len(self._points))).round().astype(int))
        return [self._points[place] for place in places.tolist()]


class _Look(BaseCallback):
    """Evaluates on the way, at temperature 1."""

    def __init__(self, job: Job, task: Task, reference: CausalNetwork, paid: Reward) -> None:
        super().__init__()
        self._job, self._task, self._reference, self._paid = job, task, reference, paid
        looks, tokens = job["looks"], job["tokens"]
        self._due = [tokens * number // (looks + 1) for number in range(1, looks + 1)]
        self.found: list[dict[str, Any]] = []

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        if not self._due or self.num_timesteps < self._due[0]:
            return
        self._due = [due for due in self._due if due > self.num_timesteps]
        places = places_of(self._task, self._job["prompts"])[:LOOKED_AT]
        writer = Writer(self.model.policy.transformer, self._reference)  # type: ignore[arg-type,union-attr]
        _, values = written_about(writer, self._task, self._job, places, "sampled", self._paid)
        seen = {"tokens": self.num_timesteps, "way": "sampled", "final": False, "values": written(values)}
        self.found.append(seen)
