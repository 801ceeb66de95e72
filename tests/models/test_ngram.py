import copy
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textgym.errors import CheckpointError, TaskError, TokenizerError
from textgym.models.ngram import FALLBACK_DISCOUNTS, KneserNey
from textgym.testing.models import check_language_model
from textgym.types import LanguageModel

A, B, C = 0, 1, 2
BEGIN = -1


def ids(*tokens: int) -> np.ndarray:
    return np.array(tokens, dtype=np.int32)


def row_of(tokens: Sequence[int]) -> np.ndarray:
    return np.array(tokens, dtype=np.int32)


def probabilities(model: KneserNey, *context: int) -> np.ndarray:
    return np.exp(model.next_logprobs([ids(*context)], [ids()])[0])


def zipf_rows(rng: np.random.Generator, vocab_size: int, rows: int, length: int) -> list[np.ndarray]:
    weights = 1 / np.arange(1, vocab_size + 1)
    weights /= weights.sum()
    return [rng.choice(vocab_size, size=length, p=weights).astype(np.int32) for _ in range(rows)]


class Reference:
    """The formulas with dictionaries and tuples: slow and plain."""

    def __init__(self, rows: Sequence[Sequence[int]], vocab_size: int, order: int) -> None:
        self.vocab_size, self.order = vocab_size, order
        texts = [(BEGIN, *map(int, row)) for row in rows]
        occurrences = [
            Counter(text[i : i + k] for text in texts for i in range(len(text) - k + 1)) for k in range(1, order + 1)
        ]
        del occurrences[0][(BEGIN,)]
        self.counts: list[dict[tuple[int, ...], int]] = []
        for k, grams in enumerate(occurrences, 1):
            if k == order:
                self.counts.append(dict(grams))
            else:
                before = Counter(longer[1:] for longer in occurrences[k])
                self.counts.append({g: n if g[0] == BEGIN else before[g] for g, n in grams.items()})
        self.discounts = [self.estimate(list(level.values())) for level in self.counts]

    @staticmethod
    def estimate(counts: list[int]) -> tuple[float, float, float]:
        n1, n2, n3, n4 = (counts.count(k) for k in (1, 2, 3, 4))
        if 0 in (n1, n2, n3, n4):
            return FALLBACK_DISCOUNTS
        y = n1 / (n1 + 2 * n2)
        d1, d2, d3 = 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3
        return (d1, d2, d3) if 0 < d1 < 1 and 0 < d2 < 2 and 0 < d3 < 3 else FALLBACK_DISCOUNTS

    def text_probability(self, prefix: Sequence[int], token: int) -> float:
        return self.probability((BEGIN, *prefix)[max(len(prefix) + 2 - self.order, 0) :], token)

    def probability(self, context: tuple[int, ...], token: int) -> float:
        level = len(context)
        shorter = self.probability(context[1:], token) if context else 1 / self.vocab_size
        followers = {g[-1]: n for g, n in self.counts[level].items() if g[:-1] == context}
        total = sum(followers.values())
        if total == 0:
            return shorter
        discount = {w: self.discounts[level][min(n, 3) - 1] for w, n in followers.items()}
        seen = followers[token] - discount[token] if token in followers else 0.0
        return (seen + sum(discount.values()) * shorter) / total


# The corpus "a b", "a b", "a a", c never seen, order 2. Too small to estimate discounts: D1 = 1/2, D2 = 1, D3 = 3/2.
#   1-grams, by what stands before them:  a: {^, a} = 2, b: {a} = 1, sum 3; left over (1 + 1/2) / 3 = 1/2
#     p(a) = (2 - 1) / 3 + 1/2 * 1/3 = 1/2      p(b) = (1 - 1/2) / 3 + 1/6 = 1/3      p(c) = 1/6
#   after a:  b 2, a 1, sum 3; left over (1 + 1/2) / 3 = 1/2
#     p(a|a) = 1/6 + 1/2 * 1/2 = 5/12           p(b|a) = 1/3 + 1/2 * 1/3 = 1/2        p(c|a) = 1/2 * 1/6 = 1/12
#   at the beginning:  a 3; left over (3/2) / 3 = 1/2
#     p(a|^) = 1/2 + 1/2 * 1/2 = 3/4            p(b|^) = 1/6                          p(c|^) = 1/12
#   after b, which nothing ever followed: as the 1-grams.
BY_HAND = {
    (A,): (Fraction(5, 12), Fraction(1, 2), Fraction(1, 12)),
    (): (Fraction(3, 4), Fraction(1, 6), Fraction(1, 12)),
    (B,): (Fraction(1, 2), Fraction(1, 3), Fraction(1, 6)),
}


@pytest.mark.parametrize("context", BY_HAND)
def test_a_tiny_corpus_has_the_probabilities_worked_out_by_hand(context: tuple[int, ...]) -> None:
    model = KneserNey.fit([ids(A, B), ids(A, B), ids(A, A)], vocab_size=3, order=2)
    assert probabilities(model, *context) == pytest.approx([float(p) for p in BY_HAND[context]], abs=1e-12)


def test_discounts_are_estimated_from_the_counts_of_counts() -> None:
    # Ten tokens once, five twice, three three times, two four times: 37 in all.
    # Y = 10 / (10 + 2 * 5) = 1/2; D1 = 1 - 2 Y 5/10 = 1/2; D2 = 2 - 3 Y 3/5 = 11/10; D3 = 3 - 4 Y 2/3 = 5/3
    # left over: (10 * 1/2 + 5 * 11/10 + 5 * 5/3) / 37
    counts = [1] * 10 + [2] * 5 + [3] * 3 + [4] * 2
    model = KneserNey.fit([row_of(np.repeat(np.arange(20), counts))], vocab_size=21, order=1)
    left_over = (10 * 0.5 + 5 * 1.1 + 5 * 5 / 3) / 37
    p = probabilities(model)
    assert p[0] == pytest.approx(0.5 / 37 + left_over / 21, abs=1e-12)
    assert p[10] == pytest.approx(0.9 / 37 + left_over / 21, abs=1e-12)
    assert p[19] == pytest.approx((4 - 5 / 3) / 37 + left_over / 21, abs=1e-12)
    assert p[20] == pytest.approx(left_over / 21, abs=1e-12)


def test_discounts_that_would_leave_their_range_are_replaced() -> None:
    # Counts 1, 2, 3, 3, 3, 3, 3, 4: Y = 1/3 and D2 = 2 - 3 Y 5 = -3, so D1 = 1/2, D2 = 1, D3+ = 3/2 are used.
    counts = [1, 2, 3, 3, 3, 3, 3, 4]
    model = KneserNey.fit([row_of(np.repeat(np.arange(8), counts))], vocab_size=9, order=1)
    left_over = (0.5 + 1 + 6 * 1.5) / 22
    expected = [(c - d) / 22 + left_over / 9 for c, d in zip([*counts, 0], [0.5, 1, *[1.5] * 6, 0], strict=True)]
    assert probabilities(model) == pytest.approx(expected, abs=1e-12)


corpora = st.integers(1, 5).flatmap(
    lambda size: st.tuples(
        st.just(size),
        st.lists(st.lists(st.integers(0, size - 1), max_size=9), max_size=6),
        st.lists(st.integers(0, size - 1), max_size=6),
        st.integers(1, 4),
    )
)


@given(corpora)
@settings(max_examples=60, deadline=None)
def test_it_equals_the_plain_reference_on_small_corpora(case: tuple[int, list[list[int]], list[int], int]) -> None:
    size, rows, prefix, order = case
    reference = Reference(rows, size, order)
    model = KneserNey.fit([row_of(row) for row in rows], vocab_size=size, order=order)
    expected = [reference.text_probability(prefix, token) for token in range(size)]
    assert probabilities(model, *prefix) == pytest.approx(expected, abs=1e-12)
    assert sum(expected) == pytest.approx(1, abs=1e-12)


def test_it_equals_the_plain_reference_where_all_discounts_are_estimated() -> None:
    rows = zipf_rows(np.random.default_rng(1), 12, rows=40, length=12)
    reference = Reference(rows, 12, 3)
    assert FALLBACK_DISCOUNTS not in reference.discounts[1:]
    model = KneserNey.fit(rows, vocab_size=12, order=3)
    text = row_of([0, 1, 0, 0, 11, 10, 3, 0, 1, 1, 2])
    expected = [np.log(reference.text_probability(text[:t], int(text[t]))) for t in range(len(text))]
    assert model.logprobs([text[:2]], [text[2:]])[0] == pytest.approx(expected[2:], abs=1e-12)


@given(st.lists(st.integers(0, 29), max_size=5), st.integers(1, 6))
@settings(max_examples=40, deadline=None)
def test_probabilities_sum_to_one_and_none_is_zero_for_any_context(context: list[int], order: int) -> None:
    rows = zipf_rows(np.random.default_rng(2), 25, rows=30, length=20)  # tokens 25 to 29 never occur
    p = probabilities(KneserNey.fit(rows, vocab_size=30, order=order), *context)
    assert p.sum() == pytest.approx(1, abs=1e-10)
    assert p.min() > 0


def test_order_one_ignores_the_context_and_orders_tokens_by_frequency() -> None:
    model = KneserNey.fit([ids(A, A, A, B), ids(A, B)], vocab_size=3, order=1)
    p = probabilities(model)
    assert p[A] > p[B] > p[C] > 0
    assert (probabilities(model, B, A) == p).all()


@pytest.mark.parametrize("rows", [[], [ids()], [ids(), ids()]])
@pytest.mark.parametrize("order", [1, 3])
def test_a_corpus_without_tokens_gives_the_uniform_distribution(rows: list[np.ndarray], order: int) -> None:
    assert probabilities(KneserNey.fit(rows, vocab_size=4, order=order), A) == pytest.approx([0.25] * 4)


def test_rows_of_one_token_and_of_none_are_counted_as_texts() -> None:
    model = KneserNey.fit([ids(B), ids(), ids(B)], vocab_size=3, order=4)
    assert probabilities(model)[B] > probabilities(model)[A] == probabilities(model)[C]


def test_the_beginning_of_a_text_is_a_context_of_its_own() -> None:
    model = KneserNey.fit([ids(A, B, B, B, B)] * 3, vocab_size=3, order=3)
    assert probabilities(model)[A] > 0.5
    assert probabilities(model, B, B)[A] < 0.2


@pytest.fixture(scope="module")
def fitted() -> KneserNey:
    return KneserNey.fit(zipf_rows(np.random.default_rng(3), 50, rows=200, length=30), vocab_size=53, order=4)


@pytest.mark.parametrize(("order", "vocab_size"), [(1, 3), (2, 3), (4, 3), (1, 20), (4, 20)])
def test_the_laws_of_language_models_hold_bit_for_bit(order: int, vocab_size: int) -> None:
    rows = zipf_rows(np.random.default_rng(4), vocab_size, rows=20, length=10)
    check_language_model(KneserNey.fit(rows, vocab_size=vocab_size, order=order))


row_strategy = st.lists(st.tuples(*[st.lists(st.integers(0, 52), max_size=7)] * 2), min_size=1, max_size=9)


@given(row_strategy)
@settings(max_examples=50, deadline=None)
def test_a_row_is_the_same_in_every_batch_bit_for_bit(
    fitted: KneserNey, pairs: list[tuple[list[int], list[int]]]
) -> None:
    prompts, completions = [row_of(p) for p, _ in pairs], [row_of(c) for _, c in pairs]
    together = fitted.logprobs(prompts, completions)
    for row, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
        alone = fitted.logprobs([prompt], [completion])[0]
        assert alone.tobytes() == together[row, : len(completion)].tobytes()
        assert not together[row, len(completion) :].any()


@given(row_strategy)
@settings(max_examples=50, deadline=None)
def test_streaming_token_by_token_equals_scoring_the_whole(
    fitted: KneserNey, pairs: list[tuple[list[int], list[int]]]
) -> None:
    prompts, completions = [row_of(p) for p, _ in pairs], [row_of(c) for _, c in pairs]
    together = fitted.logprobs(prompts, completions)
    padded = np.full(together.shape, -1)
    for row, completion in enumerate(completions):
        padded[row, : len(completion)] = completion
    stream = fitted.stream(prompts)
    steps = [stream.advance(column) for column in padded.T]
    streamed = np.stack(steps, axis=1) if steps else together
    assert streamed.tobytes() == together.tobytes()
    assert stream.next_logprobs().tobytes() == fitted.next_logprobs(prompts, completions).tobytes()


def test_a_restarted_row_begins_again_and_the_others_go_on(fitted: KneserNey) -> None:
    stream, undisturbed = fitted.stream([ids(1, 2), ids(3)]), fitted.stream([ids(1, 2), ids(3)])
    stream.advance(ids(5, 6)), undisturbed.advance(ids(5, 6))
    stream.restart(np.array([0]), [ids(7, 8)])
    after, wanted = stream.advance(ids(9, 1)), undisturbed.advance(ids(9, 1))
    assert after[0] == fitted.logprobs([ids(7, 8)], [ids(9)])[0, 0]
    assert after[1] == wanted[1]


def test_a_stream_of_many_rows_and_steps_stays_equal(fitted: KneserNey) -> None:
    rng = np.random.default_rng(5)
    prompts = [row_of(rng.integers(0, 53, size=n % 6)) for n in range(64)]
    completions = rng.integers(0, 53, size=(64, 40)).astype(np.int32)
    stream = fitted.stream(prompts)
    streamed = np.stack([stream.advance(column) for column in completions.T], axis=1)
    assert streamed.tobytes() == fitted.logprobs(prompts, list(completions)).tobytes()


def test_sampled_tokens_follow_the_distribution() -> None:
    model = KneserNey.fit([ids(A, B), ids(A, B), ids(A, A)], vocab_size=3, order=2)
    drawn = model.sample([ids(A)] * 20_000, 1, eos_id=C, rng=np.random.default_rng(0))
    share = np.bincount([int(row[0]) for row in drawn], minlength=3) / 20_000
    assert share == pytest.approx([5 / 12, 1 / 2, 1 / 12], abs=0.015)


def test_a_low_temperature_samples_the_likeliest_token() -> None:
    model = KneserNey.fit([ids(A, B), ids(A, B), ids(A, A)], vocab_size=3, order=2)
    drawn = model.sample([ids(A)] * 50, 1, eos_id=C, rng=np.random.default_rng(0), temperature=1e-3)
    assert {int(row[0]) for row in drawn} == {B}
    with pytest.raises(TaskError, match=r"temperature 0.*above 0"):
        model.sample([ids(A)], 1, eos_id=C, rng=np.random.default_rng(0), temperature=0.0)


def test_samples_end_at_eos_or_at_the_budget_and_repeat_with_the_seed(fitted: KneserNey) -> None:
    prompts = [ids(1, 2), ids(), ids(3, 4, 5, 6, 7)] * 10
    drawn = fitted.sample(prompts, 12, eos_id=0, rng=np.random.default_rng(6))
    again = fitted.sample(prompts, 12, eos_id=0, rng=np.random.default_rng(6))
    assert [row.tolist() for row in drawn] == [row.tolist() for row in again]
    for row in drawn:
        assert row.dtype == np.int32
        assert 1 <= len(row) <= 12
        assert 0 not in row[:-1]
        assert len(row) == 12 or row[-1] == 0
    assert len({len(row) for row in drawn}) > 1
    assert [len(row) for row in fitted.sample(prompts[:2], 0, eos_id=0, rng=np.random.default_rng(0))] == [0, 0]


def test_arrays_give_the_same_model_back(fitted: KneserNey) -> None:
    arrays = fitted.to_arrays()
    for array in arrays.values():
        array.setflags(write=False)  # as a store hands them out
    loaded = KneserNey.from_arrays(arrays)
    assert loaded.signature == fitted.signature
    assert loaded.signature.startswith("ngram:4:53:")
    prompts, completions = [ids(1, 2, 3)], [ids(0, 4, 1, 0, 0, 1)]
    assert loaded.logprobs(prompts, completions).tobytes() == fitted.logprobs(prompts, completions).tobytes()


def test_the_signature_tells_models_and_their_tokenizers_apart() -> None:
    rows = [ids(A, B, A)]
    one, same = (KneserNey.fit(rows, vocab_size=3, order=2, tokenizer_signature="char:3:00") for _ in range(2))
    other = KneserNey.fit(rows, vocab_size=3, order=2, tokenizer_signature="char:3:01")
    longer = KneserNey.fit([*rows, ids(C)], vocab_size=3, order=2, tokenizer_signature="char:3:00")
    assert one.signature == same.signature
    assert len({one.signature, other.signature, longer.signature}) == 3
    assert KneserNey.from_arrays(one.to_arrays()).tokenizer_signature == "char:3:00"


def test_arrays_of_something_else_are_refused(fitted: KneserNey) -> None:
    with pytest.raises(CheckpointError, match=r"no n-gram model: \['vectors'\]"):
        KneserNey.from_arrays({"vectors": np.zeros(3)})
    later = fitted.to_arrays() | {"meta": np.array([99, 53, 4])}
    with pytest.raises(CheckpointError, match=r"format 99; this version reads 1"):
        KneserNey.from_arrays(later)


def test_ids_outside_the_vocabulary_are_an_error_that_names_both_numbers(fitted: KneserNey) -> None:
    message = r"token id {} is outside 0\.\.52, the vocabulary of 53"
    with pytest.raises(TokenizerError, match=message.format(53)):
        fitted.logprobs([ids(1)], [ids(53)])
    with pytest.raises(TokenizerError, match=message.format(-1)):
        fitted.next_logprobs([ids(1, -1)], [ids()])
    with pytest.raises(TokenizerError, match=message.format(60)):
        fitted.stream([ids(1)]).advance(ids(60))
    with pytest.raises(TokenizerError, match=message.format(-2)):
        fitted.stream([ids(1)]).advance(ids(-2))
    with pytest.raises(TokenizerError, match=r"token id 3 is outside 0\.\.2"):
        KneserNey.fit([ids(1, 3)], vocab_size=3, order=2)
    with pytest.raises(TaskError, match=r"order 0 and vocab_size 3: both must be at least 1"):
        KneserNey.fit([], vocab_size=3, order=0)


def test_copies_are_the_model_itself(fitted: KneserNey) -> None:
    assert copy.deepcopy({"lm": fitted})["lm"] is fitted
    assert isinstance(fitted, LanguageModel)
    assert repr(fitted).startswith("KneserNey(ngram:4:53:")
