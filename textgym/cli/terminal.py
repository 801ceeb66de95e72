"""What the commands say and where: results on stdout, all else on stderr, and no text of a corpus as control code."""

import json
import logging
import re
import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TextIO

import typer

if TYPE_CHECKING:
    from rich.console import Console

_HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
"""Control characters, lone surrogates, and what has no width or turns the direction; not the joiners of emoji."""


def visible(text: str, keep: str = "") -> str:
    """The text with every control character as a sign that can be seen, and that does nothing to a terminal.

    Args:
        text: any text.
        keep: characters that stay as they are, e.g. the line breaks of a message.
    """
    return _HIDDEN.sub(lambda found: found[0] if found[0] in keep else _sign(found[0]), text)


def _sign(character: str) -> str:
    code = ord(character)
    if character == "\n":
        return "↵"
    if code < 0x20:
        return chr(0x2400 + code)  # Unicode's pictures of control codes: ␉ ␍ ␛
    return "␡" if code == 0x7F else f"\\u{code:04x}"


@lru_cache(maxsize=1)
def stdout() -> "Console":
    """The console of results. Print `rich.text.Text`, never strings of unknown content: those may hold markup."""
    from rich.console import Console

    return Console(highlight=False)


@lru_cache(maxsize=1)
def stderr() -> "Console":
    """The console of everything else."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def complain(message: str) -> None:
    """Writes `error: ...` to stderr."""
    print(f"error: {visible(message, keep=chr(10))}", file=sys.stderr, flush=True)


def show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Writes `warning: ...` to stderr, for `warnings.showwarning`: where it was raised says nothing to a user."""
    print(f"warning: {visible(str(message), keep=chr(10))}", file=sys.stderr, flush=True)


def to_json(value: Any, indent: int | None = None) -> bytes:
    """UTF-8 JSON with a line break; escaped only where the text is no Unicode text (lone surrogates)."""
    try:
        text = json.dumps(value, ensure_ascii=False, indent=indent, allow_nan=False)
        return text.encode() + b"\n"
    except UnicodeEncodeError:
        return json.dumps(value, indent=indent, allow_nan=False).encode() + b"\n"


def print_json(value: Any, indent: int | None = None) -> None:
    """Writes JSON to stdout, as UTF-8 whatever the terminal's encoding is."""
    typer.echo(to_json(value, indent), nl=False)


class _Said(logging.Handler):
    """Log records of the library on stderr, above a progress bar where there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        from rich.text import Text

        prefix = "warning: " if record.levelno >= logging.WARNING else ""
        stderr().print(Text(prefix + visible(record.getMessage())), soft_wrap=True)


def speak(quiet: bool = False) -> None:
    """Lets the library's log reach stderr: what takes time is announced, unless `quiet`; warnings always are."""
    logger = logging.getLogger("textgym")
    if not any(isinstance(handler, _Said) for handler in logger.handlers):
        logger.addHandler(_Said())
    logger.setLevel(logging.WARNING if quiet else logging.INFO)
