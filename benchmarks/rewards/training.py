"""A run: an agent learns on a design, is looked at on its way, and evaluated at its end."""

from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from textgym.benchmarks.rewards.columns import places_of, written
from textgym.benchmarks.rewards.ground import Ground, ground_of
from textgym.benchmarks.rewards.job import Job
from textgym.benchmarks.rewards.plan import LOOKED_AT
from textgym.benchmarks.rewards.writings import before, writings, written_about

from textgym.envs.episodes import Episodes
from textgym.errors import TaskError
from textgym.models.causal_network import CausalNetwork
from textgym.runs.agents import agent_builder, build_agent, check_agent, environment_of, settings_of
from textgym.runs.config import TrainConfig
from textgym.runs.evaluate import constraints_of
from textgym.sb3.callbacks import RewardLog
from textgym.sb3.dual_ascent import DualAscent
from textgym.sb3.planner import PlanningAlgorithm
from textgym.sb3.vec_env import make_sb3_env
from textgym.scorers.constrained import multipliers

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
    ground = ground_of(job, folder)
    config, reference = config_of(job, ground), ground.network()
    agent = agent_of(job, ground, config)
    obeyed = constraints_of(agent, ground.task)
    curve, look = _Curve(), _Look(job, ground, reference, obeyed)
    assert ground.paid is not None
    callbacks: list[BaseCallback] = [DualAscent()] if multipliers(ground.paid.bound) else []
    callbacks += [RewardLog(reference=ground.start), curve, look]
    agent.learn(config.steps, callback=CallbackList(callbacks))
    found = writings(network_of(agent), reference, job, ground, agent.num_timesteps, obeyed)
    begun = before(ground, places_of(ground.task, job["prompts"]))
    found["evaluations"] = [*begun, *look.found, *found["evaluations"]]
    return found | {"curve": curve.points()}


def config_of(job: Job, ground: Ground | None = None) -> TrainConfig:
    """A job's settings, as a run has them; the KL is left away where its agent knows of none."""
    known = settings_of(agent_builder(job["agent"]))
    held = known is None or "kl_coef" in known
    settings = dict(job["settings"])
    own = {name: settings.pop(name) for name in OWN if name in settings}
    return TrainConfig(
        model=job["model"] if ground is None else ground.start,
        reward=(job["reward"] if ground is None else ground.reward) or None,
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


def agent_of(job: Job, ground: Ground, config: TrainConfig) -> BaseAlgorithm:
    """The agent of a job in its environment, before it has learned.

    Raises:
        TaskError: an agent without a language model of its own to learn; or settings that it does not take.
    """
    build = check_agent(config)
    env = make_sb3_env(
        "TextGen-v0",
        n_envs=config.envs,
        seed=config.seed,
        task=ground.task,
        reward=config.reward,
        delivery=config.delivery,
        gamma=job["gamma"],
        **environment_of(build, config),
    )
    agent = build_agent(build, env, ground.start, config)
    if isinstance(agent, PlanningAlgorithm) or not isinstance(
        getattr(agent.policy, "transformer", None), CausalNetwork
    ):
        raise TaskError(
            f"agent {config.agent} trains no language model whose KL could be measured: name another, e.g. grpo or ppo"
        )
    return agent


def network_of(agent: BaseAlgorithm) -> CausalNetwork:
    """What an agent writes with."""
    network: CausalNetwork = agent.policy.transformer.eval()  # type: ignore[assignment,union-attr]
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

    def __init__(self, job: Job, ground: Ground, reference: CausalNetwork, obeyed: Episodes | None) -> None:
        super().__init__()
        self._ground, self._reference, self._obeyed = ground, reference, obeyed
        self._places = places_of(ground.task, job["prompts"])[:LOOKED_AT]
        looks, tokens = job["looks"], job["tokens"]
        self._due = [tokens * number // (looks + 1) for number in range(1, looks + 1)]
        self.found: list[dict[str, Any]] = []

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        if not self._due or self.num_timesteps < self._due[0]:
            return
        self._due = [due for due in self._due if due > self.num_timesteps]
        network: Any = self.model.policy.transformer
        _, values = written_about(network, self._reference, self._ground, self._places, "sampled", self._obeyed)
        seen = {"tokens": self.num_timesteps, "way": "sampled", "final": False, "values": written(values)}
        self.found.append(seen)
