"""Classifiers of Hugging Face and what scorers make of them: classes by name, equal to a direct computation."""

import shutil

import hf_samples
import numpy as np
import pytest
import torch
from transformers import (
    AutoTokenizer,
    BertForSequenceClassification,
    GPT2ForSequenceClassification,
    XLNetForSequenceClassification,
)

from textgym.envs.taskless import TasklessContext
from textgym.errors import CheckpointError, MissingExtraError, ScorerError, SpecError
from textgym.models import hf_classifier
from textgym.models.text_models import load_text_model
from textgym.scorers import labels, parse
from textgym.scorers.plain import OpenVocabulary, batch_of_texts
from textgym.testing.scorers import ODD_TEXTS, check_scorer
from textgym.types import TextClassifier

TEXTS = ["The cat sat on the mat.", "A dog ran", "", "unhappily [SEP] <sep> it found nothing; " * 3]
LABELS = ("Negative", "neutral", "positive")
CLASSES = {
    "bert": BertForSequenceClassification,
    "gpt2": GPT2ForSequenceClassification,
    "xlnet": XLNetForSequenceClassification,
}


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("classifiers")
    return {kind: hf_samples.classifier(root / kind, kind, LABELS) for kind in CLASSES}


@pytest.fixture(scope="session")
def models(folders):
    return {kind: load_text_model(TextClassifier, f"hf:{folder}") for kind, folder in folders.items()}


@torch.no_grad()
def direct(kind, folder, text):
    network, tokenizer = CLASSES[kind].from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    inputs = tokenizer(text, return_tensors="pt", split_special_tokens=True, truncation=kind != "xlnet", max_length=64)
    if not inputs["input_ids"].numel():
        inputs = {"input_ids": torch.tensor([[0]])}  # no token at all: what fills a batch up
    return network(**inputs).logits[0].double().log_softmax(-1).numpy()


@pytest.mark.parametrize("kind", CLASSES)
def test_logprobs_are_those_of_a_direct_computation(kind, folders, models):
    table = models[kind].logprobs(TEXTS)
    assert models[kind].labels == LABELS
    assert table.shape == (4, 3)
    for row, text in zip(table, TEXTS, strict=True):
        assert row == pytest.approx(direct(kind, folders[kind], text), abs=1e-5)
    assert table.std(axis=0).min() > 1e-3
    again = hf_classifier.load(str(folders[kind]))
    for place, text in reversed(list(enumerate(TEXTS))):
        assert again.logprobs([text])[0] == pytest.approx(table[place], abs=1e-5)
    assert again.logprobs([]).shape == (0, 3)


def test_of_a_long_text_the_beginning_is_read(models):
    model = models["bert"]
    long = "the cat sat on the mat. " * 50
    assert model.longest == 64
    assert model.logprobs([long]) == pytest.approx(model.logprobs([long + "unhappily " * 9]), abs=1e-9)


def bound(model, spec):
    context = TasklessContext()
    context._text_models.known[TextClassifier, "hf:x"] = model
    return parse(spec).bind(context)


def test_the_forms_are_of_one_probability(models):
    batch = batch_of_texts(TEXTS)
    spec = "sentiment(model='hf:x', label='neutral', form='{}')"
    of = {form: bound(models["bert"], spec.format(form)).score(batch).values for form in labels.Form.__args__}
    expected = np.exp(models["bert"].logprobs(TEXTS)[:, 1])
    assert of["probability"] == pytest.approx(expected)
    assert of["logprob"] == pytest.approx(np.log(expected))
    assert of["logit"] == pytest.approx(np.log(expected / (1 - expected)))


def test_a_class_is_found_by_its_name_in_any_case_and_never_by_position(models, tmp_path):
    batch = batch_of_texts(TEXTS)
    one, other = (
        bound(models["bert"], f"sentiment(model='hf:x', label='{label}')").score(batch).values
        for label in ("NEGATIVE", "positive")
    )
    table = np.exp(models["bert"].logprobs(TEXTS))
    assert one == pytest.approx(table[:, 0])
    assert other == pytest.approx(table[:, 2])
    swapped = hf_classifier.load(str(hf_samples.classifier(tmp_path / "swapped", "bert", LABELS[::-1])))
    assert bound(swapped, "sentiment(model='hf:x')").score(batch).values == pytest.approx(
        np.exp(swapped.logprobs(TEXTS)[:, 0])
    )


def test_an_unknown_label_lists_those_there_are(models):
    with pytest.raises(ScorerError, match=r"no label 'toxic'. Its labels are 'Negative', 'neutral', 'positive'"):
        bound(models["bert"], "toxicity(model='hf:x')")


def test_labels_that_are_numbers_are_refused_unless_named(tmp_path):
    model = hf_classifier.load(str(hf_samples.classifier(tmp_path / "c", "bert", None)))
    assert model.labels == ("LABEL_0", "LABEL_1")
    for spec in ("acceptability(model='hf:x')", "sentiment(model='hf:x')"):
        with pytest.raises(ScorerError, match=r"'LABEL_0', 'LABEL_1'; they are numbered"):
            bound(model, spec)
    found = bound(model, "acceptability(model='hf:x', label='LABEL_1')").score(batch_of_texts(TEXTS)).values
    assert found == pytest.approx(np.exp(model.logprobs(TEXTS)[:, 1]))


def test_a_text_may_belong_to_several_classes_where_the_model_says_so(tmp_path):
    folder = hf_samples.classifier(tmp_path / "several", "bert", ["toxic", "insult"], several=True)
    model = hf_classifier.load(str(folder))
    network, tokenizer = BertForSequenceClassification.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        logits = network.eval()(**tokenizer(TEXTS[0], return_tensors="pt")).logits[0].double().numpy()
    assert np.exp(model.logprobs(TEXTS[:1])[0]) == pytest.approx(1 / (1 + np.exp(-logits)), abs=1e-6)
    found = bound(model, "toxicity(model='hf:x', form='logit')").score(batch_of_texts(TEXTS[:1])).values
    assert found == pytest.approx(logits[:1], abs=1e-5)


@pytest.mark.parametrize("logit", [-200.0, -40.0, 0.0, 40.0, 200.0])
def test_a_logit_is_exact_where_the_probability_is_nearly_0_or_1(models, logit):
    model = models["bert"]
    table = model._logprobs(torch.tensor([[0.0, logit, -300.0]], dtype=torch.float64)).numpy()
    assert labels._in_form(table[:, 1], "logit") == pytest.approx(logit, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(
    "spec", ["acceptability(model='hf:x', label='neutral')", "sentiment(model='hf:x', form='logit')"]
)
def test_the_scorers_keep_the_laws(models, spec):
    class Context(TasklessContext):
        tokenizer = OpenVocabulary([*TEXTS, *ODD_TEXTS])

        def references(self):
            return batch_of_texts(TEXTS, tokenizer=self.tokenizer)

    context = Context()
    context._text_models.known[TextClassifier, "hf:x"] = models["bert"]
    check_scorer(parse(spec), context, tolerance=1e-5)


def test_a_single_number_is_no_classifier_and_a_missing_head_no_answer(tmp_path, folders):
    with pytest.raises(CheckpointError, match="no classifier"):
        load_text_model(TextClassifier, f"hf:{hf_samples.classifier(tmp_path / 'one', 'bert', ['reward'])}")
    masked = hf_samples.bert(tmp_path / "bert")
    with pytest.raises(CheckpointError, match="answer at random"):
        load_text_model(TextClassifier, f"hf:{masked}")
    copy = shutil.copytree(folders["bert"], tmp_path / "copy")
    (copy / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"config\.json is missing"):
        load_text_model(TextClassifier, f"hf:{copy}")


VADER = {
    "The book was good.": 0.4404,
    "At least it isn't a horrible book.": 0.431,
    "The book was only kind of good.": 0.3832,
    "Today SUX!": -0.5461,
    "": 0.0,
}
"""Examples of VADER's own readme, where they stand with these figures."""


def test_vader_says_what_its_readme_says():
    found = parse("sentiment").score_texts(list(VADER))
    assert found == pytest.approx(list(VADER.values()))
    assert parse("sentiment(label='negative')").score_texts(list(VADER)) == pytest.approx(-found)


def test_vader_has_no_probabilities_and_two_labels():
    with pytest.raises(SpecError, match="no logit"):
        parse("sentiment(form='logit')")
    with pytest.raises(SpecError, match="'positive' and 'negative'"):
        parse("sentiment(label='joy')")


def test_without_vader_the_extra_is_named(monkeypatch):
    import sys

    labels._vader.cache_clear()
    monkeypatch.setitem(sys.modules, "vaderSentiment.vaderSentiment", None)
    with pytest.raises(MissingExtraError, match=r"textgym\[sentiment\]"):
        parse("sentiment").score_texts(["good"])
