"""Pages from templates beside this file: whatever is put into one is escaped, and nothing that is missing is blank."""

from functools import lru_cache
from importlib.resources import files

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup, escape

MINUS = "\N{MINUS SIGN}"


def source(name: str) -> str:
    """What a file beside this one says."""
    return files("textgym.reports").joinpath(name).read_text("utf-8")


@lru_cache
def template(name: str) -> Template:
    """The template of a page, with the filters `shown`, `breakable` and `number`."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"shown": shown, "breakable": breakable, "number": number}
    return environment.from_string(source(name))


def number(value: float, digits: int = 2) -> str:
    """With so many digits after the point, and never as -0.00."""
    return f"{value:.{digits}f}" if abs(value) >= 0.5 * 10**-digits else f"{0:.{digits}f}"


def shown(text: str) -> str:
    """Without what has no place in a page: control characters, what turns its direction, halves of characters."""
    return "".join(map(_seen, text))


def breakable(text: str) -> Markup:
    """As shown, in lines that may end at a slash."""
    return Markup("/<wbr>").join(escape(part) for part in shown(text).split("/"))


def _seen(character: str) -> str:
    if character.isprintable():
        return character
    return "↵" if character == "\n" else " " if character.isspace() else "\ufffd"
