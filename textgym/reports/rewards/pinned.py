"""Pinned briefs: what each design writes about the same few briefs, token by token."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from textgym.reports.blocks import Mark, Section, Stories, Story
from textgym.reports.rewards.arms import Bench
from textgym.reports.rewards.runs import Run
from textgym.reports.verdict import REWARD, TRUTH

TOTALS = {REWARD: "reward", TRUTH: "gold quality", "kl": "KL", "length": "length"}
"""Of a whole text, and what they are called."""

ORDER = ("corpus", "reference", "training", "best_of_n", "fit")


def pinned(bench: Bench, seed: int) -> Section | None:
    """Texts side by side, brief by brief; None where rows hold no texts."""
    runs = sorted(_shown(bench), key=lambda run: ORDER.index(run.job["kind"]))
    briefs: dict[int, tuple[str, list[Story]]] = {}
    for run in runs:
        counts = Counter[str]()
        for text in run.texts:
            _, stories = briefs.setdefault(int(text["brief"]), (str(text["prompt"]), []))
            stories.append(_story(run, text, counts[text["way"]]))
            counts[text["way"]] += 1
    if not briefs:
        return None
    told = (
        "The same briefs for every design, one run of each. A token is coloured by what it earned by the reward that "
        "the design was trained on; what is wrong by the truth is marked. A few texts show what happens, not how often."
    )
    blocks = [Stories(prompt, stories) for _, (prompt, stories) in sorted(briefs.items())]
    return Section("stories", "The same briefs, told by each", [told], blocks)


def _shown(bench: Bench) -> list[Run]:
    """Runs with texts; of those that pick the best of n by one reward, the one with the most to pick from."""
    runs = [run for run in bench.runs if run.texts]
    most: dict[str, int] = {}
    for run in runs:
        most[run.job["reward"]] = max(most.get(run.job["reward"], 0), run.job["variant"].get("n", 0))
    return [
        run for run in runs if run.job["kind"] != "best_of_n" or run.job["variant"].get("n") == most[run.job["reward"]]
    ]


def _story(run: Run, text: Mapping[str, Any], place: int) -> Story:
    title, way = run.job["design"] or run.job["kind"], text["way"]
    if run.job["kind"] == "best_of_n":
        way = f"best of {run.job['variant'].get('n', 'n')}"
    title = title if way == title else f"{title}, {way}"
    credit = [0.0 if value is None else float(value) for value in text["credit"]]
    marks = [Mark(int(mark["token"]), str(mark["text"]), bool(mark["severe"])) for mark in text.get("marks", ())]
    components = {
        name: [0.0 if value is None else float(value) for value in values]
        for name, values in text.get("components", {}).items()
    }
    return Story(title, list(text["tokens"]), credit, components, marks, _totals(run, text["way"], place))


def _totals(run: Run, way: str, place: int) -> dict[str, float]:
    """What is known of a whole text: pinned briefs are the first ones of each way of writing, in their order."""
    found = {}
    for column, label in TOTALS.items():
        values = run.values(column, way)
        if values is not None and place < len(values) and np.isfinite(values[place]):
            found[label] = float(values[place])
    return found
