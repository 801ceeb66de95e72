"""When a reward is paid changes nothing about what it is: streams, payments as they come, and shaping."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textgym import scorers as s
from textgym.envs.tasks import make_task
from textgym.errors import ScoringFailure, TaskError
from textgym.models.checkpoint import new_model, save_checkpoint
from textgym.scorers import bind_reward
from textgym.scorers.delivery import Delivery, summands
from textgym.types import TextBatch

VOCABULARY = 60
STREAMED = [
    "fluency",
    "fluency(lm='ngram:3', form='sum')",
    "fluency(form='perplexity')",
    "informativeness",
    "repetition(n=1)",
    "repetition(n=2)",
    "distinct",
    "distinct(n=1)",
    "length",
    "length(min=2, max=4)",
    "length(target=3)",
]


@pytest.fixture(scope="module")
def task(tiny_corpus):
    return make_task(corpus=str(tiny_corpus), tokenizer="word", vocab_size=VOCABULARY, max_new_tokens=12)


def texts(task, count=9, longest=8, seed=0):
    """Prompts of the task and completions of chance, a few of them ended by EOS."""
    rng = np.random.default_rng(seed)
    prompts = [task.train.prompt(i) for i in range(count)]
    completions = [rng.integers(3, 12, rng.integers(0, longest)).astype(np.int32) for _ in range(count)]
    eos = np.array([task.tokenizer.eos_id], np.int32)
    return prompts, [np.concatenate([ids, eos]) if i % 3 == 0 else ids for i, ids in enumerate(completions)]


def score_prefix(bound, task, prompts, completions, step):
    batch = TextBatch(prompts, [ids[:step] for ids in completions], task.tokenizer)
    return bound.score(batch).values


@pytest.mark.parametrize("text", STREAMED)
def test_what_a_stream_says_after_each_token_is_what_the_scorer_says_of_the_text_so_far(task, text):
    scorer = s.parse(text)
    bound, stream = scorer.bind(task.context), scorer.stream(9, task.context)
    prompts, completions = texts(task)
    rows = np.arange(9)
    for _ in range(2):  # the second time in rows that were used before
        values = stream.begin(rows, prompts)
        np.testing.assert_allclose(values, score_prefix(bound, task, prompts, completions, 0), atol=1e-12)
        for step in range(8):
            live = np.array([row for row in rows if len(completions[row]) > step], np.int64)
            values = stream.advance(live, np.array([completions[row][step] for row in live], np.int64))
            expected = score_prefix(bound, task, prompts, completions, step + 1)[live]
            np.testing.assert_allclose(values, expected, atol=1e-12)


def test_rows_of_a_stream_that_begin_again_leave_the_others_alone(task):
    scorer = s.fluency()
    bound, stream = scorer.bind(task.context), scorer.stream(3, task.context)
    prompts, _ = texts(task, 4)
    stream.begin(np.arange(3), prompts[:3])
    stream.advance(np.arange(3), np.array([5, 6, 7]))
    stream.begin(np.array([1]), [prompts[3]])
    values = stream.advance(np.array([0, 1]), np.array([8, 9]))
    batch = TextBatch([prompts[0], prompts[3]], [np.array([5, 8], np.int32), np.array([9], np.int32)], task.tokenizer)
    np.testing.assert_allclose(values, bound.score(batch).values, atol=1e-12)


def test_a_transformer_streams_with_its_own_cache(task, tmp_path):
    model = new_model("tiny", vocab_size=task.tokenizer.vocab_size, context=task.observation_length, seed=1)
    save_checkpoint(tmp_path / "model", model, task.tokenizer)
    scorer = s.fluency(lm=str(tmp_path / "model"))
    bound, stream = scorer.bind(task.context), scorer.stream(4, task.context)
    prompts, completions = texts(task, 4)
    rows = np.arange(4)
    stream.begin(rows, prompts)
    for step in range(8):
        live = np.array([row for row in rows if len(completions[row]) > step], np.int64)
        if len(live):
            values = stream.advance(live, np.array([completions[row][step] for row in live], np.int64))
            np.testing.assert_allclose(
                values, score_prefix(bound, task, prompts, completions, step + 1)[live], atol=1e-4
            )


# Payments ------------------------------------------------------------------------------------------------------------


def pay_all(delivery, prompt, ids):
    """What each step of one episode is paid."""
    batch = TextBatch([prompt], [ids], delivery.reward.bound.context.tokenizer, [["a text like others"]])
    reward = delivery.reward.score(batch).values
    payments, row = delivery.payments(1), np.zeros(1, np.int64)
    if payments is None:
        return [0.0] * (len(ids) - 1) + [float(reward[0])]
    payments.begin(row, [prompt])
    early = [float(payments.pay(row, np.array([token], np.int64))[0]) for token in ids[:-1]]
    return [*early, float(payments.rest(row, reward)[0])]


def test_length_less_a_constant_pays_one_a_token_and_the_constant_at_the_end(task):
    reward = bind_reward("length - 5", task.context)
    prompt, ids = task.train.prompt(0), np.array([7, 8, 9, task.tokenizer.eos_id], np.int32)
    assert pay_all(Delivery(reward, "terminal"), prompt, ids) == [0, 0, 0, -1]
    assert pay_all(Delivery(reward, "per_token"), prompt, ids) == [1, 1, 1, -4]
    assert pay_all(Delivery(reward, "shaped", gamma=0.5), prompt, ids) == [0.5, 0, -0.5, -4]


def test_a_mean_is_paid_by_its_differences(task):
    reward = bind_reward("distinct(n=1)", task.context)
    prompt, ids = task.train.prompt(0), np.array([7, 7, 8, task.tokenizer.eos_id], np.int32)
    np.testing.assert_allclose(pay_all(Delivery(reward, "per_token"), prompt, ids), [1, -1 / 2, 1 / 6, 0], atol=1e-12)


def test_what_is_known_only_at_the_end_is_paid_there(task):
    reward = bind_reward("length + coherence", task.context)
    prompt, ids = task.train.prompt(0), task.train.reference(0)
    per_token, shaped = (pay_all(Delivery(reward, kind), prompt, ids) for kind in ("per_token", "shaped"))
    assert per_token[:-1] == [1.0] * (len(ids) - 1)
    assert shaped[:-1] != per_token[:-1]  # coherence reads each prefix anew
    assert sum(per_token) == pytest.approx(sum(shaped), abs=1e-12)


leaves = st.sampled_from([*STREAMED, "coherence", "exact_match", "bleu(n=2)"])


def sums(parts):
    pair = st.tuples(parts, parts)
    return st.one_of(
        pair.map(lambda two: f"({two[0]} + {two[1]})"),
        pair.map(lambda two: f"({two[0]} - {two[1]})"),
        pair.map(lambda two: f"({two[0]}) * ({two[1]})"),
        st.tuples(st.integers(-3, 3), parts).map(lambda two: f"{two[0]} * ({two[1]})"),
        parts.map(lambda part: f"-({part})"),
        parts.map(lambda part: f"clip({part}, -1, 0.5)"),
        parts.map(lambda part: f"({part} + 2)"),
        parts.map(lambda part: f"default({part}, 0.25)"),
    )


@given(text=st.recursive(leaves, sums, max_leaves=5), seed=st.integers(0, 99), gamma=st.sampled_from([1.0, 0.9]))
@settings(max_examples=80, deadline=None)
def test_every_composition_has_the_same_return_under_all_deliveries(task, text, seed, gamma):
    reward = bind_reward(f"default({text}, 0.5)" if "bleu" in text or "exact" in text else text, task.context)
    rng = np.random.default_rng(seed)
    prompt = task.train.prompt(int(rng.integers(len(task.train))))
    ids = rng.integers(3, 9, rng.integers(1, 8)).astype(np.int32)
    returns = {}
    for kind in ("terminal", "per_token", "shaped"):
        paid = pay_all(Delivery(reward, kind, gamma), prompt, ids)
        returns[kind] = sum(r * (gamma**t if kind == "shaped" else 1.0) for t, r in enumerate(paid))
    due = returns.pop("terminal")
    scale = max(1.0, abs(due))
    assert returns["per_token"] == pytest.approx(due, abs=1e-9 * scale)
    assert returns["shaped"] == pytest.approx(due * gamma ** (len(ids) - 1), abs=1e-9 * scale)


@pytest.mark.parametrize("kind", ["per_token", "shaped"])
def test_early_payments_are_differences_of_the_early_terms_of_the_prefix(task, kind):
    text = "2*clip(fluency, -3, -1) - repetition(n=1) + informativeness"
    reward, bound = bind_reward(text + " + 7 + exact_match*0", task.context), s.parse(text).bind(task.context)
    prompt, ids = task.train.prompt(3), task.train.reference(3)[:9]
    phi = [score_prefix(bound, task, [prompt], [ids], step)[0] for step in range(len(ids))]
    expected = [0.9 * b - a if kind == "shaped" else b - a for a, b in pairwise(np.array(phi) - phi[0])]
    np.testing.assert_allclose(pay_all(Delivery(reward, kind, gamma=0.9), prompt, ids)[:-1], expected, atol=1e-12)


def test_books_that_are_rebuilt_from_the_prefixes_go_on_as_before(task):
    delivery = Delivery(bind_reward("fluency - repetition(n=1) + coherence", task.context), "shaped", gamma=0.9)
    kept, rebuilt = delivery.payments(3), delivery.payments(3)
    prompts, rows = [task.train.prompt(i) for i in range(3)], np.arange(3)
    kept.begin(rows, prompts)
    kept.pay(rows, np.array([5, 6, 7]))
    kept.pay(rows[:2], np.array([6, 6]))
    rebuilt.rebuild(rows, prompts, [np.array(ids, np.int32) for ids in ([5, 6], [6, 6], [7])])
    np.testing.assert_array_equal(kept.pay(rows, np.array([8, 8, 8])), rebuilt.pay(rows, np.array([8, 8, 8])))


def test_a_sum_is_taken_apart_with_its_weights():
    terms = list(summands(s.parse("2*(length - 3*distinct) - -(repetition + 4) + clip(length + 1, 0, 1)*0.5")))
    assert [(weight, str(term)) for weight, term in terms] == [
        (2.0, "length"),
        (-6.0, "distinct"),
        (1.0, "repetition"),
        (0.5, "clip(length + 1, 0, 1)"),
    ]


def test_a_reward_of_which_nothing_is_known_early_is_paid_at_the_end(task, caplog):
    with caplog.at_level("INFO", logger="textgym"):
        assert Delivery(bind_reward("default(exact_match, 0)", task.context), "per_token").payments(2) is None
    assert "no term of 'default(exact_match, 0)' is known before the end" in caplog.text
    assert Delivery(bind_reward("coherence", task.context), "per_token").payments(2) is None
    assert Delivery(bind_reward("coherence", task.context), "shaped").payments(2) is not None


def test_a_typo_in_the_delivery_is_a_task_error(task):
    with pytest.raises(TaskError, match=r"delivery='per-token'.*Did you mean 'per_token'"):
        Delivery(bind_reward("length", task.context), "per-token")


def test_a_running_reward_that_is_not_finite_is_a_failure(task):
    delivery = Delivery(bind_reward("length*1e308*(length*1e308)", task.context), "per_token")
    payments, row = delivery.payments(1), np.zeros(1, np.int64)
    payments.begin(row, [task.train.prompt(0)])
    with pytest.raises(ScoringFailure, match=r"running reward of an unfinished text is inf \(length 1\)"):
        payments.pay(row, np.array([5]))
