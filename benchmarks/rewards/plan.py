"""How much of everything a benchmark of designs measures, and the jobs that this makes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from textgym.benchmarks.rewards.design import Design
from textgym.benchmarks.rewards.job import USES, Job, a_job, key_of, making, pool

from textgym.errors import TaskError
from textgym.reports.results import AFTER

RECIPES: Mapping[str, Mapping[str, Any]] = {
    # All weights, and the whole sum of a text's tokens, which has no bias of length. Advantages are divided by the
    # group's standard deviation, so that one beta means the same whatever the unit of a reward.
    "grpo": {"aggregate": "token_sum", "n_epochs": 2, "batch_size": 2048, "learning_rate": 3e-4},
    "rloo": {"learning_rate": 3e-4, "max_grad_norm": 1.0},
    # Rollouts that hold whole stories; advantages are standardised here too.
    "ppo": {"n_steps": 128, "batch_size": 2048, "n_epochs": 2, "learning_rate": 1e-4},
}
"""Settings of agents, by name; another agent has its own. A design's own go before them."""

LOOKED_AT = 100
"""Prompts of an evaluation on the way of a run."""


@dataclass(frozen=True)
class Plan:
    """How much is measured, and how whatever a design leaves open is done.

    Args:
        task: by name.
        model: what all runs begin as, a checkpoint by folder or name: checkpoint 0.
        checkpoints: language models that designs are tried on; those after the first are fitted, like it.
        size: of those, by name.
        pretrain_tokens: that each of those is fitted on.
        seeds: runs of each design on each of them.
        agent: who learns, by name.
        delivery: when rewards are paid.
        beta: coefficient of the KL, in standard deviations of the reward a nat.
        betas: of the comparison at equal KL; `beta` is measured anyway.
        kl_in: where the KL is paid.
        tokens: that each run writes.
        rows: texts that an agent writes at a time.
        prompts: held-out ones of an evaluation.
        looks: evaluations on the way of a run, at temperature 1 alone.
        best_of: texts of each prompt in the pool that best-of-n chooses from.
        pinned: prompts whose texts are kept and shown.
        pairs: numbers of pairs that rewards are learned from.
        proxy_sizes: of the models that learn them: "linear", or a Transformer's by name.
        proxy_betas: coefficients of the KL of runs on them.
        labels: numbers of labelled texts that the reward of the experiment on real text is learned from.
        experiments: which comparisons, by name.

    Raises:
        TaskError: a number out of its range.
    """

    task: str = "story"
    model: str = "story-small"
    checkpoints: int = 3
    size: str = "small"
    pretrain_tokens: int = 1_500_000
    seeds: int = 2
    agent: str = "grpo"
    delivery: str = "terminal"
    beta: float = 0.1
    betas: tuple[float, ...] = (1.0, 0.5, 0.25, 0.1, 0.03, 0.01)
    kl_in: str = "loss"
    tokens: int = 100_000
    rows: int = 64
    prompts: int = 500
    looks: int = 2
    best_of: int = 64
    pinned: int = 6
    pairs: tuple[int, ...] = (100, 1_000, 10_000)
    proxy_sizes: tuple[str, ...] = ("linear", "tiny", "small")
    proxy_betas: tuple[float, ...] = (0.1, 0.01)
    labels: tuple[int, ...] = (100,)
    experiments: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("checkpoints", "seeds", "tokens", "rows", "prompts", "best_of", "pretrain_tokens"):
            if getattr(self, name) < 1:
                raise TaskError(f"{name}={getattr(self, name)} must be at least 1")
        for name in ("looks", "pinned"):
            if getattr(self, name) < 0:
                raise TaskError(f"{name}={getattr(self, name)} must be at least 0")
        if not all(0 <= beta < float("inf") for beta in (self.beta, *self.betas, *self.proxy_betas)):
            raise TaskError(f"betas {(self.beta, *self.betas)}: coefficients of a KL are at least 0")

    @classmethod
    def full(cls, **changes: Any) -> "Plan":
        """Everything; hours."""
        from textgym.benchmarks.rewards.experiments import EXPERIMENTS

        return cls(**{"experiments": tuple(EXPERIMENTS), **changes})

    @classmethod
    def quick(cls, **changes: Any) -> "Plan":
        """One run of each design, and best-of-n from one pool; minutes."""
        small = {"checkpoints": 1, "seeds": 1, "tokens": 75_000, "prompts": 200, "looks": 1, "best_of": 16}
        return cls(**{"experiments": ("designs",), **small, **changes})

    def on(self, checkpoint: int) -> dict[str, Any]:
        """What a job stands on that begins with a checkpoint, by its number."""
        found: dict[str, Any] = {"task": self.task, "model": self.model, "checkpoint": checkpoint}
        if checkpoint:
            start = making("checkpoint", "checkpoint", found, size=self.size, tokens=self.pretrain_tokens)
            found[USES] = {"start": start}
        return found

    @property
    def evaluated(self) -> dict[str, int]:
        """What jobs say of their evaluation."""
        return {"prompts": self.prompts, "pinned": self.pinned}


def jobs(plan: Plan, designs: Sequence[Design]) -> list[Job]:
    """All jobs of a plan, each once and after those that it builds on.

    Raises:
        UnknownNameError: an experiment that there is not.
    """
    from textgym.benchmarks.rewards.experiments import experiment

    found: dict[str, Job] = {}
    for job in yardsticks(plan, [plan.on(checkpoint) for checkpoint in range(plan.checkpoints)]):
        _add(found, job)
    for name in plan.experiments:
        for job in experiment(name)(plan, designs):
            _add(found, job)
    return list(found.values())


def _add(found: dict[str, Job], job: Job) -> str:
    """Adds a job and what it builds on; its key."""
    key = key_of(job)
    if key not in found:
        needed = [_add(found, other) for other in job.get(USES, {}).values()]
        found[key] = job | ({AFTER: needed} if needed else {})
    return key


def yardsticks(plan: Plan, grounds: Sequence[Mapping[str, Any]], corpus: bool = True) -> Iterator[Job]:
    """What all else is compared with: the models that runs begin as, and the task's texts if those are good ones."""
    for on in grounds:
        yield a_job("reference", "designs", "reference", on, **plan.evaluated)
    if corpus:
        yield a_job("corpus", "designs", "corpus", grounds[0], **plan.evaluated)


def training(
    plan: Plan,
    design: Design,
    experiment: str,
    variant: Mapping[str, Any],
    on: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Iterator[Job]:
    """The runs of a design under a variant: one a checkpoint and seed.

    Args:
        plan: says what the design leaves open.
        design: what is paid.
        experiment: that the runs belong to.
        variant: what the experiment varies, by name.
        on: what they stand on; None for each of the plan's checkpoints.
        **changes: to the job that plan and design make.
    """
    agent = design.agent or plan.agent
    told = {
        "reward": design.reward,
        "variant": dict(variant),
        "agent": agent,
        "settings": {**RECIPES.get(agent, {}), **design.settings},
        "constraint": None if design.constraint is None else dict(design.constraint),
        "delivery": design.delivery or plan.delivery,
        "gamma": 1.0 if design.gamma is None else design.gamma,
        "beta": plan.beta if design.beta is None else design.beta,
        "kl_in": design.kl_in or plan.kl_in,
        "tokens": plan.tokens,
        "rows": plan.rows,
        "looks": plan.looks,
        **plan.evaluated,
        **changes,
    }
    for ground in [on] if on is not None else [plan.on(checkpoint) for checkpoint in range(plan.checkpoints)]:
        for seed in range(plan.seeds):
            yield a_job("training", experiment, design.name, ground, **told, seed=seed)


def best_of_n(
    plan: Plan, design: Design, on: Mapping[str, Any], experiment: str = "designs", **variant: Any
) -> Iterator[Job]:
    """The best of 2, 4, 8 ... texts by a design, of a pool that all designs share.

    Args:
        plan: says how many texts the pool has of each prompt.
        design: what is paid.
        on: what the pool stands on, and the design.
        experiment: that it belongs to.
        **variant: what else the experiment varies.
    """
    uses = {**on.get(USES, {}), "pool": pool(on, plan.prompts, plan.best_of)}
    told = {"reward": design.reward, "agent": "best_of_n", "seed": 0, **plan.evaluated}
    for n in powers(plan.best_of):
        yield a_job("best_of_n", experiment, design.name, {**on, USES: uses}, **told) | {"variant": {**variant, "n": n}}


def powers(most: int) -> list[int]:
    """2, 4, 8, ... up to `most`, which is the last."""
    found = [2**power for power in range(1, most.bit_length()) if 2**power < most]
    return [*found, most] if most > 1 else []
