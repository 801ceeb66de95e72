"""NAME=VALUE on the command line: settings that are not options of their own."""

import json
from collections.abc import Sequence
from typing import Any

import typer


def named_values(given: Sequence[str] | None, option: str) -> dict[str, Any]:
    """What was typed after an option that may be given more than once.

    Args:
        given: each NAME=VALUE, where VALUE is JSON, or a text where it is none; or a whole JSON object.
        option: as it is typed, for messages.

    Raises:
        typer.BadParameter: something else, or a name that is given twice.
    """
    found: dict[str, Any] = {}
    for text in given or ():
        for name, value in _one(text, option).items():
            if name in found:
                raise typer.BadParameter(f"{option} {text}: {name!r} is given twice")
            found[name] = value
    return found


def _one(text: str, option: str) -> dict[str, Any]:
    if text.lstrip().startswith("{"):
        try:
            whole: dict[str, Any] = json.loads(text)
        except ValueError as error:
            raise typer.BadParameter(f"{option} {text}: no JSON object ({error})") from None
        return whole
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise typer.BadParameter(f"{option} {text}: NAME=VALUE is needed, e.g. {option} name=1")
    return {name.strip(): _value(value)}


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
