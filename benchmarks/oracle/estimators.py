"""The mean gradient of each estimator, taken from the algorithm's own `learn`, beside the exact one."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64
from textgym.agents.exact_policy import agent_policy
from textgym.benchmarks.oracle.bias import bias
from textgym.benchmarks.oracle.cases import BETA, CASES, GROUP, Case
from textgym.benchmarks.oracle.networks import save_network
from textgym.benchmarks.oracle.targets import flat, score_directions, targets
from textgym.benchmarks.oracle.unit import Row, Unit
from torch import Tensor

from textgym.envs.micro import MicroTask, micro
from textgym.models.checkpoint import load_language_model
from textgym.oracle import solve
from textgym.sb3 import make_sb3_env

FEWER = 4
"""Where rollouts have few texts, and so cost the more, there are so many times fewer texts."""

LEVEL = 0.01
"""How often the whole table may call right estimators biased: each is tested at this over their number."""


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
        texts: of each case.
        rows: texts of a rollout.
        directions: leading score directions that the joint test looks in.
        world: which micro world, paid token by token.
        vocab_size: actions.
        horizon: tokens of a text at most.
        n_embd: width of the network, of one block.
        scale: what random weights are multiplied by, lest the policy be uniform.
        step: how far the second of two steps is from the first.
        seed: of the weights and of all draws.
    """

    texts: int = 64_000
    rows: int = 256
    directions: int = 24
    world: str = "bigram"
    vocab_size: int = 4
    horizon: int = 4
    n_embd: int = 8
    scale: float = 3.0
    step: float = 0.02
    seed: int = 0


QUICK = Plan(texts=16_000, rows=128, directions=12)


class Recorder(torch.optim.Optimizer):
    """Keeps ascent directions in place of following them.

    Attributes:
        samples: (D,) each, by the parameters of `kept`.
        kept: which parameters.
        elsewhere: their values in the second of two steps; the gradient of that step alone is kept then.
    """

    def __init__(self, params: Any, lr: float = 0.0) -> None:
        super().__init__(params, {"lr": lr})
        self.samples: list[Float[Tensor, " D"]] = []
        self.kept: list[torch.nn.Parameter] = []
        self.elsewhere: list[Tensor] | None = None
        self._home: list[Tensor] | None = None

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Keeps the gradient, or goes elsewhere; nothing else moves."""
        if self.elsewhere is not None and self._home is None:
            self._home = [parameter.clone() for parameter in self.kept]
            self.go(self.elsewhere)
            return
        self.samples.append(-flat(torch.zeros_like(p) if p.grad is None else p.grad for p in self.kept))
        if self._home is not None:
            self.go(self._home)
            self._home = None

    @torch.no_grad()
    def go(self, values: list[Tensor]) -> None:
        """Sets what is kept to these values."""
        for parameter, value in zip(self.kept, values, strict=True):
            parameter.copy_(value)


def units(plan: Plan) -> Iterator[Unit]:
    """A piece of work for each case."""
    for case in CASES:
        yield Unit("estimators", case.name, plan.seed, asdict(plan), partial(_rows, plan, case))


def _rows(plan: Plan, case: Case) -> list[Row]:
    return [measured(plan, case)]


def measured(plan: Plan, case: Case) -> Row:
    """What was found of an estimator: `Bias`, beside what theory says."""
    found = sampled(plan, case)
    made = {**asdict(bias(found.gradients, found.due, found.directions)), "share": found.share}
    sizes = {"rollouts": len(found.gradients), "directions": len(found.directions)}
    return {"name": case.name, "kind": case.kind, "due": case.due, "measured": {**made, **sizes}}


def is_biased(row: Row) -> bool:
    """Whether the test calls the estimator biased."""
    right = sum(case.kind == "unbiased" for case in CASES)
    return bool(row["measured"]["p"] < LEVEL / right)


@dataclass(frozen=True, eq=False)
class Sampled:
    """Gradients of an estimator, and what they are tested by.

    Attributes:
        gradients: (K, D), one a rollout.
        due: (D,) what their mean should be.
        share: of the exact gradient that `due` is.
        directions: (M, D) of the joint test.
    """

    gradients: Float[np.ndarray, "K D"]
    due: Float[np.ndarray, " D"]
    share: float
    directions: Float64[np.ndarray, "M D"]


def sampled(plan: Plan, case: Case) -> Sampled:
    """Lets an agent learn without moving, and keeps its gradients."""
    with TemporaryDirectory() as folder:
        return _sampled(plan, case, Path(folder))


def _sampled(plan: Plan, case: Case, folder: Path) -> Sampled:
    task = micro(plan.world, vocab_size=plan.vocab_size, horizon=plan.horizon)
    shape = {"n_layer": 1, "n_head": 1, "n_embd": plan.n_embd}
    for place, name in enumerate(("start", "reference")):
        seed = plan.seed + place
        save_network(folder / name, task, shape, seed=seed, scale=plan.scale, endless=case.endless)
    known = load_language_model(folder / "reference")
    solution = solve(task, gamma=case.gamma, beta=BETA, reference=known, delivery="per_token")
    agent = _agent(plan, case, task, folder)
    policy, recorder = agent.policy, agent.policy.optimizer
    assert isinstance(recorder, Recorder) and solution.soft is not None
    recorder.kept = [*policy.transformer.parameters()]
    length = float(solution.visits(agent_policy(agent)).sum())
    if case.moved:
        begun = [parameter.detach().clone() for parameter in recorder.kept]
        ahead = targets(solution, policy)["return"]
        recorder.elsewhere = _moved(begun, plan.step * ahead / ahead.norm())
    texts = plan.texts if case.rows is None else plan.texts // FEWER
    agent.learn(int(texts * length))
    if recorder.elsewhere is not None:
        recorder.go(recorder.elsewhere)
    exact = targets(solution, policy, solution.soft.reference, BETA)[case.due].numpy()
    share = case.share / (length if case.per_token else 1.0)
    directions = score_directions(solution, policy, plan.directions)
    return Sampled(torch.stack(recorder.samples).numpy(), share * exact, share, directions)


def _agent(plan: Plan, case: Case, task: MicroTask, folder: Path) -> Any:
    """The agent of a case, which learns nothing: its optimizer is a `Recorder`, its critic some other's."""
    needs = {**getattr(case.build, "environment", {})}
    if "group_size" in needs:
        needs["group_size"] = GROUP
    env = make_sb3_env(n_envs=case.rows or plan.rows, task=task, delivery="per_token", gamma=case.gamma, **needs)
    settings = {"policy_kwargs": {"optimizer_class": Recorder}, "seed": plan.seed, "device": "cpu", **case.settings}
    if "n_epochs" in settings and "gae_lambda" in settings:
        settings["batch_size"] = env.num_envs * plan.horizon  # the whole rollout
    if "gae_lambda" in settings:
        settings = {"n_steps": plan.horizon, **settings}
    if case.kl:
        settings["rollout_buffer_kwargs"] = {"kl_coef": BETA, "reference": str(folder / "reference"), **case.kl}
        settings["ent_coef"] = float(case.kl["kl_in"] == "loss")  # the buffer hands the KL on as the entropy
    agent = case.build(env, str(folder / "start"), **settings)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.seed + 2)
        agent.policy.value_head.weight.normal_(std=0.3)
    return agent


def _moved(values: list[Tensor], by: Float[Tensor, " D"]) -> list[Tensor]:
    """Parameters moved by a vector of all of them."""
    parts = by.split([value.numel() for value in values])  # type: ignore[no-untyped-call]
    return [value + part.reshape(value.shape) for value, part in zip(values, parts, strict=True)]
