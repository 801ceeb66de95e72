import json

import pytest

from textgym import __version__
from textgym.reports.scorer_catalogue import catalogue_page


def test_list_names_everything_that_other_commands_take(textgym):
    found = json.loads(textgym("list", "--json").stdout)
    names = {kind: {row["name"] for row in rows} for kind, rows in found.items()}
    assert {"fluency", "repetition", "clip", "gold.coherence"} <= names["scorers"]
    assert {"docstrings", "story", "story-base-zh"} <= names["tasks"]
    assert {"ppo", "a2c"} <= names["agents"]
    assert {"auto", "bpe", "char", "word"} <= names["tokenizers"]
    assert {"tiny", "story-small", "ngram:4", "lsa:64", "hf:NAME_OR_FOLDER", "st:NAME_OR_FOLDER"} <= names["models"]
    assert all(row["description"] for rows in found.values() for row in rows), "every name has its line"


def test_scorers_are_listed_with_range_and_unit(textgym):
    rows = {row["name"]: row for row in json.loads(textgym("list", "scorers", "--json").stdout)["scorers"]}
    assert rows["repetition"]["range"] == [0.0, 1.0]
    assert (rows["fluency"]["range"], rows["fluency"]["unit"]) == ([None, 0.0], "nats per token")
    shown = textgym("list", "scorers").stdout
    assert "range (-inf, 0] nats per token" in " ".join(shown.split())


def test_the_scorers_are_listed_as_the_documentation_has_them(textgym):
    assert textgym("list", "scorers", "--markdown").stdout == catalogue_page()
    assert textgym("list", "tasks", "--markdown").exit_code == 2


@pytest.mark.parametrize("kind", ["scorers", "tasks", "agents", "tokenizers", "models"])
def test_every_list_fits_into_eighty_columns(textgym, kind):
    result = textgym("list", kind)
    assert result.exit_code == 0
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_an_unknown_kind_is_wrong_usage(textgym):
    result = textgym("list", "scorer")
    assert result.exit_code == 2 and "scorers" in result.stderr


def test_the_version_is_that_of_the_package(textgym):
    result = textgym("--version")
    assert (result.exit_code, result.stdout) == (0, f"TextGym {__version__}\n")


def test_an_unknown_command_is_wrong_usage_and_the_right_one_is_offered(textgym):
    result = textgym("trian")
    assert result.exit_code == 2 and "'train'" in result.stderr
