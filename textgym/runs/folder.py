"""The folder of a run: what may be in it, and how it is emptied for the next one."""

import logging
from pathlib import Path

from textgym.errors import TaskError
from textgym.models.folder import CONFIG_FILE
from textgym.runs.episodes import EPISODES_FILE
from textgym.runs.record import CHECKPOINTS, RUN_FILE, SUMMARY_FILE, cannot_write
from textgym.sb3.checkpoints import remove_checkpoints, saved_tokens

_log = logging.getLogger("textgym")

RESULTS = (SUMMARY_FILE, "samples.jsonl", EPISODES_FILE, "curve.png", "metrics.jsonl")
SAVED = (*RESULTS, "agent.zip", "model", "reference", RUN_FILE, CHECKPOINTS)
"""What a run leaves in its folder."""


def check_folder(out: Path) -> None:
    """Raises TaskError where `out` is a file, or holds what no run has made."""
    if out.exists() and not out.is_dir():
        raise TaskError(f"--out {out} is a file; give a folder")
    found = {path.name for path in out.iterdir()} if out.is_dir() else set()
    foreign = sorted(found - {*SAVED} - {path.name for path in _partial(out)})
    if foreign:
        raise TaskError(f"--out {out} holds {foreign[0]!r}, which no run of textgym made; give a new or empty folder")


def clear_folder(out: Path) -> None:
    """Makes the folder; the results and the agent of an earlier run would be taken for those of this one.

    Raises:
        TaskError: it cannot be written.
    """
    tokens = saved_tokens(out / CHECKPOINTS)
    if tokens and (out / RUN_FILE).exists() and not (out / SUMMARY_FILE).exists():
        _log.warning("the unfinished run in %s goes, at %s tokens: --resume would go on with it", out, f"{tokens:,}")
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / RUN_FILE).unlink(missing_ok=True)  # first: without it what is left cannot be gone on with
        remove_checkpoints(out / CHECKPOINTS)
        for name in (*RESULTS, "agent.zip", f"model/{CONFIG_FILE}"):  # without it the folder is no model
            (out / name).unlink(missing_ok=True)
        for path in _partial(out):
            path.unlink()
        (out / "metrics.jsonl").touch()
    except OSError as error:
        raise cannot_write(out, error) from error


def _partial(out: Path) -> list[Path]:
    """What a process that was killed had half written."""
    return [path for name in SAVED for path in out.glob(f".{name}.*.tmp")]
