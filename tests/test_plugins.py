"""Scorers and tasks that other packages bring, as their users meet them: installed, misspelt, broken."""

import importlib
import json
import sys

import pytest
from typer.testing import CliRunner

from textgym import scorers as s
from textgym.cli.app import app
from textgym.envs import tasks
from textgym.errors import CorpusError, ScorerError, SpecError, TaskError, UnknownNameError
from textgym.scorers import catalogue


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Puts a package on the path as pip would: its module, and metadata that names its entry points."""
    s.registry()  # built-in files register themselves once, when they are first imported
    for name in ("_REGISTERED", "_FUNCTIONS"):
        monkeypatch.setattr(catalogue, name, dict(getattr(catalogue, name)))
    monkeypatch.setattr(tasks, "_builders", dict(tasks._builders))
    modules = set(sys.modules)

    def put(package, source, **points):
        folder = tmp_path / package
        info = folder / f"{package}-1.2.dist-info"
        info.mkdir(parents=True)
        (folder / f"{package}.py").write_text(source)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(
            "".join(f"[textgym.{group}]\n{lines}\n" for group, lines in points.items())
        )
        monkeypatch.syspath_prepend(folder)
        importlib.invalidate_caches()
        catalogue._plugins.cache_clear()

    yield put
    catalogue._plugins.cache_clear()
    for name in set(sys.modules) - modules:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def test_a_package_is_imported_when_its_scorer_is_used_and_not_before(install):
    source = "def rhymes(text, *, worth: float = 1.0):\n    return worth\n"
    install("rhyming", source, scorers="rhymes = rhyming:rhymes")
    assert "rhymes" in s.scorer_names() and "rhymes" in dir(s)
    with pytest.raises(SpecError, match="Did you mean 'rhymes'"):
        s.parse("rhyme - length")
    assert "rhyming" not in sys.modules
    scorer = s.parse("rhymes(worth=3) - length")
    assert scorer.score_texts(["a"]).tolist() == [2] and scorer.to_spec() == "rhymes(worth=3) - length"
    assert s.rhymes() == s.resolve(sys.modules["rhyming"].rhymes)


def test_a_module_that_registers_its_scorers_may_be_the_entry_point(install):
    source = "from textgym.scorers import register\n@register('vowels')\ndef f(text):\n    return 7\n"
    install("letters", source, scorers="vowels = letters")
    assert s.parse("vowels").score_texts(["a"]).tolist() == [7]


NOTHING = "no_such_package_at_all"
BROKEN = [
    (f"import {NOTHING}", "broken", f"ModuleNotFoundError: No module named '{NOTHING}'"),
    ("1 / 0", "broken", "ZeroDivisionError: division by zero"),
    ("def f(:", "broken:f", "SyntaxError"),
    ("x = 1", "broken:f", "AttributeError"),
]
WRONG = [
    ("x = 1", "broken:x", "no scorer: a function, or a class that extends textgym.scorers.Scorer"),
    ("class f: pass", "broken:f", "no scorer: a function, or a class that extends textgym.scorers.Scorer"),
    ("x = 1", "broken", "no scorer: a function, or a class that extends textgym.scorers.Scorer"),
    ("def f(a, b): return 1", "broken:f", r"f\(a, b\) is no reward function"),
]


@pytest.mark.parametrize(("source", "value", "reason"), BROKEN + WRONG)
def test_a_broken_scorer_names_its_package_and_breaks_no_other(install, source, value, reason):
    install("fine", "def good(text):\n    return 1\n", scorers="good = fine:good")
    install("broken", source, scorers=f"bad = {value}")
    with pytest.raises(ScorerError, match=rf"(?s)scorer 'bad' of the package broken 1\.2 \({value}\).*{reason}"):
        s.parse("bad - length")
    with pytest.warns(RuntimeWarning, match=f"scorer 'bad' of the package broken.*{reason}"):
        found = s.registry()
    assert {"good", "fluency"} <= set(found) and "bad" not in found
    assert s.parse("good - length").score_texts(["a"]).tolist() == [0]


def test_a_scorer_whose_name_cannot_be_written_says_so(install):
    install("dashed", "def f(text):\n    return 1\n", scorers="my-scorer = dashed:f")
    with pytest.raises(ScorerError, match=r"package dashed 1\.2 .* a scorer's name is an identifier"):
        s.resolve({"scorer": "my-scorer"})


def test_a_name_that_two_packages_bring_is_refused_with_both(install):
    for package in ("ours", "theirs"):
        install(package, "def f(text):\n    return 1\n", scorers=f"vowels = {package}:f")
    with pytest.raises(ScorerError, match=r"'vowels' comes from 2 packages: ours 1\.2 .* theirs 1\.2 .*uninstall"):
        s.parse("vowels")


def test_a_built_in_name_stays_built_in(install):
    install("taking", "def f(text):\n    return 1\n", scorers="length = taking:f")
    assert s.parse("length").score_texts(["a b"]).tolist() == [2]
    assert s.registry()["length"] is s.length


def test_a_package_brings_a_task(install):
    source = (
        "from textgym.errors import CorpusError\n"
        "def build(settings):\n"
        "    raise CorpusError(f'{settings.task} of {settings.max_new_tokens} tokens')\n"
    )
    install("telling", source, tasks="tales = telling:build")
    assert "tales" in tasks.task_names()
    with pytest.raises(UnknownNameError, match="Did you mean 'tales'"):
        tasks.make_task("tale")
    assert "telling" not in sys.modules
    with pytest.raises(CorpusError, match="tales of 7 tokens"):  # its own error, as it is
        tasks.make_task("tales", max_new_tokens=7)


@pytest.mark.parametrize(("source", "value", "reason"), [*BROKEN, ("x = 1", "broken:x", "1 is no function that makes")])
def test_a_broken_task_names_its_package_and_breaks_no_other(install, source, value, reason):
    install("broken", source, tasks=f"bad = {value}")
    with pytest.raises(TaskError, match=rf"(?s)task 'bad' of the package broken 1\.2 \({value}\).*{reason}"):
        tasks.make_task("bad")
    assert tasks.task_builder("docstrings") is tasks.docstrings


def test_a_list_shows_what_works_and_says_what_does_not(install):
    install("broken", f"import {NOTHING}", scorers="bad = broken:f", tasks="worse = broken:f")
    with pytest.warns(RuntimeWarning, match="scorer 'bad' of the package broken"):
        found = json.loads(CliRunner().invoke(app, ["list", "scorers", "--json"]).stdout)["scorers"]
    assert "fluency" in {row["name"] for row in found}
    found = json.loads(CliRunner().invoke(app, ["list", "tasks", "--json"]).stdout)["tasks"]
    lines = {row["name"]: row["description"] for row in found}
    assert "docstrings" in lines and lines["worse"].startswith("task 'worse' of the package broken 1.2")


# -- the decorator


def test_only_scorers_and_functions_are_registered():
    class Plain:
        pass

    with pytest.raises(ScorerError, match=r"register\('mine'\).*no scorer: a function, or a class that extends"):
        s.register("mine")(Plain)


def test_parameters_of_a_class_that_is_no_dataclass_are_not_lost_in_silence():
    class Mine(s.Scorer):
        weight: float = 1.0

    with pytest.raises(ScorerError, match=r"@dataclass\(frozen=True\) below @register"):
        s.register("mine")(Mine)
    assert "mine" not in s.scorer_names()


def test_a_class_without_parameters_needs_no_dataclass(install):
    @s.register("always_one")
    class One(s.Scorer):
        unit = "points"

    assert s.parse("always_one") == One()
