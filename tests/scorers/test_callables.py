"""Python functions as rewards: called by what their signature takes."""

import functools

import numpy as np
import pytest

from textgym import scorers as s
from textgym.errors import ScorerError, ScoringFailure
from textgym.scorers.plain import batch_of_texts
from textgym.types import Scores, TextBatch

BATCH = batch_of_texts(
    ["one two", "three"],
    prompts=["a", "b"],
    references=[["one two"], ["x", "y"]],
    metadata=[{"answer": 3}, {"answer": 5}],
)


def scored(function, batch=BATCH):
    return s.resolve(function).score(batch).values.tolist()


def test_one_parameter_of_any_name_is_the_text():
    assert scored(lambda t: len(t)) == [7, 5]
    assert scored(len) == [7, 5]
    assert scored(lambda text, scale=2: scale * len(text)) == [14, 10]
    assert scored(functools.partial(lambda scale, text: scale * len(text), 3)) == [21, 15]


def test_parameters_are_filled_by_name_row_by_row():
    assert scored(lambda completion, prompt: len(prompt + completion)) == [8, 6]
    assert scored(lambda completion, references: completion in references) == [1, 0]
    assert scored(lambda completion, answer: len(completion) == answer) == [0, 1]
    assert scored(lambda completion, metadata: metadata["answer"]) == [3, 5]
    assert scored(lambda completion_ids, **rest: len(completion_ids) + len(rest)) == [2 + 6, 1 + 6]


def test_plural_names_are_lists_as_trl_passes_them():
    def reward(prompts, completions, answer, **kwargs):
        assert kwargs.keys() == {"references", "metadata", "prompt_ids", "completion_ids"}
        return [len(p) + len(c) + a for p, c, a in zip(prompts, completions, answer, strict=True)]

    assert scored(reward) == [11, 11]
    assert scored(lambda completions: [len(c) for c in completions]) == [7, 5]


def test_a_batch_is_handed_over_whole():
    def annotated(rows: TextBatch) -> Scores:
        return Scores(np.arange(len(rows), dtype=float))

    assert scored(annotated) == [0, 1]
    assert scored(lambda batch: np.ones(len(batch))) == [1, 1]


def test_none_is_not_applicable():
    scores = s.resolve(lambda text: None if text == "three" else 1.0).score(BATCH)
    assert scores.valid.tolist() == [True, False]
    assert s.parse("length").bind(None).score(BATCH).valid.all()
    defaulted = s.default(s.resolve(lambda completions: [None, 2]), -1)
    assert defaulted.score(BATCH).values.tolist() == [-1, 2]


@pytest.mark.parametrize("result", ["0.5", [1, 2], {}, b"1"])
def test_what_is_no_number_is_refused(result):
    with pytest.raises(ScoringFailure, match="number"):
        s.resolve(lambda text: result).score(BATCH)
    with pytest.raises(ScoringFailure, match="expected"):
        s.resolve(lambda completions: result if isinstance(result, (str, dict)) else [result] * 2).score(BATCH)


def test_a_list_of_another_length_is_refused():
    with pytest.raises(ScoringFailure, match=r"shape \(1,\) for a batch of shape \(2,\)"):
        s.resolve(lambda completions: [1.0]).bind(None).score(BATCH)


def test_a_signature_that_nothing_fits_is_refused_with_what_would():
    with pytest.raises(ScorerError, match=r"compute\(data_source, solution\) .* completion, references"):
        s.resolve(compute)


def compute(data_source, solution):
    return 0.0


def test_a_function_takes_part_in_expressions_but_has_no_text_form():
    scorer = 2 * s.resolve(compute_length) - s.length()
    assert scorer.score(BATCH).values.tolist() == [2 * 7 - 2, 2 * 5 - 1]
    assert list(scorer.score(BATCH).components) == ["compute_length", "length"]
    assert "compute_length sha=" in scorer.signature
    with pytest.raises(ScorerError, match=r"register\('compute_length'\)"):
        scorer.to_spec()


def compute_length(text):
    return len(text)


def test_two_functions_of_one_name_are_two_components():
    first, second = (s.resolve(lambda text, by=by: by * len(text)) for by in (1, 2))
    components = (first + second).score(BATCH).components
    assert list(components) == ["<function <lambda>>", "<function <lambda>>#2"]
    assert [values.tolist() for values in components.values()] == [[7, 5], [14, 10]]


# -- functions in files


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_function_in_a_file_is_a_reward(here):
    (here / "mine.py").write_text("K = 2\ndef score(text):\n    return K * len(text)\n")
    scorer = s.resolve("mine.py:score")
    assert scorer == s.parse("call('mine.py:score')") == s.parse(scorer.to_spec())
    assert scorer.score(BATCH).values.tolist() == [14, 10]
    assert s.parse("call('mine.py:score') - length").score_texts(["ab"]).tolist() == [3]
    assert s.resolve(f"{here}/mine.py:score").score(BATCH).values.tolist() == [14, 10]


def test_a_changed_file_is_read_again_and_has_another_signature(here):
    from scorer_fakes import FakeContext

    context = FakeContext()
    (here / "mine.py").write_text("def score(text):\n    return 1\n")
    first = s.resolve("mine.py:score").bind(context)
    (here / "mine.py").write_text("def score(text):\n    return 2\n")
    second = s.resolve("mine.py:score").bind(context)
    assert (first.score(BATCH).values[0], second.score(BATCH).values[0]) == (1, 2)
    assert first.signature != second.signature


@pytest.mark.parametrize(
    ("source", "reference", "message"),
    [
        (None, "mine.py:score", "cannot read mine.py"),
        ("def scores(text): return 1", "mine.py:score", "Did you mean 'scores'"),
        ("score = 3", "mine.py:score", "no function 'score'"),
        ("1 / 0", "mine.py:score", "ZeroDivisionError"),
        ("def f(:", "mine.py:f", "SyntaxError"),
        ("def f(a, b): return 1", "mine.py:f", "is no reward function"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(here, source, reference, message):
    if source is not None:
        (here / "mine.py").write_text(source)
    with pytest.raises(ScorerError, match=message):
        s.resolve(reference).bind(None)


def test_a_reference_that_is_none_is_refused():
    with pytest.raises(ScorerError, match=r"write path/to/file\.py:function"):
        s.call("mine.py")
