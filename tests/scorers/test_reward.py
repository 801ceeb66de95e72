"""A reward is total, finite and guarded: no failure ever becomes a number."""

import copy
from dataclasses import dataclass

import numpy as np
import pytest
from scorer_fakes import FakeContext

from textgym import scorers as s
from textgym.errors import ScorerError, ScoringFailure, SpecError, UnknownNameError
from textgym.scorers import DEFAULT_REWARD, bind_reward
from textgym.types import Scores


def test_the_default_reward_is_total_and_bounded_under_its_very_text():
    context = FakeContext()
    reward = bind_reward(DEFAULT_REWARD, context)
    assert reward.text == DEFAULT_REWARD
    assert reward.range == (-10, 6)
    assert reward.components == ("fluency", "coherence", "informativeness", "repetition")
    assert all(part in reward.signature for part in ("fluency.v1(lm=", context.signature, "fake:ngram:4"))
    scores = reward.score(context.references())
    assert set(scores.components) == set(reward.components)
    z = [np.clip((raw - raw.mean()) / raw.std(), -3, 2) for raw in list(scores.components.values())[:3]]
    np.testing.assert_allclose(scores.values, z[0] + z[1] + z[2] - scores.components["repetition"])


def test_a_reward_without_a_scorer_is_refused():
    with pytest.raises(ScorerError, match="holds no scorer"):
        bind_reward("1 + 2", FakeContext())


def test_a_reward_that_may_not_be_applicable_asks_for_a_default():
    with pytest.raises(ScorerError, match=r"default\(coherence, 0\)"):
        bind_reward("fluency + 2*coherence", FakeContext(empty_prompts=True))
    bind_reward("fluency + 2*default(coherence, 0)", FakeContext(empty_prompts=True))
    bind_reward("fluency + 2*coherence", FakeContext())
    with pytest.raises(ScorerError, match=r"default\(bleu\(n=2\), 0\)"):
        bind_reward("bleu(n=2)", FakeContext(references=False))


def test_a_scorer_of_sets_is_refused():
    @dataclass(frozen=True)
    class OfSets(s.Scorer):
        set_level = True

    with pytest.raises(ScorerError, match="set of texts"):
        bind_reward(1 - OfSets(), FakeContext())


def test_a_typo_is_a_spec_error():
    with pytest.raises(SpecError, match="Did you mean"):
        bind_reward("fluencey", FakeContext())
    with pytest.raises(UnknownNameError):
        bind_reward({"scorer": "fluencey"}, FakeContext())


def fragile(text):
    if text == "red red":
        raise RuntimeError("no red")
    return {"cat": float("nan"), "dog": float("inf"), "mat": None}.get(text, 1.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("red red", "RuntimeError: no red"),
        ("cat", "is nan for row 2 of 4"),
        ("dog", "is inf for row 2 of 4"),
        ("mat", "not applicable to row 2 of 4; default"),
    ],
)
@pytest.mark.parametrize("build", [lambda f: f, lambda f: s.clip(s.resolve(f), -1, 1) - s.length()])
def test_a_failure_names_the_scorer_the_row_and_the_text(text, message, build):
    context = FakeContext()
    reward = bind_reward(build(fragile), context)
    reward.score(context.batch(["the", "a", "is"]))
    with pytest.raises(ScoringFailure) as caught:
        reward.score(context.batch(["the", "a", text, "is"]))
    told = str(caught.value)
    assert message in told and "'fragile'" in told and "row 2 of 4" in told
    assert repr("the cat") in told and repr(text) in told


def test_a_failure_of_the_whole_batch_is_told_as_one():
    context = FakeContext()
    reward = bind_reward(lambda completions: [1.0], context)
    assert reward.score(context.batch(["a"])).values.tolist() == [1]
    with pytest.raises(ScoringFailure, match=r"batch of 2 rows, though on none of them alone.*shape \(1,\)"):
        reward.score(context.batch(["a", "a"]))


def test_arithmetic_that_overflows_is_a_failure():
    context = FakeContext()
    reward = bind_reward("1e300*length*length*1e300", context)
    with pytest.raises(ScoringFailure, match="inf for row 0"):
        reward.score(context.batch(["a"]))


def test_mask_drops_the_rows_that_fail_and_leaves_the_others_as_they_are():
    context = FakeContext()
    texts = ["the", "red red", "cat", "a dog", "mat", ""]
    reward = bind_reward(s.resolve(fragile) + 2 * s.length(), context)
    scores = reward.mask(context.batch(texts))
    assert scores.valid.tolist() == [True, False, False, True, False, True]
    assert scores.values.tolist() == [5, 0, 0, 7, 0, 3]
    np.testing.assert_array_equal(scores.components["length"], [2, np.nan, np.nan, 3, np.nan, 1])


def test_mask_keeps_tokens_of_the_rows_that_pass():
    context = FakeContext()

    def ones(batch):
        if "cat" in batch.completion_texts:
            raise ValueError("cat")
        lengths = np.array([float(len(ids)) for ids in batch.completions])
        return Scores(lengths, tokens=(np.arange(lengths.max()) < lengths[:, None]).astype(float))

    scores = bind_reward(ones, context).mask(context.batch(["cat", "a", "the red mat"]))
    np.testing.assert_array_equal(scores.tokens, [[0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1]])


def test_mask_costs_nothing_where_nothing_fails():
    context = FakeContext()
    batch = context.batch(["the", "a dog"])
    reward = bind_reward("fluency", context)
    plain, masked = reward.score(batch), reward.mask(batch)
    np.testing.assert_array_equal(plain.values, masked.values)
    assert context.models["ngram:4"].calls == 2


def test_all_rows_may_be_masked():
    context = FakeContext()
    scores = bind_reward(fragile, context).mask(context.batch(["cat", "dog"]))
    assert not scores.valid.any() and scores.values.tolist() == [0, 0]
    assert np.isnan(scores.components["fragile"]).all()


def test_an_interrupt_is_no_failure_of_a_scorer():
    def stop(text):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bind_reward(stop, FakeContext()).score(FakeContext().batch(["a"]))


def test_a_reward_is_copied_as_itself():
    reward = bind_reward("length", FakeContext())
    assert copy.deepcopy({"reward": reward})["reward"] is reward
