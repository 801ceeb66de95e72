"""What follows from saved rows: ratios turn by turn, shares of the limit, and whether each target was met.

Pure functions of rows; tables and pictures are made from what they give.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from textgym.benchmarks.speed.experiments import ATTENTION, OBVIOUS, OURS, PRODUCTS, TRL, TRL_EXACT, TRL_ONCE, TRL_WHOLE
from textgym.benchmarks.speed.rows import Row

RATE = "tokens_per_second"
TRANSITIONS = "transitions_per_cpu_second"


@dataclass(frozen=True)
class Target:
    """A claim and what was found.

    Attributes:
        claim: what is counted, in words.
        limit: the figure to reach.
        above: whether at least, or at most, that is asked for.
        found: one figure a turn, or a case; empty where it was not measured.
        unit: how figures are written: "x", "%", "/s" or "MiB".
    """

    claim: str
    limit: float
    above: bool
    found: Sequence[float]
    unit: str

    @property
    def met(self) -> bool | None:
        """Whether the median reaches it; None where nothing was measured."""
        if not self.found:
            return None
        return median(self.found) >= self.limit if self.above else median(self.found) <= self.limit


def figures(rows: Sequence[Row], experiment: str, case: str, name: str, of: str) -> dict[int, float]:
    """By turn, one measured figure of one side; empty where it was skipped or never run."""
    return {
        row["turn"]: row["measured"][of]
        for row in rows
        if (row["experiment"], row["case"], row["name"]) == (experiment, case, name) and of in row.get("measured", ())
    }


def together(formula: Callable[..., float], *sides: dict[int, float]) -> list[float]:
    """The formula over the figures of each turn in which every side was measured."""
    turns = sorted(set.intersection(*map(set, sides))) if sides else []
    return [formula(*(side[turn] for side in sides)) for turn in turns]


def cases(rows: Sequence[Row], experiment: str) -> list[str]:
    """The cases of an experiment, in the order in which they were first measured."""
    return list(dict.fromkeys(row["case"] for row in rows if row["experiment"] == experiment))


def ratio(rows: Sequence[Row], experiment: str, case: str, theirs: str, ours: str = OURS) -> list[float]:
    """Our tokens a second over those of another side, turn by turn."""
    sides = (figures(rows, experiment, case, name, RATE) for name in (ours, theirs))
    return together(lambda a, b: a / b, *sides)


def best_of_trl(rows: Sequence[Row], experiment: str = "race", ours: str = OURS) -> list[float]:
    """Our tokens a second over the better of TRL's two ways to take minibatches."""
    sides = (figures(rows, experiment, "setting A", name, RATE) for name in (ours, TRL, TRL_WHOLE))
    return together(lambda ours, *theirs: ours / max(theirs), *sides)


def share_of_limit(rows: Sequence[Row], experiment: str, case: str, products: str) -> list[float]:
    """Arithmetic of our PPO over what matrix products could have done in that time, in [0, 1].

    Args:
        rows: the rows.
        experiment: where both were measured.
        case: of it.
        products: "gflops_network" or "gflops_square".
    """
    sides = [figures(rows, experiment, case, OURS, of) for of in (RATE, "gflop_per_token")]
    most = figures(rows, experiment, case, PRODUCTS, products)
    return together(lambda speed, work, limit: speed * work / limit, *sides, most)


def cost_per_token(rows: Sequence[Row], case: str, attention: bool) -> list[float]:
    """Microseconds of our PPO for one token at one T, with attention or without the time that it takes alone."""
    speed = figures(rows, "lengths", case, OURS, RATE)
    if attention:
        return together(lambda a: 1e6 / a, speed)
    parts = [figures(rows, "lengths", case, ATTENTION, of) for of in ("rollout_seconds", "training_seconds", "tokens")]
    return together(lambda a, rollout, training, n: 1e6 * (1 / a - (rollout + training) / n), speed, *parts)


def flatness(rows: Sequence[Row]) -> list[float]:
    """The dearest T over the cheapest, attention aside, by medians; empty below two T."""
    costs = [cost_per_token(rows, case, attention=False) for case in cases(rows, "lengths")]
    known = [median(cost) for cost in costs if cost]
    return [max(known) / min(known)] if len(known) > 1 else []


def growth_of_rollouts(rows: Sequence[Row]) -> list[float]:
    """Memory that one more token takes at the longest T over the same at the next shorter, both from the shortest on.

    1 where memory grows with tokens, (T2 + T0) / (T1 + T0) where it grows with tokens x prefix, which is 1.8 for
    T = 32, 128, 256; empty below three T.
    """
    known = [case for case in cases(rows, "memory") if case.startswith("rollout")]
    grown = [figures(rows, "memory", case, OURS, "rollout_mib") for case in known]
    tokens = [figures(rows, "memory", case, OURS, "tokens") for case in known]
    if len([turns for turns in grown if turns]) < 3:
        return []
    n0, n1, n2 = (median(tokens[i].values()) for i in (0, -2, -1))
    m0, m1, m2 = (median(grown[i].values()) for i in (0, -2, -1))
    return [(m2 - m0) / (n2 - n0) / ((m1 - m0) / (n1 - n0))] if m1 > m0 else []


def targets(rows: Sequence[Row]) -> list[Target]:
    """Every claim of the project about speed and memory."""
    update = next((case for case in cases(rows, "memory") if case.startswith("update")), "")
    alone = [
        list(figures(rows, "environment", "alone", f"{kind} environment", TRANSITIONS).values())
        for kind in ("vector", "single")
    ]
    added = [figures(rows, "reward", case, "default reward", "added") for case in cases(rows, "reward")]
    race, gpu = ("race", "setting A"), ("gpu", next(iter(cases(rows, "gpu")), ""))
    agents = ("agents", "setting A")
    lengths = [case for case in cases(rows, "lengths") if ratio(rows, "lengths", case, OBVIOUS)]
    ends = [median(ratio(rows, "lengths", case, OBVIOUS)) for case in lengths]
    growth = [ends[-1] / ends[0]] if len(ends) > 1 else []
    return [
        Target("PPO, textgym / the obvious way", 50, True, ratio(rows, "race", "setting A", OBVIOUS), "x"),
        Target("PPO, textgym / TRL GRPO (the better of two)", 1.5, True, best_of_trl(rows), "x"),
        Target("the same, TRL with exact GELU too", 1.5, True, ratio(rows, *race, TRL_EXACT), "x"),
        Target(
            "share of the limit (best at network shapes)",
            0.45,
            True,
            share_of_limit(rows, *race, "gflops_network"),
            "%",
        ),
        Target("share of the limit (large square)", 0.45, True, share_of_limit(rows, *race, "gflops_square"), "%"),
        Target("GRPO, textgym / TRL GRPO (the better of two)", 1.5, True, best_of_trl(rows, "agents", "GRPO"), "x"),
        Target(
            "GRPO of one epoch, textgym / TRL GRPO of one",
            1.5,
            True,
            ratio(rows, *agents, TRL_ONCE, "GRPO, one epoch"),
            "x",
        ),
        Target("REINFORCE / PPO", 2.2, True, ratio(rows, *agents, "PPO", "REINFORCE"), "x"),
        Target("RLOO / PPO", 2.2, True, ratio(rows, *agents, "PPO", "RLOO"), "x"),
        Target("cost a token, dearest T / cheapest", 1.5, False, flatness(rows), "x"),
        Target("ratio to the obvious way, longest T / shortest", 1, True, growth, "x"),
        Target("vector environment, transitions a CPU-second", 2.5e6, True, alone[0], "/s"),
        Target("single environment, steps a CPU-second", 2.5e5, True, alone[1], "/s"),
        Target("default reward adds to a rollout", 0.2, False, [v for turn in added for v in turn.values()], "%"),
        Target("update over 4,096 tokens, V = 50,257", 3072, False, _memory(rows, update), "MiB"),
        Target("rollout memory of one more token, longest T / next", 1.25, False, growth_of_rollouts(rows), "x"),
        Target("GPU, GPT-2's shape: textgym / TRL GRPO", 1.5, True, ratio(rows, *gpu, TRL), "x"),
        Target("GPU, the same, TRL with exact GELU too", 1.5, True, ratio(rows, *gpu, TRL_EXACT), "x"),
        Target("GPU, GPT-2's shape: share of the limit", 0.45, True, share_of_limit(rows, *gpu, "gflops_square"), "%"),
    ]


def _memory(rows: Sequence[Row], case: str) -> list[float]:
    return list(figures(rows, "memory", case, OURS, "update_mib").values())
