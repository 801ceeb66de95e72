"""A report as one self-contained HTML page: no network, light and dark, for phones, screen readers and paper too."""

import base64
import hashlib
import re
from collections.abc import Iterator
from typing import Any

from textgym.errors import ReportError
from textgym.reports.blocks import Block, Notice, Picture, Report, Section, Stories, Table
from textgym.reports.cells import shown_rows
from textgym.reports.heat import heat_map
from textgym.reports.svg import placed
from textgym.reports.templates import shown, source, template

LEVELS = {"bad": "Alarm", "warning": "Warning", "note": "Note", "good": "Good"}
"""What a notice begins with, the gravest first."""

MOST_ALARMS = 8
"""That stand at the top at once; the rest are folded in."""

WIDE = 12
"""Columns from which on a table is printed on a page turned to its side."""


def page(report: Report) -> str:
    """The page of a report.

    Whatever the report says is escaped, and characters that cannot be seen are shown as U+FFFD. The page's policy lets
    its own style and script run and nothing else; without the script all is there but the values of single tokens and
    the sorting of tables.

    Raises:
        ReportError: sections that share a name, a notice of no known level, parts whose lengths differ, a picture that
            could do more than draw.
    """
    names = [section.name for section in report.sections]
    if len(set(names)) != len(names) or not all(re.fullmatch("[a-z-]+", name) for name in names):
        raise ReportError(f"sections have names of their own, of lower-case letters and hyphens; given: {names}")
    style, script = source("page.css"), source("page.js")
    return template("page.html").render(
        report=report,
        sections=[(section, list(_blocks(section))) for section in report.sections],
        alarms=_alarms(report),
        levels=LEVELS,
        most=MOST_ALARMS,
        wide=WIDE,
        style=style,
        script=script,
        policy=f"default-src 'none'; style-src {_digest(style)}; script-src {_digest(script)}; base-uri 'none'",
    )


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _alarms(report: Report) -> list[tuple[Section, Notice]]:
    """Alarms, then warnings, each with the section where it stands."""
    found = [(section, block) for section in report.sections for block in section.blocks if isinstance(block, Notice)]
    return [(section, notice) for level in ("bad", "warning") for section, notice in found if notice.level == level]


def _blocks(section: Section) -> Iterator[tuple[str, str, Block, Any]]:
    """Of each block its kind, its name on the page, itself, and what is made of it."""
    for place, block in enumerate(section.blocks, 1):
        name = f"{section.name}-{place}"
        if isinstance(block, Table):
            yield "table", name, block, shown_rows(block)
        elif isinstance(block, Picture):
            yield "picture", name, block, _drawing(block, name)
        elif isinstance(block, Stories):
            yield "stories", name, block, [heat_map(story) for story in block.stories]
        elif block.level in LEVELS:
            yield "notice", name, block, None
        else:
            raise ReportError(f"a notice is one of {', '.join(LEVELS)}; given: {block.level!r} ({block.text})")


def _drawing(picture: Picture, name: str) -> str:
    try:
        return placed(picture.svg, name, shown(picture.caption), shown(picture.alternative))
    except ValueError as error:
        raise ReportError(f"{picture.caption!r}: {error}") from error
