"""Designs of rewards: values that go to JSON and back, those that are built in, and files that say what is wrong."""

import json
import logging
import re
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from textgym.benchmarks.rewards import checking
from textgym.benchmarks.rewards.checking import check, prepared
from textgym.benchmarks.rewards.design import FIELDS, LONGEST_NAME, Design
from textgym.benchmarks.rewards.designs import (
    ABOUT,
    DEFAULT,
    EXPRESSIONS,
    GOLD,
    GROUPS,
    bound,
    builtin,
    fitting,
    together,
    typed,
)
from textgym.benchmarks.rewards.experiments import EXPERIMENTS
from textgym.benchmarks.rewards.plan import Plan
from textgym.benchmarks.rewards.reading import read_designs
from textgym.benchmarks.rewards.yaml_tree import MAX_BYTES, SHOWN

from textgym.envs.tasks import make_task
from textgym.errors import DesignError, TaskError, UnknownNameError
from textgym.scorers import parse
from textgym.scorers.spec import DEFAULT_REWARD

ROOT = Path(__file__).parents[2]
NAMES = st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1, max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.floats(allow_nan=False, allow_infinity=False) | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
DESIGNS = st.builds(
    Design,
    NAMES.filter(lambda name: name not in ("reference", "corpus")),
    st.sampled_from(["fluency", "0.7*fluency - repetition", "gold.quality"]),
    agent=st.none() | NAMES,
    delivery=st.sampled_from([None, "terminal", "per_token", "shaped"]),
    gamma=st.none() | st.floats(0.01, 1),
    beta=st.none() | st.floats(0, 1e6),
    kl_in=st.sampled_from([None, "reward", "loss"]),
    settings=st.dictionaries(NAMES, VALUES, max_size=3),
    constraint=st.none() | st.dictionaries(NAMES, VALUES, max_size=2),
    about=st.just("") | NAMES,
)


@pytest.fixture
def read(tmp_path):
    """Reads designs from a text."""

    def from_text(text):
        path = tmp_path / "designs.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_designs(path)

    return from_text


@pytest.fixture
def problems(read, tmp_path):
    """What is wrong with a text, without the folder of the file."""

    def of_text(text):
        with pytest.raises(DesignError) as caught:
            read(text)
        return str(caught.value).replace(str(tmp_path / "designs.yaml"), "designs.yaml").split("\n")

    return of_text


@given(DESIGNS)
def test_a_design_goes_to_json_and_back(design):
    assert Design.from_dict(json.loads(json.dumps(design.to_dict()))) == design


def test_a_design_says_no_more_than_it_was_given():
    assert Design("a", "fluency").to_dict() == {"name": "a", "reward": "fluency"}
    assert Design("a", "fluency", gamma=1.0).to_dict() == {"name": "a", "reward": "fluency", "gamma": 1.0}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", " "),
        ("name", "two\nlines"),
        ("name", "x" * (LONGEST_NAME + 1)),
        ("name", "reference"),
        ("name", "corpus"),
        ("delivery", "never"),
        ("gamma", 0),
        ("gamma", 1.01),
        ("gamma", float("nan")),
        ("beta", -0.1),
        ("beta", float("inf")),
        ("kl_in", "rewards"),
        ("settings", {"a": float("nan")}),
        ("settings", {"a": object()}),
        ("constraint", {"a": {1, 2}}),
    ],
)
def test_a_value_that_is_not_allowed_is_refused_with_its_field(field, value):
    with pytest.raises(DesignError, match=f"{field}: "):
        Design(**{"name": "a", "reward": "fluency", field: value})


def test_a_field_that_designs_do_not_have_is_refused_with_the_nearest_one():
    with pytest.raises(DesignError, match=r"no field 'gama'.*Did you mean 'gamma'"):
        Design.from_dict({"name": "a", "reward": "fluency", "gama": 1})
    with pytest.raises(DesignError, match="without 'reward'"):
        Design.from_dict({"name": "a"})


def test_every_built_in_design_can_be_read_and_says_what_is_expected_of_it():
    designs = builtin(["all"])
    assert [design.name for design in designs] == list(EXPRESSIONS) and ABOUT.keys() == EXPRESSIONS.keys()
    assert all(design.about for design in designs)
    assert len({str(parse(design.reward or DEFAULT_REWARD)) for design in designs}) == len(designs)


@pytest.mark.slow
def test_every_built_in_design_fits_the_story_world():
    task = make_task("story")
    assert fitting(builtin(["all"]), task) == builtin(["all"])


def test_the_default_design_pays_what_the_task_pays(tiny_corpus):
    task = make_task(corpus=tiny_corpus)
    assert bound(builtin([DEFAULT])[0], task).text == task.reward


def test_groups_and_names_mix_and_nothing_comes_twice():
    assert [design.name for design in builtin(["distinct-2", "quick", GOLD])] == ["distinct-2", *GROUPS["quick"]]
    assert {GOLD, DEFAULT} < set(GROUPS["quick"]) < set(GROUPS["all"]) and len(GROUPS["quick"]) == 4
    assert not {GOLD, DEFAULT} & set(GROUPS["naive"]) and len(GROUPS["naive"]) == 7


def test_naive_rewards_are_of_the_model_that_is_named():
    (design,) = builtin(["sum of log p"], model="it's/mine")
    assert parse(design.reward).lm == "it's/mine"


def test_an_unknown_name_is_refused_with_the_nearest_one():
    with pytest.raises(UnknownNameError, match="Did you mean 'adjacent cosine'"):
        builtin(["adjacent cosin"])


def test_rewards_are_typed_as_they_are_and_named_by_themselves():
    assert typed([" fluency ", GOLD, "fluency", "quick"])[:2] == [Design("fluency", "fluency"), *builtin([GOLD])]
    long = " + ".join(["fluency"] * 40)
    (design,) = typed([long])
    assert design.reward == long and len(design.name) == LONGEST_NAME and design.name.endswith("…")


def test_two_designs_that_differ_may_not_have_one_name():
    assert together([Design("a", "fluency"), Design("a", "fluency")]) == [Design("a", "fluency")]
    with pytest.raises(DesignError, match="two designs have the name 'a'"):
        together([Design("a", "fluency"), Design("a", "length")])


def test_designs_that_do_not_fit_a_task_are_left_out_and_named(tiny_corpus, caplog):
    task = make_task(corpus=tiny_corpus)
    with caplog.at_level(logging.INFO, "textgym"):
        found = fitting(builtin(["distinct-2", GOLD]), task)
    assert [design.name for design in found] == ["distinct-2"]
    assert "left out: design 'gold'" in caplog.text and "story world" in caplog.text
    with pytest.raises(DesignError, match="none of the designs gold fits task"):
        fitting(builtin([GOLD]), task)


@pytest.mark.parametrize(("reward", "why"), [("gold.quality", "story world"), ("fluencey", "Did you mean 'fluency'")])
def test_a_reward_that_does_not_fit_its_task_is_an_error_that_names_the_design(tiny_corpus, reward, why):
    with pytest.raises(DesignError, match=f"(?s)design 'mine' on task .*{why}"):
        bound(Design("mine", reward), make_task(corpus=tiny_corpus))


def test_a_file_gives_its_designs_in_their_order(read):
    file = read(
        """
        task: story-base
        designs:
          - name: mine
            reward: 0.7*fluency + 0.3*default(coherence, 0)
            agent: grpo
            delivery: shaped
            gamma: 1
            beta: 1e-3
            kl_in: loss
            settings: {learning_rate: 3e-4, scale_advantages: false, sizes: [1, 2.5, null]}
            constraint:
              min_new_tokens: 8
            about: "no: yes"
          - gold
          - name: of two lines
            reward: >
              fluency
              - repetition
        """
    )
    assert file.task == "story-base"
    assert file.designs == [
        Design(
            "mine",
            "0.7*fluency + 0.3*default(coherence, 0)",
            agent="grpo",
            delivery="shaped",
            gamma=1.0,
            beta=0.001,
            kl_in="loss",
            settings={"learning_rate": 0.0003, "scale_advantages": False, "sizes": [1, 2.5, None]},
            constraint={"min_new_tokens": 8},
            about="no: yes",
        ),
        *builtin([GOLD]),
        Design("of two lines", "fluency - repetition"),
    ]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(st.lists(DESIGNS, min_size=1, max_size=3, unique_by=lambda design: design.name))
def test_what_is_written_as_yaml_is_read_back(read, designs):
    """JSON is YAML 1.2, so that any tool may write the file."""
    text = json.dumps({"designs": [design.to_dict() for design in designs]}, ensure_ascii=False)
    assert read(text).designs == designs


def test_words_and_numbers_are_what_they_look_like(read):
    """In YAML 1.1, which PyYAML reads by itself, these are false, 83, 8, a day, a word and a word."""
    given = "{a: no, b: 1:23, c: 010, d: 2026-11-28, e: 1e-3, f: 1E5, g: 0x10, h: .5, i: -0, j: +1, k: ~, l: TRUE}"
    (design,) = read(f"designs: [{{name: a, reward: fluency, settings: {given}}}]").designs
    assert design.settings == {
        "a": "no",
        "b": "1:23",
        "c": 10.0,
        "d": "2026-11-28",
        "e": 0.001,
        "f": 1e5,
        "g": "0x10",
        "h": 0.5,
        "i": 0,
        "j": 1.0,
        "k": None,
        "l": "TRUE",
    }


def test_a_typo_of_a_field_is_told_with_its_line_and_the_nearest_field(problems):
    found = problems(
        "designs:\n  - name: a\n    reward: fluency\n    gama: .9\n  - reward: fluency\n    name: b\ntsk: a"
    )
    assert found == ["designs.yaml, line 7, tsk: no such field. Did you mean 'task'?"]
    found = problems("designs:\n  - name: a\n    rewrd: fluency\n    gama: .9\n  - reward: fluency\n")
    assert found == [
        "designs.yaml, line 2, reward: it is missing; every design has it",
        "designs.yaml, line 3, rewrd: no such field. Did you mean 'reward'?",
        "designs.yaml, line 4, gama: no such field. Did you mean 'gamma'?",
        "designs.yaml, line 5, name: it is missing; every design has it",
    ]


def test_a_reward_that_cannot_be_read_is_underlined(problems):
    found = problems("designs:\n  - gold\n  - name: a\n    reward: 0.5*fluencey + coherence\n")
    assert found[:3] == [
        "designs.yaml, line 4, reward: unknown scorer 'fluencey'",
        "    0.5*fluencey + coherence",
        "        ^^^^^^^^",
    ]
    assert "Did you mean 'fluency'" in found[3]
    assert "empty" in problems("designs:\n  - name: a\n    reward: ' '\n")[0]


def test_values_of_other_types_and_outside_of_what_is_allowed_are_told_one_a_line(problems):
    text = """designs:
  - name: 3
    reward: true
    gamma: high
    settings: [1]
  - 7
  -
  - name: reference
    reward: fluency
    gamma: 1.5
"""
    assert problems(text) == [
        "designs.yaml, line 2, name: text is expected, not the number 3",
        "designs.yaml, line 3, reward: text is expected, not true",
        "designs.yaml, line 4, gamma: a number is expected, not 'high'",
        "designs.yaml, line 5, settings: a mapping is expected, not a list",
        "designs.yaml, line 6, designs: the number 7 is no design; that is a mapping, or the name of a built-in one",
        "designs.yaml, line 7, designs: nothing is no design; that is a mapping, or the name of a built-in one",
        "designs.yaml, line 8, name: 'reference' is what designs are compared with; choose another",
        "designs.yaml, line 10, gamma: 1.5 is no discount; it is above 0 and at most 1",
    ]


def test_many_problems_are_cut_short(problems):
    found = problems("designs:\n" + "  - 7\n" * 20)
    assert len(found) == SHOWN + 1 and found[-1] == f"and {20 - SHOWN} more"


def test_two_designs_of_one_name_and_two_fields_of_one_name_are_refused(problems):
    text = "designs:\n  - name: a\n    reward: fluency\n  - gold\n  - reward: length\n    name: a\n  - quick\n"
    assert problems(text) == [
        "designs.yaml, line 6, name: 'a' is that of the design on line 2, too",
        "designs.yaml, line 7, name: 'gold' is that of the design on line 4, too",
    ]
    text = "designs:\n  - name: a\n    reward: fluency\n    reward: length\n"
    assert problems(text) == ["designs.yaml, line 4, column 5: 'reward' stands on line 3 already"]


@pytest.mark.parametrize("text", ["", "# nothing\n", "- gold\n", "hello", "3", "designs"])
def test_a_file_that_is_no_mapping_is_shown_what_one_looks_like(problems, read, text):
    found = problems(text)
    assert found[0].startswith("designs.yaml, line 1, ") and "no mapping" in found[0]
    read("\n".join(found[1:]))  # the example is one


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("designs: []", 1, "at least one design"),
        ("designs:\n", 1, "a list is expected, not nothing"),
        ("task: story\n", 1, "designs: it is missing"),
        ("designs:\n  - golf\n", 2, "unknown design 'golf'. Did you mean 'gold'"),
        ("designs:\n  - gold\n\t- default\n", 3, "indent by spaces, not by tabs"),
        ("designs:\n  - name: a: b\n", 2, "mapping values are not allowed here"),
        ("designs:\n  - name: 'a\n    reward: b\n", 4, "quoted scalar that begins on line 2"),
        ("designs:\n  - g\x00ld\n", 2, "special characters are not allowed"),
        ("designs: [gold]\n---\ndesigns: [gold]\n", 2, "another document"),
        ("designs:\n  - ? [a]\n    : b\n", 2, "a word is expected"),
        ("designs:\n  - !!python/object/apply:os.system ['true']\n", 2, "!!python/object/apply:os.system are not"),
        ("designs:\n  - !gold x\n", 2, "tags such as !gold"),
        ("designs: &a [gold]\ntask: *a\n", 2, "aliases"),
        ("designs:\n  - <<: {name: a}\n    reward: fluency\n", 2, "<<: no such field"),
        (b"designs:\n  - name: caf\xe9\n", 2, "not UTF-8"),
    ],
)
def test_what_is_no_file_of_designs_is_told_with_its_line(problems, text, line, what):
    found = problems(text)
    assert any(each.startswith(f"designs.yaml, line {line}, ") and what in each for each in found), found


def test_a_bomb_of_aliases_takes_no_memory(problems):
    levels = "".join(f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9)}]\n" for i in range(1, 30))
    tracemalloc.start()
    assert "aliases" in problems("l0: &l0 [x]\n" + levels + "designs: *l29\n")[0]
    assert tracemalloc.get_traced_memory()[1] < 10e6, "expanded, it would be 9^29 items"
    tracemalloc.stop()


def test_deep_nesting_is_refused(problems):
    assert "nested too deeply" in problems("designs: " + "[" * 3000)[0]


def test_a_large_file_is_refused_unread(problems):
    assert f"{MAX_BYTES:,} bytes" in problems(b"designs:\n" + b"  - gold\n" * 1_200_000)[0]


def test_a_missing_file_offers_the_one_that_is_there(tmp_path):
    (tmp_path / "designs.yaml").touch()
    with pytest.raises(DesignError, match=r"no such file: .*design\.yaml\. Did you mean 'designs\.yaml'"):
        read_designs(tmp_path / "design.yaml")
    with pytest.raises(DesignError, match="is a folder"):
        read_designs(tmp_path)


def test_reading_leaves_the_loader_of_others_alone(read):
    read("designs: [gold]")
    assert yaml.safe_load("a: no") == {"a": False}


def test_designs_are_read_without_torch(tmp_path):
    path = tmp_path / "designs.yaml"
    path.write_text("designs: [all]")
    code = f"""
import sys
from pathlib import Path
from textgym.benchmarks.rewards.plan import Plan
from textgym.benchmarks.rewards.reading import read_designs
read_designs(Path({str(path)!r}))
print([name for name in ("torch", "sklearn", "stable_baselines3", "transformers") if name in sys.modules])
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


def test_the_fields_of_a_file_are_those_of_a_design(problems):
    assert ", ".join(sorted(FIELDS)) in problems("designs:\n  - name: a\n    reward: fluency\n    zzz: 1\n")[0]


@pytest.fixture
def small_task(monkeypatch, tiny_corpus):
    """Jobs are checked on a task that is made in no time; it has no truth."""
    task = make_task(corpus=tiny_corpus)
    monkeypatch.setattr(checking, "opened", lambda name, corpus, start: task)
    return task


def test_an_agent_is_asked_for_its_settings_before_anything_runs(small_task):
    plan = Plan.quick()
    with pytest.raises(DesignError, match=r"design 'a': agent ppo has no setting 'n_epoch'. Did you mean 'n_epochs'"):
        check(plan, [Design("a", "length", agent="ppo", settings={"n_epoch": 2})])
    check(plan, [Design("a", "length", agent="ppo", settings={"n_epochs": 2, "learning_rate": 1e-3})])


def test_a_model_of_another_task_is_refused(small_task):
    with pytest.raises(TaskError, match="knows the words of task story, not of docstrings"):
        prepared(Plan.quick(task="docstrings"), builtin(["quick"]), chosen=False, experiments_chosen=False)


def test_the_example_is_a_file_of_designs_that_fit_the_story_world():
    file = read_designs(ROOT / "examples" / "designs.yaml")
    assert file.task == "story" and [design.name for design in file.designs][-1] == GOLD and len(file.designs) == 3


def test_the_page_on_comparing_rewards_says_what_there_is(read):
    page = (ROOT / "docs" / "compare-rewards.md").read_text(encoding="utf-8")
    for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL):
        assert read(block).designs
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(compile(block, "example", "exec"), {})
    rows = {row.split("|")[1].strip(): row.split("|")[2].strip(" `") for row in page.splitlines() if row[:2] == "| "}
    builtins = {design.name: design.reward or "the task's own" for design in builtin(["all"])}
    assert builtins.items() <= rows.items()
    assert {f"`{field}`" for field in FIELDS} <= rows.keys() and EXPERIMENTS.keys() <= rows.keys()
