import io

import pytest
from rich.console import Console

from textgym.cli.tables import figures, samples
from textgym.cli.terminal import to_json, visible

SUMMARY = {
    "reward": {"components": ["fluency", "[red]mine"]},
    "before": {
        "reward": 0.02,
        "reward/fluency": -3.5,
        "reward/[red]mine": 0.0,
        "kl": 0.0,
        "length": 60.0,
        "perplexity": 1200.0,
    },
    "after": {
        "reward": 1.84,
        "reward/fluency": -2.5,
        "reward/[red]mine": 1.0,
        "kl": 6.2,
        "length": 50.5,
        "perplexity": 1300.0,
    },
    "change": {
        "reward": {"mean": 1.82, "low": 1.71, "high": 1.93},
        "reward/fluency": {"mean": 1.0, "low": 0.9, "high": 1.1},
        "reward/[red]mine": {"mean": 1.0, "low": 1.0, "high": 1.0},
        "kl": {"mean": 6.2, "low": 6.0, "high": 6.4},
        "length": {"mean": -9.5, "low": -11.0, "high": -8.0},
    },
}


def printed(renderable):
    console = Console(file=io.StringIO(), width=80, color_system=None)
    console.print(renderable)
    return console.file.getvalue()


def cells(line):
    return sum(2 if "\u2e80" <= character <= "\uffef" else 1 for character in line)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain [red] text", "plain [red] text"),
        ("a\nb\tc", "a↵b␉c"),
        ("\x1b[31m\x00\x7f", "␛[31m␀␡"),
        ("\x9b \u202e \ud800", "\\u009b \\u202e \\ud800"),
        ("明月 👩\u200d👩", "明月 👩\u200d👩"),
    ],
)
def test_control_characters_are_seen_and_do_nothing(text, shown):
    assert visible(text) == shown


def test_a_message_keeps_its_lines():
    assert visible("one\ntwo\r", keep="\n") == "one\ntwo␍"


def test_the_figures_say_before_after_and_change_with_its_interval():
    lines = [line.split("  ") for line in printed(figures(SUMMARY)).splitlines()]
    rows = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    assert rows[0] == ["before", "after", "change (95% interval)"]
    assert rows[1] == ["reward (paid)", "0.02", "1.84", "+1.82 [1.71, 1.93]"]
    assert rows[3] == ["[red]mine", "0.00", "1.00", "+1.00 [1.00, 1.00]"]
    assert ["held-out perplexity", "1,200.0", "1,300.0", "+100.00", "per token"] in rows
    assert ["length", "60.00", "50.50", "-9.50 [-11.00, -8.00]", "tokens"] in rows


def test_a_component_called_length_stands_among_the_components():
    summary = {**SUMMARY, "reward": {"components": ["length"]}}
    for when in ("before", "after"):
        summary[when] = {**SUMMARY[when], "reward/length": 7.0}
    assert printed(figures(summary)).splitlines()[2].startswith("  length")


def test_completions_stand_side_by_side_in_eighty_columns_in_chinese_too():
    text = printed(
        samples([("床前", "疑是地上霜。" * 12, "[b]举头望明月，" * 9), ("a\x1b[2J", "word " * 40, " ")], width=80)
    )
    assert max(map(cells, text.splitlines())) <= 80
    line = next(line for line in text.splitlines() if line.startswith("疑是"))
    left = line[: line.index("[b]")]
    assert cells(left) == 41, "the second column begins where it does on every line"
    assert "prompt    a␛[2J" in text and "(empty)" in text and "\x1b" not in text


def test_json_is_utf8_and_refuses_what_is_no_json():
    assert to_json({"text": "明"}) == '{"text": "明"}\n'.encode()
    assert to_json("\ud800") == b'"\\ud800"\n'
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json(float("nan"))
