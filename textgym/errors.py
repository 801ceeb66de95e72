"""The exception tree: every error is a `TextGymError` and the standard-library exception a caller would expect.

Messages say what was given, what is allowed and what to do.
"""

import difflib
from collections.abc import Iterable


class TextGymError(Exception):
    """Base of every error that TextGym raises on purpose."""


class UnknownNameError(TextGymError, LookupError):
    """A name that no registry knows (task, scorer, model, tokenizer, agent).

    Args:
        kind: what was looked up, e.g. "scorer".
        name: what was given.
        known: the names there are; the nearest one is offered.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        super().__init__(f"unknown {kind} {name!r}. {did_you_mean(name, names)}")
        self.kind, self.name, self.known = kind, name, names


class SpecError(TextGymError, ValueError):
    """A reward expression that cannot be read: shows the expression with the place underlined.

    Args:
        message: what is wrong, without a full stop.
        source: the whole expression.
        column: 0-based offset of the offending part.
        width: how many characters of it to underline.
        hint: a last line, e.g. "Did you mean 'fluency'?".
    """

    def __init__(self, message: str, source: str, column: int, width: int = 1, hint: str = "") -> None:
        mark = " " * column + "^" * max(width, 1)
        lines = [message, f"    {source}", f"    {mark}"] + ([f"    {hint}"] if hint else [])
        super().__init__("\n".join(lines))
        self.source, self.column, self.width = source, column, width


class ScorerError(TextGymError, ValueError):
    """A scorer that is built or bound wrongly: a parameter out of range, a missing language model."""


class ScoringFailure(TextGymError, RuntimeError):  # noqa: N818 - a failure of the scorer, not of the caller
    """A scorer that raised, or returned NaN, infinity or the wrong shape, while a text was scored.

    Attributes:
        row: the row of the batch that it failed on, where the scorer knows it.
    """

    row: int | None = None


class CorpusError(TextGymError, ValueError):
    """A corpus that cannot be read or holds too little text."""


class TokenizerError(TextGymError, ValueError):
    """A tokenizer file or setting that cannot be used, or ids outside its vocabulary."""


class TaskError(TextGymError, ValueError):
    """A task or environment setting that does not fit: prompts too long, unknown reset option."""


class DesignError(TextGymError, ValueError):
    """A reward design, or a file of designs, that cannot be used; of a file the message names line and field."""


class ReportError(TextGymError, ValueError):
    """A report whose parts do not fit together, or that holds what no page may."""


class SpaceError(TextGymError, ValueError):
    """An action outside the action space."""


class EpisodeError(TextGymError, RuntimeError):
    """A step before reset or after the end of an episode."""


class CheckpointError(TextGymError, ValueError):
    """A saved model that is missing, unreadable, or does not fit the task."""


class MissingExtraError(TextGymError, ImportError):
    """An optional dependency that is not installed; the message holds the install line.

    Args:
        package: the import that failed.
        extra: the extra of textgym that brings it.
        purpose: what needs it.
    """

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs {package}, which is not installed: pip install 'textgym[{extra}]'")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint that offers the nearest known name, or lists them all if none is near."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(names) or 'none'}."
