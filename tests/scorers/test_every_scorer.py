"""The laws of `textgym.testing.scorers.check_scorer`, over the whole registry, and that the laws can fail."""

from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import pytest
from judge_server import judge_server
from scorer_fakes import FakeContext

from textgym import scorers as s
from textgym.scorers import DEFAULT_REWARD, Scorer, parse, registry
from textgym.testing.scorers import check_scorer
from textgym.types import Scores, TextBatch

PARAMETERS = {
    "cache": "cache(length + coherence)",
    "acceptability": "acceptability(model='fake')",
    "call": "call('{file}:score')",
    "classifier": "classifier('fake', 'acceptable')",
    "clip": "clip(fluency, -3, 2)",
    "default": "default(coherence, 0)",
    "ensemble": "ensemble(fluency, informativeness, repetition)",
    "gate": "gate(length, coherence, above=3)",
    "json_schema": 'json_schema(\'{"type": "array"}\')',
    "judge": "judge('{url}', batch=5)",
    "keywords": "keywords('the, red mat')",
    "regex": "regex('c.t')",
    "lagrangian": "lagrangian(repetition, 0.1, start=0.5)",
    "lexicographic": "lexicographic(distinct, clip(fluency, -8, 0))",
    "penalty": "penalty(fluency, below=-3)",
    "pseudo_fluency": "pseudo_fluency(model='hf:fake')",
    "preference": "preference('fake')",
    "product": "product(repetition, length, fluency)",
    "rank": "rank(coherence)",
    "standard": "standard(informativeness)",
    "timeout": "timeout(distinct, 60)",
    "toxicity": "toxicity(model='fake')",
}
VARIANTS = [
    "fluency(form='sum')",
    "fluency(lm='unigram', form='perplexity')",
    "fluency(lm='hf:fake')",
    "fluency(lm='hf:fake', form='sum') - informativeness(lm='hf:fake')",
    "slor(lm='hf:fake')",
    "pmi(lm='hf:fake')",
    "pseudo_fluency(model='hf:fake', form='sum', within='original', orders=2)",
    "acceptability(model='fake', form='logit')",
    "sentiment(model='fake', form='logprob')",
    "-sentiment(label='negative')",
    "repetition(n=1)",
    "distinct(n=3)",
    "ead(n=2, vocab_size=1000)",
    "self_bleu(n=2, within='all', most=3)",
    "compression_ratio(within='all')",
    "bleu(corpus=true) + chrf(corpus=true) - ter(corpus=true)",
    "ter(lowercase=false, punctuation=false, asian=true)",
    "brevity(7)*content_words",
    "length(target=5)",
    "length(min=2, max=4)",
    "bleu(n=2, tokenize='char', lowercase=true)",
    "chrf(words=2)",
    "exact_match(ignore_case=true, ignore_punctuation=true, ignore_space=false)",
    "rouge(n='L', measure='recall')",
    "rouge(n=2, tokenize='ascii')",
    "regex('(?i)[A-Z ]+', match='full', timeout=5)",
    "keywords + keywords(field='slots')",
    "0.7*fluency(form='sum') - length*2",
    "-repetition*(1 - distinct)",
    "default(bleu, -1) + clip(standard(length), low=0)",
    "gate(bleu, fluency, above=0.1, below=0.9, otherwise=-20) - rank(length)",
    "ensemble(chrf, bleu, 1 - repetition, how='median') + ensemble(fluency, length, how='min')",
]


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("def score(text):\n    return len(text) / 10\n")
    return "mine.py"


OF_A_WORLD = [name for name in registry() if name.split(".")[0] == "gold"]
"""They read stories: tests/worlds/story holds them to the same laws."""


@pytest.mark.parametrize("name", sorted(set(registry()) - set(OF_A_WORLD)))
def test_every_registered_scorer_keeps_the_laws(name, file):
    text = PARAMETERS.get(name, name).replace("{file}", file)
    with judge_server() if name == "judge" else nullcontext() as server:
        check_scorer(parse(text.replace("{url}", server.url if server else "")), FakeContext())


@pytest.mark.parametrize("text", [*VARIANTS, DEFAULT_REWARD])
def test_variants_and_composites_keep_the_laws(text):
    check_scorer(parse(text), FakeContext())


@pytest.mark.parametrize("text", ["repetition", "distinct", "length", "bleu", "chrf", "exact_match", "1 - repetition"])
def test_scorers_that_need_nothing_keep_the_laws_without_a_context(text):
    check_scorer(parse(text))


def test_a_function_keeps_the_laws():
    check_scorer(s.resolve(lambda text: len(text)))


@dataclass(frozen=True)
class Broken(Scorer):
    """A scorer with one fault."""

    fault: str

    @property
    def range(self):
        return (0.0, 1e9)

    def score(self, batch: TextBatch) -> Scores:
        lengths = np.array([float(len(ids)) for ids in batch.completions])
        tokens = (np.arange(int(lengths.max())) < lengths[:, None]).astype(float)
        if self.fault == "range":
            return Scores(-lengths)
        if self.fault == "nan":
            return Scores(np.where(lengths == 0, np.nan, lengths))
        if self.fault == "batch":
            return Scores(lengths / len(batch))
        if self.fault == "order":
            return Scores(np.sort(lengths))
        if self.fault == "random":
            return Scores(np.random.default_rng().random(len(batch)))
        if self.fault == "rounding":
            return Scores(lengths + 1e-15 * lengths * len(batch))
        if self.fault == "padding":
            return Scores(lengths, tokens=tokens + 1)
        if self.fault == "sum":
            return Scores(lengths, tokens=2 * tokens)
        if self.fault == "partial":
            return Scores(lengths, lengths > 3)
        return Scores(lengths, tokens=tokens)


@pytest.mark.parametrize(
    ("fault", "law"),
    [
        ("range", "outside the declared range"),
        ("nan", "not finite"),
        ("batch", "values differ"),
        ("order", "values differ"),
        ("random", "values differ"),
        ("rounding", "values differ"),
        ("padding", "beyond the row's end"),
        ("sum", "tokens sum to"),
        ("partial", "claims to be defined"),
    ],
)
def test_the_laws_find_a_planted_fault(fault, law):
    check_scorer(Broken("none"), FakeContext())
    with pytest.raises(AssertionError, match=law):
        check_scorer(Broken(fault), FakeContext())


def test_a_stated_tolerance_is_granted():
    check_scorer(Broken("rounding"), FakeContext(), tolerance=1e-5)
