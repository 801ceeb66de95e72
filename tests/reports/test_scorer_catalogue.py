"""docs/scorers.md is what the code says, and the code says of every scorer what it is."""

import re
from pathlib import Path

import pytest

from textgym import scorers
from textgym.reports.scorer_catalogue import catalogue_page, entries, entry
from textgym.scorers import Scorer, registry
from textgym.scorers.algebra import OPERATORS, Composite
from textgym.scorers.delivery import DELIVERIES

PAGE = Path(__file__).parents[2] / "docs" / "scorers.md"
BUILT_IN = {name: kind for name, kind in registry().items() if kind.__module__.startswith("textgym.")}


def test_the_page_is_what_the_code_generates():
    assert PAGE.read_text(encoding="utf-8") == catalogue_page(), "run: make docs"


@pytest.mark.parametrize("kind", [*BUILT_IN.values(), *OPERATORS], ids=lambda kind: kind.name)
def test_every_scorer_has_a_definition_a_source_and_a_line_that_says_what_it_is(kind):
    assert kind.formula and "\n" not in kind.formula
    said = [base for base in kind.__mro__ if "source" in vars(base) and base is not Scorer]
    assert said, 'source = "" says that it is plain arithmetic'
    assert re.match(r"[A-Z0-9z].*[^,;]$", entry(kind).description)


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_scorer_has_a_range_or_a_unit_that_the_catalogue_shows(name):
    one = entry(BUILT_IN[name])
    depends = one.node or any("=" not in parameter for parameter in one.parameters)
    bounded = one.range is not None and one.range != (-float("inf"), float("inf"))
    assert depends or bounded or one.unit, "an unbounded number without a unit says nothing"


def test_every_scorer_node_and_delivery_has_one_row_of_as_many_cells_as_its_head():
    width, names = 0, []
    for line in catalogue_page().splitlines():
        if line.startswith("|"):
            cells = re.split(r"(?<!\\)\|", line)[1:-1]
            width = width or len(cells)
            assert len(cells) == width, line
            names.append(cells[0].strip(" `"))
        else:
            width = 0
    assert {*BUILT_IN} <= {*names}
    assert {f"delivery={kind}" for kind in DELIVERIES} | {"x + y", "x - y", "x*y", "-x", "2.5"} <= {*names}
    rows = [name for name in names if name not in ("scorer", "node", "---")]
    assert len(rows) == len({*rows}), "nothing stands twice"


def test_kind_and_needs_are_those_of_the_scorer():
    known = {one.name: one for one in entries(only_built_in=True)}
    kinds = {name: known[name].kind for name in ("repetition", "coherence", "bleu", "self_bleu")}
    assert kinds == {"repetition": "token", "coherence": "prefix", "bleu": "text", "self_bleu": "set"}
    assert known["bleu"].needs == ("references",) and known["rouge"].extra == "rouge"
    assert known["standard"].unit == "sd" and known["keywords"].range == (0.0, 1.0)


class Odd(Scorer):
    r"""A | bar, a *star*, ``co|de`` and `more_code`, a <tag> and \ one."""

    name = "odd"
    formula = "|x|"


def test_marks_of_markdown_are_escaped_in_prose_and_bars_in_code(monkeypatch):
    monkeypatch.setattr("textgym.reports.scorer_catalogue.registry", lambda: {"odd": Odd})
    monkeypatch.setattr(Odd, "__module__", "textgym.odd")
    row = next(line for line in catalogue_page().splitlines() if line.startswith("| `odd`"))
    assert r"A \| bar, a \*star\*, `co\|de` and `more_code`, a \<tag\> and \\ one." in row
    assert r"`\|x\|`" in row


def test_a_part_of_a_composite_is_no_part_of_its_entry():
    assert all(issubclass(BUILT_IN[one.name], Scorer) for one in entries(only_built_in=True))
    assert all(one.node for one in entries(only_built_in=True) if issubclass(BUILT_IN[one.name], Composite))


@pytest.mark.parametrize("name", [name for name in BUILT_IN if "." not in name])
def test_no_file_of_the_room_hides_a_scorer_of_its_name(name):
    assert getattr(scorers, name) is BUILT_IN[name], "a module becomes an attribute of its package: rename the file"
