"""JSON and JSON Schema: what is JSON, what a schema allows, what never hangs and never fetches."""

import builtins
import json
import time
import urllib.request

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scorer_fakes import FakeContext

from textgym import scorers as s
from textgym.errors import MissingExtraError, ScorerError, ScoringFailure
from textgym.scorers.plain import batch_of_texts

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name"],
    "additionalProperties": False,
}


def values(scorer, *texts):
    return scorer.score_texts(list(texts)).tolist()


def valid(schema, value, **parameters):
    return values(s.json_schema(json.dumps(schema), **parameters), json.dumps(value))[0] == 1


@pytest.mark.parametrize("text", ['{"a": [1, 2.5e3, null, true]}', ' "x"\n', "0", "[]", '{"a": 1, "a": 2}'])
def test_a_json_text_is_json(text):
    assert values(s.json(), text) == [1]


@pytest.mark.parametrize(
    "text",
    ["", "{", "{'a': 1}", "[1,]", "NaN", "-Infinity", "1e999", "9" * 5000, "[" * 100_000, "1 2", "// x\n1", "٣", "01"],
)
def test_anything_else_is_not(text):
    assert values(s.json(), text) == [0]


def test_a_fenced_block_counts_only_if_asked_for():
    text = 'First:\n```json\n{"a": \n```\nNo, rather:\n```json\n{"a": 1}\n```\nDone.'
    assert values(s.json(), text) == [0] and values(s.json(fenced=True), text) == [1]
    assert values(s.json(fenced=True), '{"a": 1}', "```\n[1]\n```", "```json\n[\n```") == [1, 1, 0]


def test_a_schema_allows_what_it_describes():
    assert valid(PERSON, {"name": "Ann", "age": 3})
    for wrong in ({}, {"name": 1}, {"name": "Ann", "age": -1}, {"name": "Ann", "x": 0}, [], "Ann"):
        assert not valid(PERSON, wrong)
    assert values(s.json_schema(json.dumps(PERSON)), '{"name": "Ann"', "") == [0, 0]
    assert valid(True, 1) and not valid(False, 1)


def test_older_drafts_and_references_within_a_schema_are_followed():
    draft4 = {"$schema": "http://json-schema.org/draft-04/schema#", "minimum": 3, "exclusiveMinimum": True}
    assert valid(draft4, 4) and not valid(draft4, 3)
    tree = {"$defs": {"t": {"type": "array", "items": {"$ref": "#/$defs/t"}}}, "$ref": "#/$defs/t"}
    assert valid(tree, [[], [[]]]) and not valid(tree, [[1]])
    assert valid({"$ref": "https://json-schema.org/draft/2020-12/schema"}, {"type": "object"})


def test_formats_are_checked_if_asked_for():
    assert valid({"format": "date"}, "yesterday") and not valid({"format": "date"}, "yesterday", formats=True)
    assert valid({"format": "date"}, "2024-02-29", formats=True)


def test_nothing_is_ever_fetched(monkeypatch):
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: pytest.fail("fetched"))
    for ref in ("http://127.0.0.1:9/schema.json", "file:///etc/hostname", "other.json"):
        with pytest.raises(ScoringFailure, match="nothing is fetched"):
            valid({"$ref": ref}, 1)


@pytest.mark.parametrize(
    "schema",
    [
        {"pattern": "(x|xx)+$"},
        {"patternProperties": {"(x|xx)+$": False}},
        {"additionalProperties": False, "patternProperties": {"(x|xx)+$": True}},
    ],
)
def test_a_pattern_without_end_is_an_error_soon(schema, monkeypatch):
    monkeypatch.setattr("textgym.scorers.json_text.PATTERN_SECONDS", 0.05)
    text = "x" * 60 + "!"
    began = time.perf_counter()
    with pytest.raises(ScoringFailure, match=r"took more than 0\.05 s"):
        valid(schema, text if "pattern" in schema else {text: 1})
    assert time.perf_counter() - began < 30, "seconds, where without a limit it would be years"


keys = st.sampled_from(["a", "ab", "b1", "c"])
objects = st.dictionaries(keys, st.one_of(st.integers(-3, 3), st.text(alphabet="ab1", max_size=3)), max_size=4)
parts = st.sampled_from([True, False, {"type": "integer"}, {"pattern": "^a+$"}, {"minimum": 0}, {"maxLength": 2}])
schemas = st.fixed_dictionaries(
    {},
    optional={
        "properties": st.dictionaries(keys, parts),
        "patternProperties": st.dictionaries(st.sampled_from(["^a", "1$", "c"]), parts),
        "additionalProperties": parts,
    },
)


@given(schemas, objects)
def test_the_verdict_is_that_of_jsonschema(schema, value):
    assert valid(schema, value) == jsonschema.Draft202012Validator(schema).is_valid(value)


def test_the_schema_may_stand_in_a_file_whose_content_is_signed(tmp_path):
    file = tmp_path / "person.json"
    file.write_text(json.dumps(PERSON))
    scorer = s.json_schema(str(file))
    assert values(scorer, '{"name": "Ann"}', "{}") == [1, 0]
    before = scorer.fingerprint(FakeContext())
    file.write_text("true")
    assert scorer.fingerprint(FakeContext()) != before and values(scorer, "{}") == [1]


def test_the_schema_may_stand_in_the_metadata():
    metadata = [{"schema": PERSON}, {"schema": '{"type": "integer"}'}, {}]
    batch = batch_of_texts(["{}", "3", "3"], metadata=metadata)
    scores = s.json_schema(field="schema").bind(None).score(batch)
    assert scores.values.tolist() == [0, 1, 0] and scores.valid.tolist() == [True, True, False]
    wrong = batch_of_texts(["3"], metadata=[{"schema": {"type": "whole"}}])
    with pytest.raises(ScoringFailure, match="in 'schema' of the metadata: json_schema: this is no schema"):
        s.json_schema(field="schema").bind(None).score(wrong)


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ('{"type": "whole"}', "this is no schema: 'whole' is not valid"),
        ("{", "the schema is no JSON"),
        ("nowhere.json", "neither a JSON object nor a file"),
    ],
)
def test_a_wrong_schema_is_refused_when_it_is_bound(schema, message):
    with pytest.raises(ScorerError, match=message):
        s.json_schema(schema).bind(None)


def test_a_schema_is_given_once():
    for parameters in ({}, {"schema": "{}", "field": "x"}):
        with pytest.raises(ScorerError, match="takes a schema, or the field"):
            s.json_schema(**parameters)


def test_without_jsonschema_the_install_line_is_given(monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name.partition(".")[0] == "jsonschema":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"pip install 'textgym\[verify\]'"):
        s.json_schema("{}").bind(None)


def test_rows_keep_their_order():
    assert np.array_equal(values(s.json(), "1", "x", "2"), [1, 0, 1])
