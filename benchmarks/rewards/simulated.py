"""Rows of a benchmark that never ran, with effects that are known: what statistics and pages are tried on."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float64

AXES = ("quality", "coherence", "faithfulness", "grammar", "novelty", "information", "fluency")
SCORERS = ("fluency", "coherence", "informativeness", "keywords", "distinct")
REFERENCE_GOLD, CORPUS_GOLD = 0.2, 0.6
WORDS = [
    "sam",
    "was",
    "in",
    "the",
    "kitchen",
    ".",
    "she",
    "took",
    "the",
    "red",
    "knife",
    ".",
    "ann",
    "went",
    "to",
    "the",
    "barn",
    ".",
    "the",
    "end",
    ".",
]


@dataclass(frozen=True)
class Simulated:
    """A design whose effect is known.

    Args:
        name: of the design.
        reward: its expression.
        gold: what its mean gold quality gains.
        proxy: what its own reward gains, in standard deviations of the reference's texts.
        length: by how much its texts grow, as a share of the reference's.
        kl: nats a text that it ends at.
        variant: what its experiment varies.
        experiment: which one.
        kind: of its jobs.
        curve: names of what its learning curve has beside the usual.
    """

    name: str
    reward: str = "fluency"
    gold: float = 0.0
    proxy: float = 0.0
    length: float = 0.0
    kl: float = 4.0
    variant: Mapping[str, Any] = field(default_factory=dict)
    experiment: str = "designs"
    kind: str = "training"
    curve: Sequence[str] = ()


def rows(
    designs: Sequence[Simulated],
    *,
    checkpoints: int = 1,
    seeds: int = 1,
    prompts: int = 50,
    seed: int = 0,
    texts: int = 2,
    scorers: int = len(SCORERS),
    run_sd: float = 0.02,
    text_sd: float = 0.15,
    task: str = "story",
) -> Iterator[dict[str, Any]]:
    """The yardsticks of each checkpoint, then every run of each design.

    Args:
        designs: with their effects.
        checkpoints: MLE models.
        seeds: runs of a design on each of them.
        prompts: briefs.
        seed: of the noise.
        texts: pinned briefs of a row.
        scorers: columns of scores; those beyond the named ones are numbered.
        run_sd: standard deviation of gold between runs of a design.
        text_sd: between texts of a run.
        task: name.
    """
    rng = np.random.default_rng(seed)
    names = [SCORERS[i] if i < len(SCORERS) else f"scorer {i}" for i in range(scorers)]
    world = _World(rng.standard_normal((3, prompts)), text_sd, prompts, texts, names, task)
    for checkpoint in range(checkpoints):
        for kind, gold in (("reference", REFERENCE_GOLD), ("corpus", CORPUS_GOLD)):
            yield world.row(rng, Simulated(kind, "", gold - REFERENCE_GOLD, kl=0, kind=kind), checkpoint, 0, run_sd=0)
    for design in designs:
        for checkpoint in range(checkpoints):
            for turn in range(seeds):
                yield world.row(rng, design, checkpoint, turn, run_sd)


@dataclass(frozen=True, eq=False)
class _World:
    briefs: Float64[np.ndarray, "3 N"]
    text_sd: float
    prompts: int
    texts: int
    scorers: Sequence[str]
    task: str

    def row(
        self, rng: np.random.Generator, design: Simulated, checkpoint: int, turn: int, run_sd: float
    ) -> dict[str, Any]:
        """A row whose mean gold is the reference's, and what the design adds, and what befell this run."""
        job = {
            "kind": design.kind,
            "experiment": design.experiment,
            "design": design.name,
            "reward": design.reward,
            "variant": dict(design.variant),
            "task": self.task,
            "agent": "grpo",
            "settings": {},
            "delivery": "terminal",
            "gamma": 1.0,
            "beta": 0.01,
            "kl_in": "loss",
            "tokens": 100_000,
            "model": "story-small",
            "checkpoint": checkpoint,
            "seed": turn,
            "prompts": self.prompts,
        }
        effect, learned = design.gold + run_sd * rng.standard_normal(), design.kind == "training"
        before = self._values(rng, design, 0.0, 0.0, "sampled").get("reward", [])
        early = self._values(rng, design, 0.5, effect / 2, "sampled")
        evaluations = [_look(0, {"reward": before})] if learned else []
        evaluations += (
            [_look(50_000, {name: own[: self.prompts // 2] for name, own in early.items()})] if learned else []
        )
        ways = ("sampled",) if design.kind == "best_of_n" else ("sampled", "greedy")
        for way in ways:
            values = self._values(rng, design, 1.0, effect, way)
            evaluations.append(_look(100_000 if learned else 0, values, way, final=True))
        text = json.dumps(job, sort_keys=True)
        return {
            "format": 1,
            "key": hashlib.sha256(text.encode()).hexdigest()[:16],
            "job": job,
            "versions": {"textgym": "0"},
            "seconds": 1.0,
            "evaluations": evaluations,
            "curve": self._curve(rng, design) if learned else [],
            "texts": [self._text(brief, way) for way in ways for brief in range(self.texts)],
            "facts": {"kl": design.kl} if design.kind == "best_of_n" else {},
        }

    def _values(
        self, rng: np.random.Generator, design: Simulated, part: float, gold: float, way: str
    ) -> dict[str, list[float | None]]:
        """Columns of N texts: some of what varies belongs to the brief, the rest to the text."""
        brief, noise = self.briefs, rng.standard_normal((3, self.prompts))
        varying = 0.6 * brief + 0.8 * noise
        length = np.maximum(60 * (1 + part * design.length) + 12 * varying[2], 2)
        columns = {"length": length, "ended": (varying[1] < 1.6).astype(float)}
        columns["rep-4"] = 0.05 + 0.1 * max(part * design.length, 0) + 0.01 * varying[1]
        columns |= {"distinct-2": 0.8 + 0.05 * varying[1], "entropy": 1.5 - 0.3 * part + 0.1 * varying[0]}
        columns["filler"] = 0.1 + 0.02 * varying[2]
        for place, axis in enumerate(AXES):
            columns[f"gold/{axis}"] = REFERENCE_GOLD + 0.05 * place + gold + self.text_sd * np.roll(varying[0], place)
        for place, name in enumerate(self.scorers):
            own = design.proxy if name in design.reward else 0.2 * design.gold
            columns[f"score/{name}"] = -1.0 + part * own + np.roll(varying[1], place)
        if design.reward:
            columns["reward"] = columns.get(f"score/{design.reward}", -1.0 + part * design.proxy + varying[1][::-1])
        if way == "sampled":
            columns["kl"] = np.maximum(part * design.kl * (1 + 0.2 * varying[2]), 0.0)
        return {name: np.round(values, 6).tolist() for name, values in columns.items()}

    def _curve(self, rng: np.random.Generator, design: Simulated) -> list[dict[str, Any]]:
        points = []
        for step in range(1, 11):
            part, noise = step / 10, 0.05 * rng.standard_normal()
            point = {"tokens": 10_000 * step, "reward": design.proxy * part + noise, "kl": design.kl * part}
            point |= {"length": 60.0, "entropy": 1.5 - 0.3 * part, "ended": 0.95, "rep-4": 0.1 - 0.05 * part}
            points.append(point | dict.fromkeys(design.curve, part))
        return points

    def _text(self, brief: int, way: str) -> dict[str, Any]:
        return {
            "brief": brief,
            "way": way,
            "prompt": f"barn cellar | sam kitchen , ann barn {brief}",
            "tokens": [" " + word for word in WORDS],
            "credit": [0.1 * place for place in range(len(WORDS))],
            "components": {"fluency": [-1.0] * len(WORDS)},
            "marks": [{"token": 4, "text": "contradicts the brief", "severe": True}],
        }


def _look(tokens: int, values: Mapping[str, Any], way: str = "sampled", final: bool = False) -> dict[str, Any]:
    return {"tokens": tokens, "way": way, "final": final, "values": values}
