"""What a reader in a hurry needs: who is best, by how much, at what KL, how certain that is, and who was hacked."""

from collections.abc import Sequence

from textgym.reports.rewards.arms import Bench
from textgym.reports.rewards.frontier import frontiers
from textgym.reports.rewards.kl_matched import at_nats
from textgym.reports.rewards.limits import limits
from textgym.reports.rewards.standings import Standing, ahead, standings
from textgym.reports.rewards.wording import listed, number, shown


def summary(bench: Bench, seed: int, *, named: bool = False) -> list[str]:
    """Sentences about the designs of a task, the most important first.

    Args:
        bench: with its yardsticks.
        seed: of the bootstrap.
        named: whether the task is said, as it must be where there are several.
    """
    found = standings(bench, bench.arms("designs"), seed)
    if not found:
        return [f"On {bench.task} no run says how good its texts are: the truth is not in the rows."]
    said = [_best(bench, found, seed)]
    usable = [one for one in found if not one.reads_truth]
    if found[0].reads_truth and usable:
        said.append(f"Of rewards that need no truth: {_best(bench, usable, seed)}")
    said += [_hacked(found), _others(found), _matched(bench, seed)]
    said += [f"What these rows cannot support. {sentence}" for sentence in limits(bench, found)]
    return [f"On {bench.task}: {sentence}" if named else sentence for sentence in said if sentence]


def _best(bench: Bench, found: Sequence[Standing], seed: int) -> str:
    best = found[0]
    way = " of the way from the reference to the corpus" if bench.has_scale else ""
    told = f"{best.arm.label} is best, with gold quality {shown(best.gold.interval)}{way}"
    told += f" at {number(best.kl.value, 1)} nats from the reference." if best.kl else "."
    if best.change is not None and best.change.interval is not None and best.change.interval.sign <= 0:
        told += " It is not certain that it is better than the reference."
    if len(found) == 1:
        return told
    apart = ahead(bench, best.arm, found[1].arm, seed)
    if apart is None or apart.interval is None:
        return f"{told} {found[1].arm.label} comes next; no runs of the two can be paired."
    sure = "" if apart.interval.sign > 0 else ": that is not certain"
    certainty = "above 0.99" if apart.certainty > 0.99 else number(apart.certainty)
    behind = f"{shown(apart.interval)} behind (certainty {certainty}{sure})"
    return f"{told} {found[1].arm.label} comes next, {behind}."


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
