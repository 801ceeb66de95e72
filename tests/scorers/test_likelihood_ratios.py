"""slor and pmi: hand-computed cases, their laws, and that their streams keep up."""

import numpy as np
import pytest
from scorer_fakes import FakeContext, FakeTextModel

from textgym.envs.tasks import make_task
from textgym.errors import ScoringFailure
from textgym.scorers import parse
from textgym.testing.scorers import check_scorer
from textgym.types import TextLanguageModel

TEXTS = ["the cat sat.", "red red", "", "a dog ran and ran."]
PROMPTS = ["the", "a dog", "is", "red"]


@pytest.fixture
def context():
    return FakeContext()


def values(context, spec, batch):
    return parse(spec).bind(context).score(batch).values


def test_slor_by_hand(context):
    cat, red, eos = *context.tokenizer.encode("cat red").tolist(), context.tokenizer.eos_id
    batch = context.batch(["cat red"], ["red"])
    lm, unigram = context.models["ngram:4"].table, context.models["unigram"].table[0]
    told = lm[red, cat] + lm[cat, red] + lm[red, eos]
    words = unigram[cat] + unigram[red] + unigram[eos]
    scores = parse("slor").bind(context).score(batch)
    assert scores.values == pytest.approx([(told - words) / 3])
    assert scores.tokens[0, 0] == pytest.approx((lm[red, cat] - unigram[cat]) / 3)


def test_pmi_by_hand(context):
    cat, red = context.tokenizer.encode("cat red").tolist()
    lm = context.models["ngram:4"].table
    batch = context.batch(["cat red"], ["red"])  # the bigram sees one word back: only the first one has a prompt
    assert values(context, "pmi", batch) == pytest.approx([(lm[red, cat] - lm[1, cat]) / 3])


def test_slor_of_the_unigram_itself_is_0_and_pmi_without_a_prompt_too(context):
    batch = context.batch(TEXTS, PROMPTS)
    assert values(context, "slor(lm='unigram')", batch) == pytest.approx(np.zeros(4))
    assert values(context, "pmi(lm='unigram')", batch) == pytest.approx(np.zeros(4))
    alone = context.batch(TEXTS, [""] * 4)
    assert values(context, "pmi", alone).tolist() == [0.0] * 4
    assert values(context, "pmi(lm='hf:fake')", alone).tolist() == [0.0] * 4


def test_both_are_differences_of_fluencies(context):
    batch, alone = context.batch(TEXTS, PROMPTS), context.batch(TEXTS, [""] * 4)
    fluency = values(context, "fluency", batch)
    assert values(context, "slor", batch) == pytest.approx(fluency - values(context, "fluency(lm='unigram')", batch))
    assert values(context, "pmi", batch) == pytest.approx(fluency - values(context, "fluency", alone))


def test_a_model_with_tokens_of_its_own_is_measured_by_the_tokens_of_the_unigram(context):
    batch = context.batch(TEXTS, PROMPTS)
    sums = {lm: values(context, f"fluency(lm='{lm}', form='sum')", batch) for lm in ("hf:fake", "unigram")}
    lengths = [len(ids) for ids in batch.completions]
    expected = (sums["hf:fake"] - sums["unigram"]) / lengths
    assert values(context, "slor(lm='hf:fake')", batch) == pytest.approx(expected)


def test_contributions_of_a_model_with_tokens_of_its_own_go_where_these_end(context):
    batch = context.batch(["cat red"], ["red"])
    [(told, ends)] = FakeTextModel().text_logprobs(["red"], ["cat red"], [True])
    assert ends.tolist() == [2, 4, 6, 7, 8]  # "cat" ends at 3, " red" at 7, EOS behind
    tokens = parse("fluency(lm='hf:fake', form='sum')").bind(context).score(batch).tokens
    assert tokens.tolist() == [[told[0], told[1:4].sum(), told[4]]]


def test_a_model_that_says_nothing_of_a_text_is_a_failure(context):
    class Silent(FakeTextModel):
        def _row(self, prompt, text, ended):
            return np.zeros(0), np.zeros(0, dtype=np.int64)

    class Short(FakeTextModel):
        def text_logprobs(self, prompts, completions, ended):
            return []

    for model, message in ((Silent(), "no token for the text 'red'"), (Short(), "returned 0 rows for 1")):
        context.text_models[TextLanguageModel, "hf:fake"] = model
        with pytest.raises(ScoringFailure, match=message):
            values(context, "fluency(lm='hf:fake')", context.batch(["red"]))


@pytest.mark.parametrize("spec", ["slor", "pmi", "slor(lm='ngram:2')"])
def test_they_keep_the_laws_and_their_streams_keep_up(spec, tiny_corpus):
    context = make_task(corpus=str(tiny_corpus), tokenizer="word").context
    scorer = parse(spec)
    assert scorer.stream(2, context) is not None
    check_scorer(scorer, context)


def test_a_model_with_tokens_of_its_own_has_no_stream_and_is_not_causal(context):
    scorer = parse("fluency(lm='hf:fake')")
    assert scorer.stream(2, context) is None
    assert not scorer.causal
    assert scorer.prefix_scorable
    assert parse("fluency").causal
