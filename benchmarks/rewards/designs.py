"""The designs that come with the benchmark: naive rewards, the task's own, compositions, and the truth itself."""

import logging
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from textgym.benchmarks.naive_rewards.rewards import REWARDS
from textgym.benchmarks.rewards.design import LONGEST_NAME, Design

from textgym.envs.tasks import Task
from textgym.errors import DesignError, TextGymError, UnknownNameError
from textgym.scorers.parameters import show
from textgym.scorers.reward import Reward, bind_reward
from textgym.scorers.spec import resolve

_log = logging.getLogger("textgym")

DEFAULT, GOLD = "default", "gold"

MODEL = "story-small"
"""Whose log-probabilities naive rewards are of, where nothing else is said."""

_OTHERWISE = {"default reward": DEFAULT, "gold quality": GOLD}
"""Shorter names of what `naive_rewards` calls otherwise."""

EXPRESSIONS = {_OTHERWISE.get(name, name): expression for name, expression in REWARDS.items()} | {
    "log p and coverage": "clip(standard(fluency(lm='{model}')), -3, 2) + clip(standard(keywords), -3, 2) - repetition",
    "half the truth": "0.5*fluency + gold.coherence",
}
"""By name; `{model}` is a checkpoint, empty the task's own reward."""

ABOUT = {
    "sum of log p": "Every word costs: wants short texts.",
    "mean log p": "Wants the safest words, the same ones again and again.",
    "mean log p, n-gram": "As mean log p, under a model that sees four words.",
    "adjacent cosine": "Sentences that are like their neighbours: wants one sentence repeated.",
    "mean surprisal": "Wants rare words, in whatever order.",
    "keyword coverage": "Wants everything of the prompt named, whatever is said of it.",
    "distinct-2": "No pair of words twice: wants short texts.",
    DEFAULT: "What `textgym train` pays when nothing else is asked for.",
    "log p and coverage": "The naive rewards that raise gold in best of 64, standardised and bounded, less repetition.",
    "half the truth": "Fluency, and one axis of the truth: no contradictions, and nothing about what is told.",
    GOLD: "The truth itself: what there is to gain, and that the agent can gain it.",
}
"""What is expected of each, from docs/naive-rewards.md."""

GROUPS = {
    "naive": tuple(name for name in EXPRESSIONS if name in REWARDS),
    # Gold shows that there is something to learn, and the default is what whoever asks has used so far. The sum of log
    # p and the cosine are the naive rewards that are hacked soonest, and in opposite ways: nothing is said, or one
    # thing again and again. Those whose truth moves little would show in a few minutes no more than noise.
    "quick": (GOLD, DEFAULT, "sum of log p", "adjacent cosine"),
    "all": tuple(EXPRESSIONS),
}
"""Names of several designs at once."""


def builtin(names: Iterable[str], *, model: str = MODEL) -> list[Design]:
    """Designs by name, in the order in which they are named, each once.

    Args:
        names: of designs or of `GROUPS`.
        model: checkpoint whose log-probabilities the naive rewards are of, by name or folder.

    Raises:
        UnknownNameError: neither.
    """
    found: dict[str, Design] = {}
    for name in names:
        if name not in GROUPS and name not in EXPRESSIONS:
            raise UnknownNameError("design", name, (*EXPRESSIONS, *GROUPS))
        for each in GROUPS.get(name, (name,)):
            found.setdefault(each, Design(each, EXPRESSIONS[each].replace("'{model}'", show(model)), about=ABOUT[each]))
    return list(found.values())


def typed(texts: Iterable[str], *, model: str = MODEL) -> list[Design]:
    """Designs as they are typed, in their order, each once.

    Args:
        texts: names of built-in designs or groups; anything else is a reward, which is the name of its design as well.
        model: as in `builtin`.

    Raises:
        TextGymError: neither a name nor a reward; a name that is nearly right is offered.
    """
    found: list[Design] = []
    for text in texts:
        if text in EXPRESSIONS or text in GROUPS:
            found += builtin([text], model=model)
            continue
        try:
            resolve(text)
        except TextGymError as error:
            near = get_close_matches(text, [*EXPRESSIONS, *GROUPS], n=1, cutoff=0.75)
            if not near:
                raise
            raise DesignError(f"{error}\n    Or the design {near[0]!r}?") from error
        found.append(Design(shortened(text.strip()), text.strip()))
    return together(found)


def shortened(text: str) -> str:
    """A text as the name of a design."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_NAME else line[: LONGEST_NAME - 1] + "…"


def together(designs: Iterable[Design]) -> list[Design]:
    """Designs without those that stand there twice.

    Raises:
        DesignError: two that differ have one name.
    """
    found: dict[str, Design] = {}
    for design in designs:
        if found.setdefault(design.name, design) != design:
            raise DesignError(f"two designs have the name {design.name!r}, and tables could not tell them apart")
    return list(found.values())


def bound(design: Design, task: Task) -> Reward:
    """The reward of a design on a task.

    Raises:
        DesignError: it does not fit the task, and why.
    """
    try:
        return bind_reward(design.reward or task.reward, task.context)
    except TextGymError as error:
        raise DesignError(f"design {design.name!r} on task {task.name}: {error}") from error


def fitting(designs: Sequence[Design], task: Task) -> list[Design]:
    """Those of the designs that fit a task; the log says which do not, and why.

    Raises:
        DesignError: none does.
    """
    found = [design for design in designs if _fits(design, task)]
    if not found:
        raise DesignError(f"none of the designs {', '.join(one.name for one in designs)} fits task {task.name}")
    return found


def _fits(design: Design, task: Task) -> bool:
    try:
        bound(design, task)
    except DesignError as error:
        _log.info("left out: %s", error)
        return False
    return True
