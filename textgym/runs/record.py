"""`run.json`: what a run writes down of itself when it begins, so that it can be gone on with."""

import json
import logging
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from textgym.errors import CheckpointError, TaskError
from textgym.runs.config import TrainConfig, versions
from textgym.text.store import write_atomic

RUN_FILE, SUMMARY_FILE, CHECKPOINTS = "run.json", "summary.json", "checkpoints"

_log = logging.getLogger("textgym")


@dataclass(frozen=True)
class RunRecord:
    """A run that has begun.

    Attributes:
        config: its settings.
        versions: of the packages it began with.
        task: signature of the task, which changes with the corpus.
        reward: signature of the reward, which changes with the code of a function.
        reference: hash of the starting model's weights; None until that model is saved.
    """

    config: TrainConfig
    versions: dict[str, str]
    task: str
    reward: str
    reference: str | None = None

    def save(self, out: Path) -> None:
        """Writes `run.json` below `out`; raises TaskError where that cannot be written."""
        content = json.dumps({"textgym": "run", **asdict(self)}, ensure_ascii=False, indent=2) + "\n"
        try:
            write_atomic(out / RUN_FILE, content.encode())
        except OSError as error:
            raise cannot_write(out, error) from error

    def require_same(self, other: "RunRecord", out: Path) -> None:
        """Checks that a run may go on as `other` would begin.

        Raises:
            TaskError: a setting, the corpus or the reward is another; the message names it.
        """
        require_same_config(self.config, other.config, out)
        text = self.config.corpus or self.config.prompts or self.config.task
        for name, given in (("task", text), ("reward", self.config.reward)):
            before, now = getattr(self, name), getattr(other, name)
            if before != now:
                raise TaskError(
                    f"{name} {given or '(default)'} is no longer what the run in {out} began with "
                    f"({before}, now {now}). Bring it back, or begin anew without --resume"
                )
        for package, version in self.versions.items():
            if other.versions.get(package) != version:
                _log.warning(
                    "the run in %s began with %s %s, now it is %s: what follows may differ in the last digits",
                    out,
                    package,
                    version,
                    other.versions.get(package),
                )


def record_of(out: Path) -> RunRecord:
    """The record of the run in a folder that is to be gone on with.

    Raises:
        CheckpointError: no run was begun there, it is finished, or the record cannot be read.
    """
    if (out / SUMMARY_FILE).exists():
        raise CheckpointError(f"the run in {out} is finished: nothing to resume. Without --resume it is run anew")
    if not (out / RUN_FILE).exists():
        raise CheckpointError(f"{out} holds no run that was begun ({RUN_FILE} is missing): nothing to resume")
    try:
        saved: dict[str, Any] = json.loads((out / RUN_FILE).read_text(encoding="utf-8"))
        parts = {field.name: saved[field.name] for field in fields(RunRecord)}
        return RunRecord(**{**parts, "config": TrainConfig(**saved["config"])})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{out / RUN_FILE} cannot be read ({error}): it is damaged, or of another version of textgym"
        ) from error


def resumed_config(out: Path, given: dict[str, Any]) -> TrainConfig:
    """The settings of the run in a folder; those that are `given` must be as they were.

    Raises:
        CheckpointError: as `record_of`.
        TaskError: a given setting differs.
    """
    config = record_of(out).config
    require_same_config(config, replace(config, **given), out)
    return config


def require_same_config(saved: TrainConfig, given: TrainConfig, out: Path) -> None:
    """Raises TaskError with the names of the settings that differ."""
    before, now = saved.to_dict(), given.to_dict()
    differing = [f"{name}={before[name]!r}, not {now[name]!r}" for name in before if before[name] != now[name]]
    if differing:
        raise TaskError(
            f"the run in {out} was begun with {'; '.join(differing)}. A run goes on with the settings it was begun "
            "with: leave them away, or begin anew without --resume"
        )


def new_record(config: TrainConfig, task: str, reward: str) -> RunRecord:
    """The record of a run that begins here and now."""
    return RunRecord(config, versions(), task, reward)


def cannot_write(out: Path, error: OSError) -> TaskError:
    """What is said where the folder of a run is full or read-only."""
    return TaskError(f"--out {out} cannot be written: {error.strerror}")
