"""What jobs make for others: language models, pools of texts, pairs that gold has judged, learned rewards."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from textgym.benchmarks.rewards.job import USES, Job, key_of
from textgym.benchmarks.rewards.pool import fill

from textgym.envs.tasks import Task
from textgym.errors import TaskError
from textgym.models.checkpoint import load_checkpoint, new_model
from textgym.models.linear_classifier import LinearClassifier, fit_classifier
from textgym.models.preference import LinearPreference, fit_linear
from textgym.models.preference_transformer import PreferenceConfig, TransformerPreference, fit_transformer
from textgym.runs.config import TrainConfig
from textgym.runs.gold_pairs import gold_pairs
from textgym.runs.train import open_task, pretrained_model
from textgym.scorers.reward import bind_reward
from textgym.text.labelled_files import Labelled, read_labelled, read_lines, read_preferences
from textgym.text.store import write_atomic

MADE = "made"
"""Folder beside the rows."""

DONE = "done.json"
"""In a folder when all of it is there: what was found out meanwhile."""

TEMPERATURES = (0.7, 1.0, 1.4)
"""That the texts of a pair are drawn at."""

TEXTS, PAIRS = "texts.jsonl", "pairs.jsonl"
DATA = "TEXTGYM_DATA"
"""Variable that names the folder of labelled texts."""

EPOCHS = 4
"""Passes of a reward model at most; it stops when pairs that decide get no likelier."""


def made(job: Job, folder: Path) -> Path:
    """Where the work of a job lies, which is done where it is missing; and so for what it builds on."""
    target = folder / MADE / key_of(job)
    if not (target / DONE).exists():
        paths = {name: made(other, folder) for name, other in job.get(USES, {}).items()}
        target.mkdir(parents=True, exist_ok=True)
        facts = MAKERS[job["makes"]](job, target, paths)
        write_atomic(target / DONE, json.dumps(facts).encode())
    return target


def facts_of(job: Job, folder: Path) -> dict[str, Any]:
    """What was found out while it was made."""
    found: dict[str, Any] = json.loads((made(job, folder) / DONE).read_text("utf-8"))
    return found


def _task(job: Job, paths: Mapping[str, Path]) -> Task:
    """The task of texts; with the tokenizer of the model that there is, if there is one."""
    start = str(paths["start"]) if "start" in paths else job.get("model") or None
    if "corpus" in paths:
        return open_task(TrainConfig(corpus=str(paths["corpus"] / TEXTS), model=start), None)
    return open_task(TrainConfig(task=job["task"], model=start), None)


def _checkpoint(job: Job, target: Path, paths: Mapping[str, Path]) -> dict[str, Any]:
    """A language model, by maximum likelihood."""
    config = TrainConfig(
        task=job["task"], model_size=job["size"], pretrain_tokens=job["tokens"], seed=job["checkpoint"]
    )
    checkpoint = pretrained_model(config, _task(job, paths), target, None)
    return {name: checkpoint.metadata[name] for name in ("perplexity", "tokens")}


def _pool(job: Job, target: Path, paths: Mapping[str, Path]) -> dict[str, Any]:
    """Texts to choose from; what they are is in the columns of those that choose."""
    start = str(paths.get("start", job["model"]))
    return fill(_task(job, paths), load_checkpoint(start).model.eval(), job["prompts"], job["texts"], target)


def _pairs(job: Job, target: Path, paths: Mapping[str, Path]) -> dict[str, Any]:
    """Pairs of texts of one prompt, of which gold says which is better."""
    task = _task(job, paths)
    found = gold_pairs(
        task,
        bind_reward(job["gold"], task.context),
        load_checkpoint(job["model"]),
        job["pairs"],
        temperatures=TEMPERATURES,
        name=job["model"],
    )
    _save(target / PAIRS, [{"prompt": one.prompt, "chosen": one.chosen, "rejected": one.rejected} for one in found])
    return {}


def _preference(job: Job, target: Path, paths: Mapping[str, Path]) -> dict[str, Any]:
    """A reward model of Bradley and Terry, from the first so many pairs."""
    pairs = read_preferences(paths["pairs"] / PAIRS)[: job["pairs"]]
    model: LinearPreference | TransformerPreference
    if job["size"] == "linear":
        model = fit_linear(pairs)
    else:
        known, length = load_checkpoint(job["model"]), _task(job, paths).observation_length
        network = new_model(job["size"], vocab_size=known.tokenizer.vocab_size, context=length)
        model = fit_transformer(pairs, replace(known, model=network, metadata={}), PreferenceConfig(epochs=EPOCHS))
    return _saved(model, target)


def _texts(job: Job, target: Path, paths: Mapping[str, Path]) -> dict[str, Any]:
    """Labelled texts from files of one a line."""
    rows = [row for label, name in job["files"].items() for row in read_lines(data_folder() / name, label)]
    _save(target / TEXTS, [{"text": row.text, "label": row.label} for row in rows])
    return {"texts": len(rows)}


def _classifier(job: Job, target: Path, paths: Mapping[str, Path]) -> dict[str, Any]:
    """A classifier of texts, from so many labels; 0 is all."""
    rows = read_labelled(paths["corpus"] / TEXTS)
    return _saved(fit_classifier(_some(rows, job["labels"]) if job["labels"] else rows), target)


def _some(rows: list[Labelled], count: int) -> list[Labelled]:
    """As many of each label, at random."""
    rng, labels = np.random.default_rng(0), sorted({row.label for row in rows})
    shuffled = [rows[i] for i in rng.permutation(len(rows)).tolist()]
    of_label = [[row for row in shuffled if row.label == label][: count // len(labels)] for label in labels]
    return [row for part in of_label for row in part]


def _saved(model: LinearClassifier | LinearPreference | TransformerPreference, target: Path) -> dict[str, Any]:
    model.save(target)
    low, high = model.metadata["interval"]
    named = {name: model.metadata[name] for name in ("accuracy", "logloss", "heldout")}
    return named | {"accuracy, low": low, "accuracy, high": high}


def _save(path: Path, rows: list[dict[str, str]]) -> None:
    write_atomic(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())


def data_folder() -> Path:
    """Where labelled texts lie.

    Raises:
        TaskError: the variable that says so is not set.
    """
    if not (folder := os.environ.get(DATA)):
        raise TaskError(f"this experiment is about real text: set {DATA} to the folder that holds it, or leave it out")
    return Path(folder)


MAKERS: Mapping[str, Callable[[Job, Path, Mapping[str, Path]], dict[str, Any]]] = {
    "checkpoint": _checkpoint,
    "pool": _pool,
    "pairs": _pairs,
    "preference": _preference,
    "texts": _texts,
    "classifier": _classifier,
}
"""By what is made: a function of the job, the folder to fill and the folders of what it builds on."""
