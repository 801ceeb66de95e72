"""What a reader in a hurry needs: who is best, by how much, at what KL, how certain that is, and who was hacked."""

from collections.abc import Sequence

from textgym.reports.rewards.arms import Bench
from textgym.reports.rewards.bootstrap import Estimate
from textgym.reports.rewards.frontier import frontiers
from textgym.reports.rewards.gao import RL
from textgym.reports.rewards.kl_matched import at_nats
from textgym.reports.rewards.limits import limits
from textgym.reports.rewards.over_optimisation import fitted
from textgym.reports.rewards.standings import Standing, ahead, standings
from textgym.reports.rewards.wording import listed, number, shown


def summary(bench: Bench, seed: int, *, named: bool = False) -> list[str]:
    """Sentences about the designs of a task, the most important first.

    Args:
        bench: with its yardsticks.
        seed: of the bootstrap.
        named: whether the task is said, as it must be where there are several.
    """
    found, said = standings(bench, bench.arms("designs"), seed), list[str]()
    usable = [one for one in found if not one.reads_truth]
    if found:
        said.append(_best(bench, found, seed))
    elif bench.arms("designs"):
        said.append("The truth of what designs write is not in the rows, and none can be called best.")
    if found and found[0].reads_truth and usable:
        said.append(f"Of rewards that need no truth: {_best(bench, usable, seed)}")
    if found:
        said += [_hacked(found), _others(found), _matched(bench, seed)]
    said.append(_peaks(bench, seed))
    if found:
        said += limits(bench, found)
    return [f"On {bench.task}: {sentence}" if named else sentence for sentence in said if sentence]


def _best(bench: Bench, found: Sequence[Standing], seed: int) -> str:
    best, second = found[0], found[1] if len(found) > 1 else None
    apart = None if second is None else ahead(bench, best.arm, second.arm, seed)
    lead = apart.interval if apart else None
    way = " of the way from the reference to the corpus" if bench.has_scale else ""
    certain = lead is not None and lead.sign > 0
    wins = "is best, with" if certain else "has the highest" if second else "has"
    told = f"{best.arm.label} {wins} gold quality {shown(best.gold.interval)}{way}"
    told += f", at {number(best.kl.value, 1)} nats." if best.kl else "."
    if best.change is not None and best.change.interval is not None and best.change.interval.sign <= 0:
        told += " It is not certain that it is better than the reference."
    if second is None:
        return told
    if apart is None or lead is None:
        return f"{told} {second.arm.label} comes next; no runs of the two can be paired."
    sure = "" if certain else ": that is not certain"
    certainty = "above 0.99" if apart.certainty > 0.99 else number(apart.certainty)
    return f"{told} {second.arm.label} comes next, {shown(lead)} behind (certainty {certainty}{sure})."


def _peaks(bench: Bench, seed: int) -> str:
    """Rewards of which more was less of the truth, for certain."""
    told = []
    for (name, law), found in fitted(bench, seed).items():
        lost = Estimate(float(found.lost(found.coefficients)), found.lost(found.draws), found.unit).interval
        if law is RL and found.peak <= found.furthest**2 and lost is not None and lost.sign > 0:
            told.append(f"{name} beyond {number(found.peak, 1)} nats")
    return f"More of the reward became less of the truth, by the fitted laws: {listed(told)}." if told else ""


def _hacked(found: Sequence[Standing]) -> str:
    hacked = [one for one in found if one.verdict is not None and one.verdict.name == "hacked"]
    if not hacked:
        judged = sum(one.verdict is not None for one in found)
        return "No design was hacked for certain." if judged else "No design can be judged: rewards cannot be compared."
    names = [f"{one.arm.label} (gold {shown(one.change.interval, 3, sign=True)})" for one in hacked if one.change]
    return f"Hacked, the reward rose while the truth fell: {listed(names)}."


def _others(found: Sequence[Standing]) -> str:
    """Designs whose reward rose without anything certain about the truth, and those whose reward did not rise."""
    words = {"undecided": "the reward rose, the truth did not move for certain", "no gain": "the reward did not rise"}
    told = []
    for verdict, meaning in words.items():
        names = [one.arm.label for one in found if one.verdict is not None and one.verdict.name == verdict]
        if names:
            told.append(f"Of {listed(names)} {meaning}.")
    return " ".join(told)


def _matched(bench: Bench, seed: int) -> str:
    """The two best at the largest KL at which several designs are known."""
    curves = frontiers(bench)
    for nats, intervals in reversed(at_nats(curves, seed).items()):
        known = sorted(
            ((own, one.design) for own, one in zip(intervals, curves, strict=True) if own is not None),
            key=lambda pair: -pair[0].value,
        )
        if len(known) > 1:
            told = [f"{design} {shown(own)}" for own, design in known[:2]]
            return f"At the same KL of {nats} nats the best are {listed(told)}."
    return ""
