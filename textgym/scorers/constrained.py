"""``lagrangian``: a constraint on the mean of a scorer, as a term of the reward whose price training finds.

Maximise E[R] subject to E[x] <= target. The reward is R - lambda (x - target), and the multiplier lambda >= 0 rises
while the constraint is broken and falls to 0 where it is slack (Tessler, Mankowitz and Mannor 2019, algorithm 1):

    lambda <- min(max(lambda + rate (mean(x) - target), 0), most)      once a rollout

An expression is data and never changes; its multiplier lives in the bound reward of an environment, is part of the
training's state, and is moved by `textgym.sb3.DualAscent`. Anywhere else, as in `textgym score`, it is `start`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from textgym.errors import ScorerError
from textgym.scorers.algebra import Combine, Composite
from textgym.scorers.base import Scorer, register
from textgym.scorers.bound import BoundScorer
from textgym.types import Scores, ScoringContext


@register("lagrangian")
@dataclass(frozen=True)
class Lagrangian(Composite):
    """Minus the excess of a scorer over a target, at a price that rises until its mean keeps to the target.

    A term of a reward: ``fluency + lagrangian(repetition, target=0.1)``. It is paid at the end of an episode.

    Args:
        of: the constraint, whose mean over a rollout is compared with the target.
        target: the bound of the mean.
        keep: whether the mean is to be kept ``below`` the target or ``above`` it.
        rate: by how much the multiplier moves a rollout, for each unit that the mean is off. Small, so that the policy
            keeps up; else mean and price swing round their values. They settle sooner with an entropy bonus or a KL
            penalty, and without normalised advantages, under which any small price is answered like a high one.
        start: the multiplier to begin with.
        most: the highest multiplier, so that the reward stays bounded where no policy keeps the constraint.

    Raises:
        ScorerError: a target that every text keeps, or none can; a rate of 0 or less; a start outside 0 to `most`.
    """

    of: Scorer
    target: float
    keep: Literal["below", "above"] = "below"
    rate: float = 0.1
    start: float = 0.0
    most: float = 100.0
    formula = "-lambda (x - target), lambda <- min(max(lambda + rate (mean(x) - target), 0), most)"
    source = "Tessler, Mankowitz and Mannor 2019, algorithm 1"
    positional = 2
    moving = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rate <= 0 or self.most <= 0:
            raise ScorerError(f"{self}: rate and most must be above 0")
        if not 0 <= self.start <= self.most:
            raise ScorerError(f"{self}: start must lie between 0 and most, which is {self.most:g}")
        if self.of.moving:
            raise ScorerError(f"{self}: a constraint cannot hold another lagrangian")
        low, high = self.of.range
        least, greatest = (low, high) if self.keep == "below" else (-high, -low)
        bound = self.target if self.keep == "below" else -self.target
        lies = f"{self.of} lies between {low:g} and {high:g}"
        if greatest <= bound:
            raise ScorerError(f"{self} never costs anything: {lies}")
        if least > bound:
            raise ScorerError(f"{self} can never be kept: {lies}")

    @property
    def range(self) -> tuple[float, float]:
        """From the greatest excess at the highest price up to what the least one earns."""
        low, high = self.of.range
        over, under = (high - self.target, self.target - low)
        if self.keep == "above":
            over, under = under, over
        return (-self.most * over, self.most * under if under > 0 else 0.0)

    def excess(self, value: float) -> float:
        """By how much a mean breaks the constraint; below 0 where it keeps it."""
        return value - self.target if self.keep == "below" else self.target - value

    def combiner(self, context: ScoringContext | None) -> Combine:
        """A multiplier of its own for each time that the reward is bound."""
        return Multiplier(self)


class Multiplier:
    """The price of a constraint in one bound reward.

    Args:
        node: the term.

    Attributes:
        value: lambda.
        steered: whether something moves it.
    """

    def __init__(self, node: Lagrangian) -> None:
        self.node, self.value, self.steered = node, node.start, False

    def __call__(self, parts: Sequence[Scores], rows: int) -> Scores:
        """Row by row."""
        (part,) = parts
        excess = part.values - self.node.target if self.node.keep == "below" else self.node.target - part.values
        return Scores(0.0 - self.value * excess, part.valid)

    def ascend(self, mean: float) -> None:
        """One step of dual ascent, after a rollout in which the constraint had this mean."""
        moved = self.value + self.node.rate * self.node.excess(mean)
        self.value = float(np.clip(moved, 0.0, self.node.most))


def multipliers(bound: BoundScorer) -> dict[str, Multiplier]:
    """The multipliers of a bound reward, by the text of their terms."""
    return {str(node): found for node, found in bound.combiners.items() if isinstance(found, Multiplier)}


def multiplier_state(bound: BoundScorer) -> dict[str, float]:
    """Their values, for a checkpoint."""
    return {text: multiplier.value for text, multiplier in multipliers(bound).items()}


def load_multiplier_state(bound: BoundScorer, state: Mapping[str, float]) -> None:
    """Takes over what `multiplier_state` gave of such a reward."""
    for text, multiplier in multipliers(bound).items():
        multiplier.value = float(state.get(text, multiplier.node.start))
