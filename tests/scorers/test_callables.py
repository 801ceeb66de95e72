"""Python functions as rewards: called by what their signature takes."""

import asyncio
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


OF_A_TRAINER = {"trainer_state", "log_extra", "log_metric"}


def test_plural_names_are_lists_as_trl_passes_them():
    def reward(prompts, completions, answer, **kwargs):
        assert kwargs.keys() == {"references", "metadata", "prompt_ids", "completion_ids", *OF_A_TRAINER}
        return [len(p) + len(c) + a for p, c, a in zip(prompts, completions, answer, strict=True)]

    assert scored(reward) == [11, 11]
    assert scored(lambda completions: [len(c) for c in completions]) == [7, 5]


def test_a_function_of_trl_may_log_and_ask_for_the_step():
    def reward(prompts, completions, completion_ids, trainer_state=None, log_extra=None, log_metric=None):
        log_metric("length", 3.0)
        log_extra("texts", completions)
        return [len(ids) + trainer_state.global_step for ids in completion_ids]

    assert scored(reward) == [2, 1]


def test_a_function_of_conversations_is_told_by_its_annotation():
    def reward(completions: list[list[dict[str, str]]], prompts=None, **kwargs) -> list[float]:
        assert prompts[0] == [{"role": "user", "content": "a"}]
        return [len(completion[0]["content"]) for completion in completions]

    assert scored(reward) == [7, 5]


async def wait_and_score(completions, **kwargs):
    return [len(completion) for completion in completions]


def test_coroutine_functions_are_awaited():
    async def score(text):
        return len(text)

    async def notebook():
        return scored(wait_and_score)

    assert scored(wait_and_score) == scored(score) == [7, 5]
    assert asyncio.run(notebook()) == [7, 5], "where an event loop is running already"


# -- verl


def test_a_function_of_verl_gets_truth_and_metadata():
    def compute_score(data_source, solution_str, ground_truth, extra_info=None):
        assert data_source == ""
        assert extra_info["prompt"] in "ab"
        return (solution_str == ground_truth) + extra_info["answer"]

    assert scored(compute_score) == [1 + 3, 5]


def test_what_is_known_goes_before_references():
    batch = batch_of_texts(
        ["x"],
        references=[["reference"]],
        metadata=[{"ground_truth": ["a", "b"], "data_source": "gsm8k", "extra_info": {"index": 4}, "scale": 10}],
    )

    def compute_score(data_source, solution_str, ground_truth, extra_info, scale=1):
        assert (data_source, ground_truth, extra_info) == ("gsm8k", ["a", "b"], {"index": 4})
        return scale

    assert scored(compute_score, batch) == [10]
    assert scored(lambda solution_str, **kwargs: len(kwargs), batch) == [3]


def test_a_mapping_holds_the_score_and_its_parts():
    def compute_score(data_source, solution_str, ground_truth, extra_info=None):
        return {"score": len(solution_str), "acc": solution_str == ground_truth, "pred": "x"}

    scores = s.resolve(compute_score).score(BATCH)
    assert scores.values.tolist() == [7, 5]
    assert {name: column.tolist() for name, column in scores.components.items()} == {"acc": [1, 0]}
    with pytest.raises(ScoringFailure, match=r"with 'score' is expected, not one with \['acc'\]"):
        s.resolve(lambda solution_str: {"acc": 1.0}).score(BATCH)
    assert not s.resolve(lambda solution_str: None).score(BATCH).valid.any()


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


def test_a_file_of_verl_is_a_reward(here):
    (here / "reward.py").write_text(
        "def compute_score(data_source, solution_str, ground_truth, extra_info=None):\n"
        "    return {'score': float(solution_str == ground_truth), 'acc': 1.0}\n"
    )
    assert s.resolve("./reward.py:compute_score").bind(None).score(BATCH).values.tolist() == [1, 0]


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
