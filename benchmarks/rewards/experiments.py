"""What can be compared: each experiment is a function of plan and designs, and gives its jobs."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from textgym.benchmarks.rewards.design import Design
from textgym.benchmarks.rewards.designs import GOLD
from textgym.benchmarks.rewards.job import USES, Job, making
from textgym.benchmarks.rewards.plan import Plan, best_of_n, training, yardsticks

from textgym.errors import UnknownNameError

Experiment = Callable[[Plan, Sequence[Design]], Iterator[Job]]

REVIEWS = "movie reviews"
FILES = {"positive": "movie_polarity/rt-polarity.pos", "negative": "movie_polarity/rt-polarity.neg"}
"""Labelled texts of the experiment on real text: files of one a line, in the folder that TEXTGYM_DATA names."""


def experiment(name: str) -> Experiment:
    """An experiment by name.

    Raises:
        UnknownNameError: there is none of that name.
    """
    if name not in EXPERIMENTS:
        raise UnknownNameError("experiment", name, EXPERIMENTS)
    return EXPERIMENTS[name]


def _designs(plan: Plan, designs: Sequence[Design]) -> Iterator[Job]:
    """Every design as it is."""
    for design in designs:
        yield from training(plan, design, "designs", {})
    for checkpoint in range(plan.checkpoints):
        for design in designs:
            yield from best_of_n(plan, design, plan.on(checkpoint))


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
    """The KL in the reward and in the loss."""
    for design in _two(designs):
        for kl_in in ("reward", "loss"):
            asked = dataclasses.replace(design, kl_in=kl_in, agent="ppo", settings={}, delivery="per_token")
            for beta in plan.betas[1::2]:
                yield from training(plan, asked, "kl_place", {"kl_in": kl_in, "beta": beta}, beta=beta)


def _normalisation(plan: Plan, designs: Sequence[Design]) -> Iterator[Job]:
    """Advantages of GRPO with and without the group's standard deviation."""
    for design in _two(designs):
        for scaled in (True, False):
            asked = dataclasses.replace(design, agent="grpo", settings={"scale_advantages": scaled})
            yield from training(plan, asked, "normalisation", {"scale_advantages": scaled})


def _composition(plan: Plan, designs: Sequence[Design]) -> Iterator[Job]:
    """From fluency to keywords, by weight."""
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts = ((1 - share, "standard(fluency)"), (share, "standard(keywords)"))
        reward = " + ".join(f"{weight:g}*{part}" for weight, part in parts if weight)
        yield from training(plan, Design("fluency and keywords", reward), "composition", {"keywords": share})


def _lagrangian(plan: Plan, designs: Sequence[Design]) -> Iterator[Job]:
    """Likeness of neighbours, under a bound on repetition whose price is found on the way."""
    for target in (0.05, 0.1, 0.2):
        reward = f"default(coherence, 0) + lagrangian(repetition, target={target:g}, rate=1)"
        yield from training(plan, Design("cosine, repetition bounded", reward), "lagrangian", {"target": target})


def _proxies(plan: Plan, designs: Sequence[Design]) -> Iterator[Job]:
    """Rewards of Bradley and Terry, learned from few or many pairs that gold has judged, by models of several sizes."""
    on = plan.on(0)
    pairs = making("pairs", "pairs", on, gold="gold.quality", pairs=max(plan.pairs))
    for size in plan.proxy_sizes:
        for count in plan.pairs:
            varied = {"pairs": count, "size": size}
            stands = {**on, USES: {"pairs": pairs}}
            name = f"{size}, {count:,} pairs"
            learned = making("preference", name, stands, "proxies", variant=varied, pairs=count, size=size)
            yield from _on_learned(plan, "proxies", "preference({learned})", learned, on, varied)


def _sentiment(plan: Plan, designs: Sequence[Design]) -> Iterator[Job]:
    """Real text: the truth is a classifier that was taught by all labels, the reward one that was taught by few."""
    on: dict[str, Any] = {"task": REVIEWS, "model": "", "checkpoint": 0}
    corpus = making("texts", "labelled texts", on, files=FILES)
    uses = {"corpus": corpus}
    stands = {**on, USES: {"corpus": corpus}}
    uses["start"] = making("checkpoint", "checkpoint", stands, size=plan.size, tokens=plan.pretrain_tokens)
    gold = _classifier(on, corpus, 0)
    on |= {USES: {**uses, "gold": gold}, "gold": {"quality": "classifier({gold}, 'positive')"}}
    yield from yardsticks(plan, [on], corpus=False)  # half of the reviews are negative: they are no aim
    for count in (*plan.labels, 0):
        learned = _classifier(on, corpus, count)
        yield from _on_learned(plan, "sentiment", "classifier({learned}, 'positive')", learned, on, {"labels": count})


def _classifier(on: Mapping[str, Any], corpus: Job, count: int) -> Job:
    """A classifier that is taught by so many labels; 0 is all."""
    name = f"{count:,} labels" if count else "all labels"
    stands = {"task": on["task"], "model": on["model"], "checkpoint": 0, USES: {"corpus": corpus}}
    return making("classifier", name, stands, "sentiment", labels=count, variant={"labels": count})


def _on_learned(
    plan: Plan, name: str, reward: str, learned: Job, on: Mapping[str, Any], varied: Mapping[str, Any]
) -> Iterator[Job]:
    """Best-of-n and runs on a reward that was learned."""
    design = Design(learned["design"], reward)
    stands = {**on, USES: {**on.get(USES, {}), "learned": learned}}
    yield from best_of_n(plan, design, stands, name, **varied)
    for beta in plan.proxy_betas:
        yield from training(plan, design, name, {**varied, "beta": beta}, stands, beta=beta)


def _two(designs: Sequence[Design]) -> Sequence[Design]:
    """The truth, where it is among the designs, and the first of the others, where not what but how is compared."""
    gold = [design for design in designs if design.name == GOLD][:1]
    return [*gold, *[design for design in designs if design.name != GOLD][: 2 - len(gold)]]


EXPERIMENTS: Mapping[str, Experiment] = {
    "designs": _designs,
    "kl": _kl,
    "gamma": _gamma,
    "delivery": _delivery,
    "kl_place": _kl_place,
    "normalisation": _normalisation,
    "composition": _composition,
    "lagrangian": _lagrangian,
    "proxies": _proxies,
    "sentiment": _sentiment,
}
"""By name."""
