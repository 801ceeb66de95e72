"""Each detector on each planted fault and sound reward, and on stories that get better or are hacked."""

import importlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from textgym.benchmarks.detectors.planted import ALL, GOOD, Planted

from textgym.audit import Arena, arena_of_task, attack, check_reward
from textgym.audit.exploits import symptoms_of
from textgym.envs.tasks import make_task
from textgym.errors import MissingExtraError, TextGymError
from textgym.scorers.plain import batch_of_texts
from textgym.types import TextBatch

NAIVE = (
    "fluency(form='sum')",
    "fluency",
    "coherence",
    "informativeness",
    "keywords",
    "distinct",
    "clip(standard(fluency), -3, 2) + clip(standard(coherence), -3, 2) + clip(standard(informativeness), -3, 2)"
    " - repetition",
)
"""Rewards that are known to be hacked on stories, and how: see docs/naive-rewards.md."""

HONEST = ("gold.quality", "chrf", "bleu", "rouge(n='L')")
"""Rewards that good stories raise."""

EPISODES = 40
"""Of each half of a trace: before, and after."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Trace:
    """Episodes as a run would show them: what is sampled first, and what is written once the reward has risen.

    Attributes:
        name: the reward.
        hacked: whether the later texts are bad ones.
        before: texts of the beginning.
        after: texts of the end.
        arena: the reward.
    """

    name: str
    hacked: bool
    before: TextBatch
    after: TextBatch
    arena: Arena


def rows() -> Iterator[Row]:
    """A row for each detector and case: whether it applies, and whether it found something."""
    for planted in ALL:
        for name, detector in ON_REWARDS.items():
            yield _row("rewards", planted.name, not planted.sound, name, detector, planted)
    for trace in traces():
        for name, on_trace in ON_TRACES.items():
            yield _row("traces", trace.name, trace.hacked, name, on_trace, trace)


def _row(kind: str, case: str, faulty: bool, name: str, detector: Callable[[Any], bool | None], what: Any) -> Row:
    try:
        found = detector(what)
        said = "" if found is not None else "does not apply"
    except (MissingExtraError, TextGymError) as error:
        found, said = None, str(error).splitlines()[0]
    return {"kind": kind, "case": case, "faulty": faulty, "detector": name, "found": found, "note": said}


def by_check_reward(planted: Planted) -> bool:
    """Any failure of `textgym check-reward`."""
    return not check_reward(planted.arena(), exploit=False, **planted.settings).passed


def by_attack(planted: Planted) -> bool:
    """Any exploit of `textgym attack`, with a tenth of what it may spend."""
    return bool(attack(planted.arena(), evaluations=5_000, seconds=10.0).exploits)


def by_reward_doctor(planted: Planted) -> bool | None:
    """A wrong or degenerate answer of its corpus of sums that the reward accepts; for graders of answers."""
    doctor = _peer("reward_doctor")
    if planted.where != "sums":
        return None
    arena = planted.arena()

    def grade(completion: str, reference: str) -> float:
        batch = batch_of_texts([completion], [""], [[reference]], [{"answer": reference}])
        return float(np.nan_to_num(arena.values(batch)[0]))

    return bool(doctor.audit(grade).false_positives)


def traces() -> Iterator[Trace]:
    """Hacked ones, whose later texts are what an attack finds, and honest ones, whose later texts are good stories."""
    task = make_task("story")
    for spec in NAIVE + HONEST:
        arena = arena_of_task(spec, task, good=GOOD)
        hacked = spec in NAIVE
        after = arena.good.rows(range(EPISODES))
        if hacked:
            found = attack(arena, evaluations=10_000, seconds=30.0).exploits
            texts = [found[i % len(found)] for i in range(EPISODES)]
            prompts = arena.good.prompt_texts
            after = arena.rewritten([e.text for e in texts], [prompts.index(e.prompt) for e in texts])
        yield Trace(spec, hacked, arena.samples.rows(range(EPISODES)), after, arena)


def by_symptoms(trace: Trace) -> bool:
    """More than half of the later texts show what good texts do not: repetition, copying, word salad, odd lengths."""
    found = symptoms_of(trace.arena, trace.after)
    return float(np.mean([bool(symptoms) for symptoms in found])) > 0.5


def by_reward_scope(trace: Trace) -> bool:
    """More alerts on the later texts than on as many earlier ones, at its default thresholds."""
    scope = _peer("reward_scope.core.detectors")
    suite = scope.HackingDetectorSuite()
    before, after = (_alerts(suite, trace, batch, i * EPISODES) for i, batch in enumerate((trace.before, trace.after)))
    return after > before


def _alerts(suite: Any, trace: Trace, batch: TextBatch, first: int) -> int:
    """Alerts while these episodes are shown token by token, the reward at their end."""
    scores = trace.arena.score(batch)
    count = 0
    for row, ids in enumerate(batch.completions):
        episode, value = first + row, float(scores.values[row])
        parts = {name: float(np.nan_to_num(column[row])) for name, column in scores.components.items()}
        for step, token in enumerate(ids.tolist()):
            done = step == len(ids) - 1
            paid, components = (value, parts) if done else (0.0, dict.fromkeys(parts, 0.0))
            seen = np.asarray(ids[: step + 1][-8:], dtype=np.float64)
            count += len(suite.update(step, episode, seen, token, paid, components, done, {}))
        statistics = {"episode": episode, "component_totals": parts, "total_reward": value, "length": len(ids)}
        count += len(suite.on_episode_end(statistics))
    return count


def _peer(name: str) -> ModuleType:
    package = name.split(".")[0].replace("_", "-")
    try:
        logging.getLogger(package).setLevel(logging.ERROR)
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtraError(package, "peers", "this comparison") from error


ON_REWARDS: dict[str, Callable[[Planted], bool | None]] = {
    "textgym check-reward": by_check_reward,
    "textgym attack": by_attack,
    "reward-doctor": by_reward_doctor,
}
ON_TRACES: dict[str, Callable[[Trace], bool | None]] = {
    "textgym, symptoms": by_symptoms,
    "reward-scope": by_reward_scope,
}
