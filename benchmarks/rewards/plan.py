"""What a benchmark of designs consists of: its jobs, each JSON-able, each found again by its hash."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from textgym.benchmarks.rewards.design import Design
from textgym.benchmarks.rewards.designs import GOLD

from textgym.errors import TaskError, UnknownNameError
from textgym.reports.results import AFTER, job_key
from textgym.runs.config import versions

Job = dict[str, Any]

RECIPES: Mapping[str, Mapping[str, Any]] = {
    # All weights, and the whole sum of a text's tokens, which has no bias of length. Advantages are divided by the
    # group's standard deviation, so that one beta means the same whatever the unit of a reward.
    "grpo": {"aggregate": "token_sum", "n_epochs": 2, "batch_size": 2048, "learning_rate": 3e-4},
    "rloo": {"learning_rate": 3e-4, "max_grad_norm": 1.0},
    # Rollouts that hold whole stories; advantages are standardised here too.
    "ppo": {"n_steps": 128, "batch_size": 2048, "n_epochs": 2, "learning_rate": 1e-4},
}
"""Settings of agents, by name; another agent has its own. A design's own go before them."""

MODEL = ("task", "model", "checkpoint", "size", "pretrain_tokens")
"""What says which language model a job begins with."""


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
        experiments: which comparisons, see `EXPERIMENTS`.

    Raises:
        TaskError: a number out of its range.
        UnknownNameError: an experiment that there is not.
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
    experiments: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("checkpoints", "seeds", "tokens", "rows", "prompts", "best_of", "pretrain_tokens"):
            if getattr(self, name) < 1:
                raise TaskError(f"{name}={getattr(self, name)} must be at least 1")
        for name in ("looks", "pinned"):
            if getattr(self, name) < 0:
                raise TaskError(f"{name}={getattr(self, name)} must be at least 0")
        if not all(0 <= beta < float("inf") for beta in (self.beta, *self.betas)):
            raise TaskError(f"betas {(self.beta, *self.betas)}: coefficients of a KL are at least 0")
        for name in self.experiments:
            if name not in EXPERIMENTS:
                raise UnknownNameError("experiment", name, EXPERIMENTS)

    @classmethod
    def full(cls, **changes: Any) -> "Plan":
        """Everything; hours."""
        return cls(**{"experiments": tuple(EXPERIMENTS), **changes})

    @classmethod
    def quick(cls, **changes: Any) -> "Plan":
        """One run of each design, and best-of-n from one pool; minutes."""
        small = {"checkpoints": 1, "seeds": 1, "tokens": 120_000, "prompts": 200, "looks": 1, "best_of": 16}
        return cls(**{"experiments": ("designs",), **small, **changes})

    @property
    def seeds_of_runs(self) -> Iterator[tuple[int, int]]:
        """(checkpoint, seed) of the runs of a design."""
        return ((checkpoint, seed) for checkpoint in range(self.checkpoints) for seed in range(self.seeds))


def jobs(plan: Plan, designs: Sequence[Design]) -> list[Job]:
    """All jobs of a plan, those that others wait for first; each once."""
    found: dict[str, Job] = {}
    for job in _jobs(plan, designs):
        found.setdefault(key_of(job), job)
    return list(found.values())


def key_of(job: Job) -> str:
    """What a job's row is found again by."""
    return job_key(job, versions())


def training(plan: Plan, design: Design, experiment: str, variant: Mapping[str, Any], **changes: Any) -> Iterator[Job]:
    """The runs of a design under a variant: one a checkpoint and seed.

    Args:
        plan: says what the design leaves open.
        design: what is paid.
        experiment: that the runs belong to.
        variant: what the experiment varies, by name.
        **changes: to the job that plan and design make.
    """
    agent = str(changes.get("agent", design.agent or plan.agent))
    kl_in = changes.get("kl_in", design.kl_in or plan.kl_in)
    settings = {**RECIPES.get(agent, {}), **design.settings, **changes.pop("settings", {})}
    for checkpoint, seed in plan.seeds_of_runs:
        job = _job(plan, "training", experiment, design.name, checkpoint) | {
            "reward": design.reward,
            "variant": dict(variant),
            "agent": agent,
            "settings": settings,
            "constraint": None if design.constraint is None else dict(design.constraint),
            "delivery": design.delivery or plan.delivery,
            "gamma": 1.0 if design.gamma is None else design.gamma,
            "beta": plan.beta if design.beta is None else design.beta,
            "kl_in": kl_in,
            "tokens": plan.tokens,
            "rows": plan.rows,
            "looks": plan.looks,
            "seed": seed,
        }
        yield job | changes


def best_of_n(plan: Plan, design: Design, checkpoint: int, n: int, experiment: str = "designs") -> Job:
    """The best of n texts by a design, of a pool that all designs share."""
    job = _job(plan, "best_of_n", experiment, design.name, checkpoint)
    job |= {"reward": design.reward, "variant": {"n": n}, "pool": plan.best_of, "agent": "best_of_n", "seed": 0}
    return job | {AFTER: [key_of(pool_of(job))]}


def fit_of(job: Job) -> Job:
    """The job that fits the language model which a job begins with."""
    return _made("checkpoint", job, MODEL)


def pool_of(job: Job) -> Job:
    """The job that writes the pool of texts which a job chooses from."""
    return _made("pool", job, (*MODEL, "prompts", "pool"))


def _made(what: str, job: Job, names: Sequence[str]) -> Job:
    """A job that makes what others use: it knows nothing but what it depends on, so that they can share it."""
    told = {"kind": "fit", "experiment": "designs", "design": what, "reward": "", "variant": {}}
    return told | {name: job[name] for name in names if name in job}


def powers(most: int) -> list[int]:
    """2, 4, 8, ... up to `most`, which is the last."""
    found = [2**power for power in range(1, most.bit_length()) if 2**power < most]
    return [*found, most] if most > 1 else []


def _jobs(plan: Plan, designs: Sequence[Design]) -> Iterator[Job]:
    for checkpoint in range(plan.checkpoints):
        reference = _job(plan, "reference", "designs", "reference", checkpoint)
        if checkpoint:
            yield fit_of(reference)
        yield reference
    yield _job(plan, "corpus", "designs", "corpus", 0)
    for name in plan.experiments:
        yield from EXPERIMENTS[name](plan, designs)


def _job(plan: Plan, kind: str, experiment: str, design: str, checkpoint: int) -> Job:
    """What every job says."""
    job = {
        "kind": kind,
        "experiment": experiment,
        "design": design,
        "reward": "",
        "variant": {},
        "task": plan.task,
        "model": plan.model,
        "checkpoint": checkpoint,
        "prompts": plan.prompts,
        "pinned": plan.pinned,
    }
    if checkpoint:
        job |= {"size": plan.size, "pretrain_tokens": plan.pretrain_tokens}
        job[AFTER] = [key_of(fit_of(job))]
    return job


def _designs(plan: Plan, designs: Sequence[Design]) -> Iterator[Job]:
    for design in designs:
        yield from training(plan, design, "designs", {})
    if plan.best_of > 1:
        for checkpoint in range(plan.checkpoints):
            chosen = [best_of_n(plan, design, checkpoint, n) for design in designs for n in powers(plan.best_of)]
            texts = pool_of(chosen[0])
            yield texts | ({AFTER: [key_of(fit_of(texts))]} if checkpoint else {})
            yield from chosen


def _kl(plan: Plan, designs: Sequence[Design]) -> Iterator[Job]:
    """At other betas; that of the plan is in "designs"."""
    for beta in plan.betas:
        if beta != plan.beta:
            for design in designs:
                yield from training(plan, design, "kl", {"beta": beta}, beta=beta)


def _gamma(plan: Plan, designs: Sequence[Design]) -> Iterator[Job]:
    """Immediate grammar, and coherence that is known at the end: what does the discount trade?"""
    # A gate by what is known of a whole text alone is paid at its end, with all that stands in it.
    reward = "standard(gold.fluency) + gate(distinct(n=1), standard(gold.coherence), above=0, otherwise=0)"
    for gamma in (0.9, 0.95, 0.99, 1.0):
        design = Design("grammar now, coherence at the end", reward, gamma=gamma, delivery="per_token", agent="ppo")
        yield from training(plan, design, "gamma", {"gamma": gamma})


def _delivery(plan: Plan, designs: Sequence[Design]) -> Iterator[Job]:
    """The same return, paid at other times, to an agent with a critic."""
    for design in _two(designs):
        for delivery in ("terminal", "per_token", "shaped"):
            asked = dataclasses.replace(design, delivery=delivery, agent="ppo", settings={})
            yield from training(plan, asked, "delivery", {"delivery": delivery})


def _kl_place(plan: Plan, designs: Sequence[Design]) -> Iterator[Job]:
    for design in _two(designs):
        for kl_in in ("reward", "loss"):
            for beta in plan.betas[1::2]:
                asked = dataclasses.replace(design, kl_in=kl_in, agent="ppo", settings={}, delivery="per_token")
                yield from training(plan, asked, "kl_place", {"kl_in": kl_in, "beta": beta}, beta=beta)


def _normalisation(plan: Plan, designs: Sequence[Design]) -> Iterator[Job]:
    """Advantages of GRPO with and without the group's standard deviation."""
    for design in _two(designs):
        for scaled in (True, False):
            asked = dataclasses.replace(design, agent="grpo", settings={"scale_advantages": scaled})
            yield from training(plan, asked, "normalisation", {"scale_advantages": scaled})


def _composition(plan: Plan, designs: Sequence[Design]) -> Iterator[Job]:
    """From fluency to information, by weight."""
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts = ((1 - share, "standard(fluency)"), (share, "standard(keywords)"))
        reward = " + ".join(f"{weight:g}*{part}" for weight, part in parts if weight)
        design = Design("fluency and keywords", reward)
        yield from training(plan, design, "composition", {"keywords": share})


def _lagrangian(plan: Plan, designs: Sequence[Design]) -> Iterator[Job]:
    """Coherence of neighbours, under a bound on repetition whose price is found on the way."""
    for target in (0.05, 0.1, 0.2):
        reward = f"default(coherence, 0) + lagrangian(repetition, target={target:g})"
        yield from training(plan, Design("cosine, repetition bounded", reward), "lagrangian", {"target": target})


def _two(designs: Sequence[Design]) -> Sequence[Design]:
    """The truth, where it is among the designs, and the first of the others, where not what but how is compared."""
    gold = [design for design in designs if design.name == GOLD][:1]
    return [*gold, *[design for design in designs if design.name != GOLD][: 2 - len(gold)]]


EXPERIMENTS: Mapping[str, Callable[[Plan, Sequence[Design]], Iterator[Job]]] = {
    "designs": _designs,
    "kl": _kl,
    "gamma": _gamma,
    "delivery": _delivery,
    "kl_place": _kl_place,
    "normalisation": _normalisation,
    "composition": _composition,
    "lagrangian": _lagrangian,
}
"""What can be compared, by name."""
