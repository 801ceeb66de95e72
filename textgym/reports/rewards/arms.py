"""What is compared: the runs of a design under one setting, and the yardsticks that they are held against."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int64

from textgym.reports.rewards.bootstrap import Sample
from textgym.reports.rewards.runs import SAMPLED, Look, Run, Runs
from textgym.reports.rewards.starting import starting_reward
from textgym.reports.verdict import REWARD, TRUTH

Values = Float[np.ndarray, " N"]

PER_RUN = ("checkpoint", "seed", "model", "uses", "after")
"""Of a job, what runs of one arm may differ in."""


@dataclass(frozen=True, eq=False)
class Arm:
    """Runs that differ in checkpoint and seed alone.

    Attributes:
        label: the design, and its setting where several arms are of that design.
        runs: by checkpoint and seed.
    """

    label: str
    runs: tuple[Run, ...]

    @property
    def job(self) -> Mapping[str, Any]:
        """Of the first run."""
        return self.runs[0].job

    @property
    def checkpoints(self) -> Int64[np.ndarray, " R"]:
        """Of each run, the model it began as."""
        return np.array([run.job["checkpoint"] for run in self.runs], np.int64)

    def sample(self, values: Callable[[Run], Values | None]) -> Sample | None:
        """What is known of the texts of each run; runs of which nothing is known are left out.

        Args:
            values: of a run (N,); None where they are not known.
        """
        found = [(run, values(run)) for run in self.runs]
        known = [(run, own) for run, own in found if own is not None and not np.isnan(own).all()]
        if not known:
            return None
        checkpoints = np.array([run.job["checkpoint"] for run, _ in known], np.int64)
        return Sample(np.stack([np.asarray(own, np.float64) for _, own in known]), checkpoints)


@dataclass(frozen=True, eq=False)
class Bench:
    """The runs of one task on one set of briefs, with their yardsticks.

    Attributes:
        task: its name.
        prompts: N, how many briefs.
        runs: all of them.
        references: what each checkpoint writes before any learning.
        corpus: what the scale calls 1; None without.
        left_out: runs of this task on other briefs, which cannot be paired with these.
    """

    task: str
    prompts: int
    runs: tuple[Run, ...]
    references: Mapping[int, Run]
    corpus: Run | None
    left_out: int = 0

    def arms(self, *experiments: str, kind: str = "training") -> list[Arm]:
        """What was trained, or picked, in these experiments, in the order of the rows."""
        return arms(run for run in self.runs if run.job["kind"] == kind and run.job["experiment"] in experiments)

    def hue(self, arm: Arm) -> int:
        """A number of its own for each design, so that it has the same colour in all pictures."""
        return list(dict.fromkeys(run.job["design"] for run in self.runs)).index(arm.job["design"])

    def columns(self) -> list[str]:
        """Names of all that is known of texts, in the order of the rows."""
        return list(dict.fromkeys(name for run in self.runs if (look := run.final()) for name in look.values))

    def level(self, arm: Arm, column: str, way: str = SAMPLED) -> Sample | None:
        """A column as it is."""
        return arm.sample(lambda run: self._own(run, column, way))

    def change(self, arm: Arm, column: str, way: str = SAMPLED) -> Sample | None:
        """A column against that of the reference of the same checkpoint, brief by brief."""
        return arm.sample(lambda run: self.changed(run, column, way))

    def changed(self, run: Run, column: str, way: str = SAMPLED) -> Values | None:
        """The change of a column of one run; None where it, or the reference's, is not known."""
        own, before = self._own(run, column, way), self.before(run, column, way)
        if own is None or before is None or len(before) != len(own):
            return None
        return np.asarray(own - before)

    def shift(self, arm: Arm, column: str, way: str = SAMPLED) -> Sample | None:
        """The change in standard deviations of the reference's texts; None where those are all alike."""

        def shifted(run: Run) -> Values | None:
            change, before = self.changed(run, column, way), self.before(run, column, way)
            deviation = 0.0 if change is None or before is None else float(np.nanstd(before))
            return change / deviation if change is not None and deviation > 0 else None

        return arm.sample(shifted)

    @property
    def has_scale(self) -> bool:
        """Whether reference and corpus are there, and the corpus is above the reference."""
        return any(self.ends(checkpoint) is not None for checkpoint in self.references)

    @property
    def gold_label(self) -> str:
        """What an axis of gold quality is called."""
        return "gold quality, 0 reference, 1 corpus" if self.has_scale else "gold quality"

    def gold(self, arm: Arm, way: str = SAMPLED) -> Sample | None:
        """Gold quality on the scale if there is one, else as it is."""
        return arm.sample(lambda run: self.truth(run, way))

    def truth(self, run: Run, way: str = SAMPLED) -> Values | None:
        """Gold quality of a run's texts: 0 is what the reference of its checkpoint writes, and 1 the corpus.

        The yardsticks are means over the same briefs, and are not drawn again by a bootstrap. Where no checkpoint has a
        scale, gold quality is as it is.
        """
        placed = self.placed(self._own(run, TRUTH, way), run.job["checkpoint"])
        return None if placed is None else np.asarray(placed)

    def placed(self, values: Any, checkpoint: int, column: str = TRUTH) -> Any:
        """Values of a column on the scale; None where this checkpoint has none, as they are where no checkpoint has."""
        if values is None or not self.has_scale:
            return values
        ends = self.ends(checkpoint, column)
        return None if ends is None else (values - ends[0]) / (ends[1] - ends[0])

    def ends(self, checkpoint: int, column: str = TRUTH) -> tuple[float, float] | None:
        """What the scale calls 0 and 1 for runs of a checkpoint: sampled texts of the reference, and the corpus."""
        reference = self.references.get(checkpoint)
        if reference is None or self.corpus is None:
            return None
        looks = reference.final(), self.corpus.final()
        zero, one = (look.mean(column) if look else float("nan") for look in looks)
        return (zero, one) if one > zero else None

    def origin(self, checkpoint: int) -> float | None:
        """Gold quality of sampled texts of a reference: 0 if there is a scale."""
        reference = self.references.get(checkpoint)
        look = None if reference is None else reference.final()
        own = float("nan") if look is None else look.mean(TRUTH)
        placed = self.placed(own, checkpoint)
        return None if placed is None or np.isnan(placed) else float(placed)

    def before(self, run: Run, column: str, way: str = SAMPLED) -> Values | None:
        """A column of what the checkpoint of a run writes about the same briefs before any learning."""
        reference = self.references.get(run.job["checkpoint"])
        if column == REWARD:
            return starting_reward(run, reference, self.runs, way)
        return None if reference is None else reference.values(column, way)

    def seen(self, run: Run, look: Look) -> Values | None:
        """Gold quality of the texts of an evaluation, on the scale if there is one.

        An evaluation on the way may be about the first of the briefs only. It is then moved by what the reference's
        texts about those are off the mean of all, so that it can stand beside others.
        """
        checkpoint, own = run.job["checkpoint"], look.values.get(TRUTH)
        if own is None or len(own) > self.prompts:
            return None
        placed = self.placed(own.astype(np.float64), checkpoint)
        if placed is None or len(own) == self.prompts:
            return None if placed is None else np.asarray(placed)
        before, origin = self.before(run, TRUTH), self.origin(checkpoint)
        if before is None or origin is None:
            return None
        return np.asarray(placed + origin - np.nanmean(self.placed(before[: len(own)], checkpoint)))

    def _own(self, run: Run, column: str, way: str) -> Values | None:
        own = run.values(column, way)
        return None if own is None or len(own) != self.prompts else own.astype(np.float64)


def benches(runs: Runs) -> list[Bench]:
    """One for each task, in the order of the rows, on the briefs that most of its runs were evaluated on.

    What was fitted for others, and says no task of any run, stands with the first.
    """
    fits = [run for run in runs.finished if run.job["kind"] == "fit"]
    others = [run for run in runs.finished if run.job["kind"] != "fit"]
    tasks = list(dict.fromkeys(run.job["task"] for run in others))
    found = []
    for task in tasks:
        own = [run for run in others if run.job["task"] == task]
        counts = Counter(run.job["prompts"] for run in own)
        prompts = max(counts, key=lambda size: (counts[size], size))
        kept = [run for run in own if run.job["prompts"] == prompts]
        yardsticks = [run for run in kept if run.job["kind"] == "reference"]
        references = {run.job["checkpoint"]: run for run in sorted(yardsticks, key=lambda run: -run.job["seed"])}
        corpus = next((run for run in kept if run.job["kind"] == "corpus" and run.final()), None)
        made = [run for run in fits if run.job["task"] == task or (task == tasks[0] and run.job["task"] not in tasks)]
        found.append(Bench(task, prompts, (*kept, *made), references, corpus, len(own) - len(kept)))
    return found


def arms(runs: Iterable[Run]) -> list[Arm]:
    """Runs, gathered by all that their jobs say but checkpoint and seed."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        setting = {name: value for name, value in run.job.items() if name not in PER_RUN}
        groups.setdefault(json.dumps(setting, sort_keys=True), []).append(run)
    ordered = [
        tuple(sorted(group, key=lambda run: (run.job["checkpoint"], run.job["seed"]))) for group in groups.values()
    ]
    return [
        Arm(label, group) for label, group in zip(_labels([group[0].job for group in ordered]), ordered, strict=True)
    ]


def paired(first: Arm, second: Arm, values: Callable[[Run], Values | None]) -> Sample | None:
    """What runs of two arms of the same checkpoint and the same number of seed differ in, brief by brief.

    Returns:
        First minus second; None where no runs can be paired.
    """
    others = {(run.job["checkpoint"], run.job["seed"]): run for run in second.runs}

    def difference(run: Run) -> Values | None:
        other = others.get((run.job["checkpoint"], run.job["seed"]))
        own, its = values(run), None if other is None else values(other)
        if own is None or its is None or len(own) != len(its):
            return None
        return np.asarray(own, np.float64) - np.asarray(its, np.float64)

    return first.sample(difference)


def _labels(jobs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The designs; behind it the setting where several go by one name, and what else they differ in if need be."""
    names = [job["design"] or job["reward"] for job in jobs]
    for told in (lambda job, _: _setting(job["variant"]), _apart):
        groups = Counter(names)
        alike = [[other for other, its in zip(jobs, names, strict=True) if its == name] for name in names]
        names = [
            f"{name}, {told(job, same)}" if groups[name] > 1 else name
            for job, name, same in zip(jobs, names, alike, strict=True)
        ]
    return names


def _setting(variant: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in variant.items()) or "as planned"


def _apart(job: Mapping[str, Any], same: Sequence[Mapping[str, Any]]) -> str:
    differing = [name for name in job if name not in PER_RUN and any(other.get(name) != job[name] for other in same)]
    return ", ".join(f"{name} {job[name]}" for name in differing)
