"""What `check-reward` and `attack` share: where a reward is tried."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from textgym.cli.records import read_rows
from textgym.errors import CorpusError
from textgym.text.messages import text_of

if TYPE_CHECKING:
    from textgym.audit import Arena


def open_arena(
    spec: str,
    *,
    rollouts: Path | None,
    task: str | None,
    corpus: str | None,
    field: str | None,
    prompts: str | None,
    tokenizer: str,
    cache_dir: str | None,
    seed: int,
) -> "Arena":
    """A reward on saved rollouts, or on a task; on the story world where neither is named.

    Raises:
        TextGymError: something that cannot be read, or a reward that needs what is not there.
    """
    from textgym.audit import arena_of_rollouts, arena_of_task
    from textgym.envs.tasks import make_task

    named = task is not None or corpus is not None or prompts is not None
    opened = None
    if named or rollouts is None:
        opened = make_task(task, corpus=corpus, field=field, prompts=prompts, tokenizer=tokenizer, cache_dir=cache_dir)
    if rollouts is not None:
        return arena_of_rollouts(spec, rollouts, None if opened is None else opened.context, seed=seed)
    assert opened is not None
    return arena_of_task(spec, opened, seed=seed)


def read_pairs(path: Path) -> list[tuple[str, str, str]]:
    """(prompt, better, worse) of rows of {"prompt"?, "chosen", "rejected"}, messages as TRL writes them included.

    Raises:
        CorpusError: a row that lacks one of them, or holds no text there.
    """
    return [_pair(row, f"{path}, line {line}") for line, row in read_rows(path)]


def _pair(row: dict[str, Any], where: str) -> tuple[str, str, str]:
    try:
        return text_of(row.get("prompt") or ""), text_of(row["chosen"]), text_of(row["rejected"])
    except (KeyError, TypeError) as error:
        what = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise CorpusError(f"{where}: {what}; a judged pair has 'chosen' and 'rejected'") from error
