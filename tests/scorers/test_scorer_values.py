"""Each built-in scorer against numbers computed by hand or by another implementation."""

import math
import subprocess
import sys

import numpy as np
import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st
from scorer_fakes import FakeContext, FakeEmbedding

from textgym import scorers as s
from textgym.errors import ScorerError, ScoringFailure
from textgym.scorers.plain import OpenVocabulary, batch_of_texts
from textgym.types import TextBatch

words = st.lists(st.sampled_from(["a", "b", "c", "d", "."]), max_size=12).map(" ".join)


def value(scorer, text, **given):
    return float(scorer.score_texts([text], **{key: [one] for key, one in given.items()})[0])


# -- repetition and distinct


def test_one_word_five_times_repeats_three_of_four_bigrams():
    assert value(s.repetition(n=2), "a a a a a") == 0.75


def test_a_text_that_never_repeats_scores_zero():
    assert value(s.repetition(n=1), "the cat sat on a mat") == 0.0


def test_repetition_is_that_of_four_grams_unless_told():
    assert value(s.repetition(), "a b c d a b c d") == pytest.approx(1 / 5)


def test_the_token_that_closes_a_seen_ngram_is_charged_for_it():
    scores = s.repetition(n=2).score(batch_of_texts(["a b a b c"]))
    np.testing.assert_allclose(scores.tokens, [[0, 0, 0, 0.25, 0]])


@given(text=words, n=st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_repetition_and_distinct_are_welleck_and_li_by_sets(text, n):
    tokens = text.split()
    grams = [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]
    share = len(set(grams)) / len(grams) if grams else None
    assert value(s.repetition(n=n), text) == pytest.approx(0.0 if share is None else 1 - share)
    assert value(s.distinct(n=n), text) == pytest.approx(0.0 if share is None else share)


def test_eos_is_no_part_of_an_ngram():
    context = FakeContext()
    for scorer in (s.repetition(n=1), s.distinct(n=1)):
        ended = scorer.score(context.batch(["red red"], ended=True)).values
        assert ended == scorer.score(context.batch(["red red"], ended=False)).values == [0.5]


# -- length


@pytest.mark.parametrize(
    ("scorer", "expected"),
    [
        (s.length(), 4),
        (s.length(target=4), 0),
        (s.length(target=6), -2),
        (s.length(target=1), -3),
        (s.length(min=5), -1),
        (s.length(max=3), -1),
        (s.length(min=2, max=4), 0),
    ],
)
def test_length_counts_tokens_or_those_by_which_it_misses(scorer, expected):
    assert value(scorer, "one two three four") == expected


def test_length_counts_eos():
    context = FakeContext()
    assert s.length().score(context.batch(["red red", ""], ended=True)).values.tolist() == [3, 1]


@pytest.mark.parametrize("wrong", [{"target": 1, "min": 0}, {"min": 3, "max": 2}, {"max": -1}])
def test_length_refuses_bounds_that_contradict(wrong):
    with pytest.raises(ScorerError):
        s.length(**wrong)


# -- fluency and informativeness


def logprob(context, name, prompt, ids):
    table = context.models[name].table
    return [table[a, b] for a, b in zip([prompt, *ids[:-1]], ids, strict=True)]


def test_fluency_is_the_mean_the_sum_or_the_perplexity_with_eos():
    context = FakeContext()
    ids = [*context.tokenizer.encode("sat on the"), context.tokenizer.eos_id]
    each = logprob(context, "ngram:4", context.tokenizer.encode("cat")[0], ids)
    batch = context.batch(["sat on the"], ["the cat"])
    assert s.fluency().bind(context).score(batch).values == pytest.approx(sum(each) / 4)
    assert s.fluency(form="sum").bind(context).score(batch).values == pytest.approx(sum(each))
    assert s.fluency(form="perplexity").bind(context).score(batch).values == pytest.approx(math.exp(-sum(each) / 4))
    np.testing.assert_allclose(s.fluency().bind(context).score(batch).tokens, [np.array(each) / 4])


def test_the_fluency_of_an_empty_completion_is_that_of_ending_at_once():
    context = FakeContext()
    empty, ended = (s.fluency().bind(context).score(context.batch([""], ended=end)).values for end in (False, True))
    assert empty == ended < 0


def test_informativeness_is_mean_surprisal_without_eos():
    context = FakeContext()
    ids = context.tokenizer.encode("red mat red")
    expected = -sum(logprob(context, "unigram", 1, ids)) / 3
    scores = s.informativeness().bind(context).score(context.batch(["red mat red", ""]))
    assert scores.values == pytest.approx([expected, 0.0])
    assert scores.tokens[0, 3] == 0 and scores.tokens[0].sum() == pytest.approx(expected)


def test_a_model_that_answers_in_another_shape_is_an_error():
    context = FakeContext()
    context.models["ngram:4"].logprobs = lambda prompts, completions: np.zeros((1, 1))
    with pytest.raises(ScoringFailure, match="shape"):
        s.fluency().bind(context).score(context.batch(["red mat"]))


# -- coherence


def test_coherence_is_the_mean_cosine_of_prompt_and_sentences():
    context = FakeContext()
    bound = s.coherence().bind(context)
    # cat (1, 0); dog (0, 1); mat (1, 1): cos(cat, dog) = 0, cos(dog, mat) = 1 / sqrt 2
    scores = bound.score(context.batch(["the dog. the mat."], ["the cat"]))
    assert scores.values == pytest.approx([(0 + math.sqrt(0.5)) / 2])


def test_after_a_prompt_every_completion_has_a_coherence():
    context = FakeContext()
    texts = ["", "cat", "on on on. is is."]
    scores = s.coherence().bind(context).score(context.batch(texts))
    assert scores.valid.all() and scores.values == pytest.approx([0.0, 1.0, 0.0])
    assert not s.coherence().partial_in(context)


def test_without_a_prompt_coherence_needs_two_sentences():
    context = FakeContext(empty_prompts=True)
    scores = s.coherence().bind(context).score(context.batch(["", "cat.", "cat. cat.", "cat. dog."], [""] * 4))
    assert scores.valid.tolist() == [False, False, True, True]
    assert scores.values == pytest.approx([0, 0, 1, 0])
    assert s.coherence().partial_in(context)


def test_a_sentence_is_embedded_once_a_batch(monkeypatch):
    context = FakeContext()
    asked = []
    original = FakeEmbedding.embed
    monkeypatch.setattr(FakeEmbedding, "embed", lambda self, texts: (asked.extend(texts), original(self, texts))[1])
    s.coherence().bind(context).score(context.batch(["the dog. the dog."] * 3))
    assert sorted(asked) == ["the cat", "the dog."]


# -- bleu, chrf, exact match

texts = st.text(alphabet="abc .,!é好", max_size=30)


@given(text=texts, references=st.lists(texts, min_size=1, max_size=3))
@settings(max_examples=60, deadline=None)
def test_bleu_and_chrf_are_those_of_sacrebleu(text, references):
    expected = sacrebleu.sentence_bleu(text, references, use_effective_order=True).score / 100
    assert value(s.bleu(), text, references=references) == pytest.approx(expected, abs=1e-12)
    expected = sacrebleu.sentence_chrf(text, references).score / 100
    assert value(s.chrf(), text, references=references) == pytest.approx(expected, abs=1e-12)
    expected = sacrebleu.sentence_chrf(text, references, word_order=2).score / 100
    assert value(s.chrf(words=2), text, references=references) == pytest.approx(expected, abs=1e-12)


def test_a_copy_of_the_reference_scores_one():
    text = "the cat sat on the mat ."
    for scorer in (s.bleu(), s.chrf(), s.exact_match()):
        assert value(scorer, text, references=["another one", text]) == 1.0


def test_bleu_of_a_short_text_counts_the_orders_that_it_has():
    assert value(s.bleu(), "the cat", references=["the cat"]) == 1.0


@pytest.mark.parametrize("name", ["bleu", "chrf", "exact_match"])
def test_without_references_a_comparison_is_not_applicable(name):
    scorer = s.parse(name)
    batch = batch_of_texts(["a", "b"], references=[["a"], []])
    assert scorer.score(batch).valid.tolist() == [True, False]
    assert scorer.score(batch_of_texts(["a"])).valid.tolist() == [False]
    assert np.isnan(scorer.score_texts(["a"])).all()
    assert not scorer.partial_in(FakeContext()) and scorer.partial_in(FakeContext(references=False))


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        (" the  cat\n", {}, 1),
        (" the  cat\n", {"ignore_space": False}, 0),
        ("The Cat", {}, 0),
        ("THE CAT", {"ignore_case": True}, 1),
        ("«the, cat»!", {"ignore_punctuation": True}, 1),
        ("thecat", {}, 0),
    ],
)
def test_exact_match_normalises_as_told(text, options, expected):
    assert value(s.exact_match(**options), text, references=["the cat"]) == expected


# -- plain texts


@given(st.lists(st.text(max_size=30), min_size=1, max_size=4))
@settings(max_examples=100, deadline=None)
def test_the_open_vocabulary_is_lossless(given_texts):
    tokenizer = OpenVocabulary(given_texts)
    assert [tokenizer.decode(tokenizer.encode(text)) for text in given_texts] == given_texts


def test_chinese_is_read_by_character():
    assert value(s.repetition(n=2), "好好好好好") == 0.75


def test_score_texts_takes_the_tokens_of_a_context():
    context = FakeContext()
    values = s.length().score_texts(["the cat", "unheard of"], context=context)
    assert values.tolist() == [2, 2]


def test_a_single_string_for_a_list_is_refused():
    with pytest.raises(ScorerError, match="lists of strings"):
        s.length().score_texts("a text")
    with pytest.raises(ScorerError, match="2 prompts for 1 texts"):
        s.length().score_texts(["a"], prompts=["b", "c"])
    with pytest.raises(ScorerError, match="list of strings for each text"):
        s.bleu().score_texts(["a"], references=["b"])


def test_importing_scorers_loads_no_library_that_a_scorer_needs():
    code = (
        "import sys, textgym.scorers as s; s.parse(s.DEFAULT_REWARD); s.bleu(); "
        "bad = {'torch', 'sklearn', 'sacrebleu', 'transformers', 'scipy'} & set(sys.modules); assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_rows_may_be_taken_from_a_batch_with_references():
    batch = batch_of_texts(["a", "b"], references=[["a"], ["c"]])
    assert isinstance(batch.row(1), TextBatch)
    assert s.exact_match().score(batch.rows([1, 0])).values.tolist() == [0, 1]
