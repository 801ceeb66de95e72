"""Rewards as a Rubric of verifiers calls them."""

import inspect

import pytest

from textgym.errors import ScoringFailure
from textgym.interop import to_verifiers

CHAT = {
    "prompt": [{"role": "user", "content": "count"}],
    "completion": [{"role": "assistant", "content": "one one one"}],
}


def called(function, **row):
    """As Rubric does: by the names that the function takes."""
    known = {**CHAT, "answer": "", "state": {}, "task": "default", "info": {}, **row}
    return float(function(**{name: known[name] for name in inspect.signature(function).parameters if name in known}))


def test_the_reward_weighs_one_and_its_components_are_logged():
    functions, weights = to_verifiers("length - 2*distinct")
    assert [function.__name__ for function in functions] == ["reward", "length", "distinct"]
    assert weights == [1.0, 0.0, 0.0]
    assert [called(function) for function in functions] == [2.0, 3.0, 0.5]
    assert len(to_verifiers("length")[0]) == 1


def test_no_function_looks_like_one_of_groups():
    plural = {"states", "prompts", "completions", "answers", "tasks", "infos"}
    for function in to_verifiers("length - distinct")[0]:
        assert not plural & set(inspect.signature(function).parameters)
        assert not any(p.kind is p.VAR_KEYWORD for p in inspect.signature(function).parameters.values())


def test_answer_and_info_reach_the_scorer(tmp_path):
    (tmp_path / "mine.py").write_text(
        "def score(references, answer, level):\n    return level * (references == [answer])\n"
    )
    (reward,) = to_verifiers(f"{tmp_path}/mine.py:score")[0]
    assert called(reward, answer="x", info={"level": 4}) == 4.0


def test_components_that_may_not_apply_are_left_out():
    functions, _ = to_verifiers("default(rouge, 0) + length")
    assert [function.__name__ for function in functions] == ["reward", "length"]
    assert called(functions[0], answer="one one one") == 4.0
    with pytest.raises(ScoringFailure, match="not applicable"):
        called(to_verifiers("rouge")[0][0])
