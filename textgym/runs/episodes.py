"""`episodes.jsonl`: the held-out completions of a run, as `textgym.text.rollouts` reads them back."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textgym.errors import CheckpointError, CorpusError, did_you_mean
from textgym.runs.record import SUMMARY_FILE
from textgym.text.store import write_atomic

if TYPE_CHECKING:
    from textgym.runs.evaluate import Evaluation

EPISODES_FILE = "episodes.jsonl"

SETTINGS = ("task", "corpus", "field", "prompts", "tokenizer", "vocab_size", "max_new_tokens", "max_prompt_tokens")
"""What of a run's configuration makes its task."""


@dataclass(frozen=True)
class SavedEpisodes:
    """Where the episodes of a run are, or those that a trainer dumped, and what they were written about.

    Attributes:
        path: what `read_rollouts` reads.
        task: the arguments of `make_task` that make the run's task; empty where that is not known.
        signature: of that task, when the run was finished; empty where it is not known.
        reward: the expression that was paid; empty where it is not known.
    """

    path: Path
    task: dict[str, Any] = field(default_factory=dict)
    signature: str = ""
    reward: str = ""


def saved_episodes(path: Path) -> SavedEpisodes:
    """The episodes in a folder of `textgym train`, or a file or folder of any trainer's.

    Raises:
        CorpusError: nothing is there, or a run that left no episodes.
        CheckpointError: the run's summary cannot be read.
    """
    if not path.exists():
        near = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
        raise CorpusError(f"no such file or folder: {path}. {did_you_mean(path.name, near) if near else ''}".strip())
    if not path.is_dir():
        return SavedEpisodes(path)
    if not (path / SUMMARY_FILE).exists():
        if (path / "run.json").exists():
            raise CorpusError(f"the run in {path} is not finished, and left no episodes yet: textgym train --resume")
        return SavedEpisodes(path)
    file = next((path / name for name in (EPISODES_FILE, "samples.jsonl") if (path / name).exists()), None)
    if file is None:
        raise CorpusError(f"the run in {path} has no episodes: neither {EPISODES_FILE} nor samples.jsonl is there")
    try:
        summary = json.loads((path / SUMMARY_FILE).read_text(encoding="utf-8"))
        config = summary["config"]
        task = {name: config[name] for name in SETTINGS if config[name] is not None}
        if config["model"] is not None and config["tokenizer"] == "auto":
            task["tokenizer"] = str(path / "reference" / "tokenizer.json")
        if not {"task", "corpus", "prompts"} & task.keys():
            task["task"] = "story"
        return SavedEpisodes(file, task, summary["task_signature"], summary["reward"]["text"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path / SUMMARY_FILE} cannot be read ({error}): it is damaged") from error


def save_episodes(out: Path, before: "Evaluation", after: "Evaluation", *, steps: int, seed: int) -> None:
    """Writes the completions of the starting model, then those of the trained one, of the same prompts.

    Args:
        out: folder of the run.
        before: completions of the starting model.
        after: completions of the trained model.
        steps: tokens that it was trained on.
        seed: of the run.

    Raises:
        OSError: the folder cannot be written.
    """
    rows = [*_rows(before, "before", 0, seed), *_rows(after, "after", steps, seed)]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    write_atomic(out / EPISODES_FILE, lines.encode("utf-8", "surrogatepass"))


def _rows(evaluation: "Evaluation", phase: str, step: int, seed: int) -> Iterator[dict[str, Any]]:
    batch = evaluation.batch
    components = [name for name in evaluation.values if name.startswith("reward/")]
    for i, (prompt, completion) in enumerate(zip(evaluation.prompts, evaluation.completions, strict=True)):
        yield {
            "prompt": prompt,
            "completion": completion,
            "references": list(batch.references[i]) if batch.references else [],
            "metadata": dict(batch.metadata[i]) if batch.metadata else {},
            "reward": _number(evaluation.values["reward"][i]),
            "components": {name.removeprefix("reward/"): _number(evaluation.values[name][i]) for name in components},
            "phase": phase,
            "step": step,
            "seed": seed,
            "group": i,
            "prompt_ids": batch.prompts[i].tolist(),
            "completion_ids": batch.completions[i].tolist(),
        }


def _number(value: float) -> float | None:
    """A figure as JSON knows it: NaN, which is "not applicable", as null."""
    return None if value != value else float(value)
