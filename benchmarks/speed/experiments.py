"""What is measured, as units of work: all sides of a comparison in one process, one after the other, a unit a turn."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import torch
from textgym.benchmarks.speed import gpu, measure, memory, peer, scoring
from textgym.benchmarks.speed.agents import LEARNERS, learner, textgym_agent
from textgym.benchmarks.speed.arithmetic import attention_alone, matrix_products
from textgym.benchmarks.speed.breakdown import where_time_goes
from textgym.benchmarks.speed.plan import Plan
from textgym.benchmarks.speed.rows import Row, all_versions, code_hash, config_hash, load, machine
from textgym.benchmarks.speed.setting import Setting

OURS, OBVIOUS, TRL, TRL_WHOLE = "textgym PPO", "obvious PPO", "TRL GRPO", "TRL GRPO, one minibatch"
TRL_EXACT, TRL_ONCE = "TRL GRPO, exact GELU", "TRL GRPO, one epoch"
PLAIN, COMPILED = "textgym PPO, no CUDA graph", "textgym PPO, compiled"
PRODUCTS, ATTENTION = "matrix products", "attention alone"

Measure = Callable[[], dict[str, float]]


@dataclass(frozen=True)
class Unit:
    """One case of an experiment.

    Attributes:
        experiment: its name.
        case: which shape or amount.
        setting: the shapes.
        amounts: what else decides the result, for the hash.
        sides: what is measured, by name; a text in place of a function says why it is not.
    """

    experiment: str
    case: str
    setting: Setting
    sides: Mapping[str, Measure | str]
    amounts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def config(self) -> dict[str, Any]:
        """Everything that decides the result, beside versions and code."""
        return {"setting": asdict(self.setting), **self.amounts}

    def key(self, turn: int) -> tuple[Any, ...]:
        """As `rows.key` of the rows that `run` gives."""
        return self.experiment, self.case, turn, config_hash(self.config)

    def run(self, turn: int) -> list[Row]:
        """Measures every side once, on the setting's number of threads."""
        before = torch.get_num_threads()
        torch.set_num_threads(self.setting.threads)
        common = {
            "experiment": self.experiment,
            "case": self.case,
            "turn": turn,
            "load": load(),
            "config": self.config,
            "config_hash": config_hash(self.config),
            "seed": self.setting.seed,
            "threads": self.setting.threads,
            "versions": all_versions(),
            "code": code_hash(),
            "machine": machine(),
        }
        try:
            return [{"name": name, **_measured(side), **common} for name, side in self.sides.items()]
        finally:
            torch.set_num_threads(before)


def _measured(side: Measure | str) -> dict[str, Any]:
    return {"skipped": side} if isinstance(side, str) else {"measured": side()}


def race(plan: Plan) -> Iterator[Unit]:
    """Setting A: our PPO, TRL with minibatches of the same size and with one, the obvious way, matrix products."""
    setting, n = plan.setting, plan.iterations
    absent = peer.missing_peer()
    sides: dict[str, Measure | str] = {
        OURS: partial(measure.textgym_ppo, setting, n),
        PRODUCTS: partial(matrix_products, setting, plan.square, plan.product_seconds),
        TRL: absent or partial(peer.trl_grpo, setting, n),
        TRL_WHOLE: absent or partial(peer.trl_grpo, setting, n, whole=True),
        TRL_EXACT: absent or partial(peer.trl_grpo, setting, n, exact=True),
        OBVIOUS: partial(measure.obvious_ppo, setting, plan.obvious_steps),
    }
    amounts = {"iterations": n, "steps": plan.obvious_steps, "square": plan.square, "seconds": plan.product_seconds}
    yield Unit("race", "setting A", setting, sides, amounts)


def agents(plan: Plan) -> Iterator[Unit]:
    """Setting A: every agent that learns while it writes, and TRL's GRPO with the same epochs and minibatches."""
    setting, n = plan.setting, plan.iterations
    absent = peer.missing_peer()
    sides: dict[str, Measure | str] = {name: partial(measure.agent, setting, name, n) for name in LEARNERS}
    sides |= {
        TRL: absent or partial(peer.trl_grpo, setting, n),
        TRL_WHOLE: absent or partial(peer.trl_grpo, setting, n, whole=True),
        TRL_EXACT: absent or partial(peer.trl_grpo, setting, n, exact=True),
        TRL_ONCE: absent or partial(peer.trl_grpo, replace(setting, epochs=1), n),
    }
    yield Unit("agents", "setting A", setting, sides, {"iterations": n})


def lengths(plan: Plan) -> Iterator[Unit]:
    """The two ways to put a Transformer into SB3 at growing T, about as many tokens of ours at each."""
    for budget in plan.budgets:
        setting = replace(plan.setting, max_new_tokens=budget)
        n = _iterations(plan, budget)
        yield Unit(
            "lengths",
            f"T = {budget}",
            setting,
            {
                OURS: partial(measure.textgym_ppo, setting, n),
                ATTENTION: partial(attention_alone, setting),
                OBVIOUS: partial(measure.obvious_ppo, setting, plan.obvious_steps),
            },
            {"iterations": n, "steps": plan.obvious_steps},
        )


def _iterations(plan: Plan, budget: int) -> int:
    """Iterations at another T that make about as many tokens."""
    return max(1, plan.iterations * plan.setting.max_new_tokens // budget)


def environment(plan: Plan) -> Iterator[Unit]:
    """Environments without an agent, trivial reward: B = 256, and the single one."""
    sides: dict[str, Measure | str] = {
        "vector environment": partial(measure.vector_environment, plan.setting, plan.transitions),
        "single environment": partial(measure.single_environment, plan.setting, plan.transitions // 16),
    }
    yield Unit("environment", "alone", plan.setting, sides, {"transitions": plan.transitions})


def reward(plan: Plan) -> Iterator[Unit]:
    """The default reward of the task beside a trivial one."""
    side = partial(scoring.default_reward, plan.setting, plan.rollouts, plan.corpus)
    amounts = {"rollouts": plan.rollouts, "corpus": plan.corpus}
    yield Unit("reward", "own corpus" if plan.corpus else "docstrings", plan.setting, {"default reward": side}, amounts)


def memory_use(plan: Plan) -> Iterator[Unit]:
    """One update with a large vocabulary, as one minibatch and as several; rollouts of setting A at growing T."""
    for batch_size in (plan.memory.batch_size, plan.memory_minibatch):
        setting = replace(plan.memory, batch_size=batch_size)
        case = f"update, V = {setting.vocab_size:,}, minibatches of {batch_size:,} tokens"
        yield Unit("memory", case, setting, {OURS: partial(memory.in_a_process, setting, True)})
    for budget in plan.budgets:
        setting = replace(plan.setting, max_new_tokens=budget)
        case = f"rollout, T = {budget}"
        yield Unit("memory", case, setting, {OURS: partial(memory.in_a_process, setting, False)})


def profile(plan: Plan) -> Iterator[Unit]:
    """Where the time goes: setting A, long texts, whole texts, and the default reward on the task `docstrings`."""
    amounts = {"iterations": plan.iterations, "corpus": plan.corpus}
    long = replace(plan.setting, max_new_tokens=max(plan.budgets))
    for case, setting in (("setting A", plan.setting), (f"T = {long.max_new_tokens}", long)):
        n = _iterations(plan, setting.max_new_tokens)
        yield Unit("profile", case, setting, {OURS: partial(_profile, setting, n)}, amounts)
    yield Unit("profile", "RLOO", plan.setting, {OURS: partial(_profile_of, plan.setting, plan.iterations)}, amounts)
    side = partial(_profile, plan.setting, plan.iterations, plan.corpus, default=True)
    yield Unit("profile", "default reward", plan.setting, {OURS: side}, amounts)


def _profile(setting: Setting, iterations: int, corpus: str | None = None, default: bool = False) -> dict[str, float]:
    agent = textgym_agent(setting, scoring.open_task(setting, corpus), None) if default else textgym_agent(setting)
    return where_time_goes(agent, iterations)


def _profile_of(setting: Setting, iterations: int, name: str = "RLOO") -> dict[str, float]:
    return where_time_goes(learner(setting, name), iterations)


def on_gpu(plan: Plan) -> Iterator[Unit]:
    """The shape of GPT-2 in bfloat16, beside TRL with its default generation."""
    setting, n, device, square = plan.gpu, plan.iterations, plan.gpu_device, 4 * plan.square
    if device == "cuda" and not torch.cuda.is_available():
        reason = "no CUDA device on this machine"
        sides: dict[str, Measure | str] = dict.fromkeys((OURS, PLAIN, COMPILED, PRODUCTS, TRL, TRL_EXACT), reason)
    else:
        absent, compiled = peer.missing_peer(), partial(gpu.bfloat16_ppo, setting, n, device, compiled=True)
        sides = {
            OURS: partial(gpu.bfloat16_ppo, setting, n, device),
            PLAIN: partial(gpu.bfloat16_ppo, setting, n, device, cuda_graph=False),
            COMPILED: compiled if plan.compiled else "left out of this plan",
            PRODUCTS: partial(matrix_products, setting, square, plan.product_seconds, device, torch.bfloat16),
            TRL: absent or partial(peer.trl_grpo, setting, n, device=device),
            TRL_EXACT: absent or partial(peer.trl_grpo, setting, n, exact=True, device=device),
        }
    case = f"{setting.n_layer} layers of width {setting.n_embd}, bfloat16"
    yield Unit("gpu", case, setting, sides, {"iterations": n, "device": device, "square": square})


EXPERIMENTS: dict[str, Callable[[Plan], Iterator[Unit]]] = {
    "race": race,
    "agents": agents,
    "lengths": lengths,
    "environment": environment,
    "reward": reward,
    "memory": memory_use,
    "profile": profile,
    "gpu": on_gpu,
}
"""By the name that `--only` takes, in the order in which they run."""
