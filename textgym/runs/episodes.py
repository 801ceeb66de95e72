"""`episodes.jsonl`: the held-out completions of a run, as `textgym.text.rollouts` reads them back."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textgym.text.store import write_atomic

if TYPE_CHECKING:
    from textgym.runs.evaluate import Evaluation

EPISODES_FILE = "episodes.jsonl"


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
    components = [name for name in evaluation.values if name.startswith("reward/")]
    for i, (prompt, completion) in enumerate(zip(evaluation.prompts, evaluation.completions, strict=True)):
        numbers = {name.removeprefix("reward/"): _number(evaluation.values[name][i]) for name in components}
        yield {
            "prompt": prompt,
            "completion": completion,
            "references": list(evaluation.references[i]) if evaluation.references else [],
            "metadata": dict(evaluation.metadata[i]) if evaluation.metadata else {},
            "reward": _number(evaluation.values["reward"][i]),
            "components": numbers,
            "phase": phase,
            "step": step,
            "seed": seed,
            "group": i,
        }


def _number(value: float) -> float | None:
    """A figure as JSON knows it: NaN, which is "not applicable", as null."""
    return None if value != value else float(value)
