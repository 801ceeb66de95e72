"""Text classifiers: they are what scikit-learn fits, they are saved whole, and they tell good reviews from bad."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from textgym import scorers as s
from textgym.envs.taskless import TasklessContext
from textgym.errors import CheckpointError, CorpusError, ScorerError
from textgym.models.held_out import Accuracy, held_out
from textgym.models.linear_classifier import fit_classifier, load
from textgym.models.text_features import SETTINGS, TextFeatures
from textgym.models.text_models import load_text_model
from textgym.scorers.plain import OpenVocabulary, batch_of_texts
from textgym.testing.scorers import ODD_TEXTS, check_scorer
from textgym.text.labelled_files import Labelled, read_labelled, read_lines
from textgym.types import TextClassifier

REVIEWS = Path(os.environ.get("TEXTGYM_DATA", "data")) / "movie_polarity"

GOOD = ["a warm and moving film", "moving, warm, funny", "what a funny warm story", "a film that is moving"]
BAD = ["a dull and lifeless film", "lifeless, dull, slow", "what a slow dull story", "a film that is lifeless"]
PLAIN = ["a film about a dog", "the dog of the story", "what a dog does", "dog and film"]


def rows(*groups, times=6):
    kinds = ["good", "bad", "plain"]
    return [
        Labelled(f"{text} {i}", kind)
        for kind, group in zip(kinds, groups, strict=False)
        for text in group
        for i in range(times)
    ]


class Context(TasklessContext):
    """One with texts of its own, which the laws are tried on."""

    tokenizer = OpenVocabulary([*GOOD, *BAD, "the"])

    def references(self):
        return batch_of_texts(GOOD, tokenizer=self.tokenizer)


@pytest.fixture(scope="module")
def model():
    return fit_classifier(rows(GOOD, BAD))


@pytest.mark.parametrize("groups", [(GOOD, BAD), (GOOD, BAD, PLAIN)], ids=["two labels", "three labels"])
def test_probabilities_are_those_of_scikit_learn(groups):
    given = rows(*groups)
    model = fit_classifier(given, seed=3)
    labels = sorted({row.label for row in given})
    kept = held_out(np.array([labels.index(row.label) for row in given]), seed=3)
    train = [row for row, out in zip(given, kept, strict=True) if not out]
    vectorizers = [TfidfVectorizer(min_df=low, **SETTINGS[kind]) for kind, low in (("words", 1), ("characters", 2))]
    table = sparse.hstack([vectorizer.fit_transform([row.text for row in train]) for vectorizer in vectorizers])
    theirs = LogisticRegression(C=model.metadata["C"], max_iter=1000).fit(table, [row.label for row in train])
    texts = [*(row.text for row in given), *ODD_TEXTS]
    due = theirs.predict_proba(sparse.hstack([vectorizer.transform(texts) for vectorizer in vectorizers]))
    assert model.labels == tuple(theirs.classes_)
    assert np.abs(np.exp(model.logprobs(texts)) - due).max() < 1e-9


def test_what_is_held_out_is_a_fifth_of_each_label_and_says_how_good_it_is(model):
    assert model.metadata["rows"] == 38 and model.metadata["heldout"] == 10
    assert model.metadata["accuracy"] == 1.0 and model.metadata["interval"][0] > 0.6
    assert 0 < model.metadata["logloss"] < np.log(2)


def test_the_same_seed_gives_the_same_model(model):
    again, other = fit_classifier(rows(GOOD, BAD)), fit_classifier(rows(GOOD, BAD), seed=1)
    assert again.weights.tobytes() == model.weights.tobytes() != other.weights.tobytes()


def test_a_row_depends_on_its_own_text_alone(model):
    texts = [*GOOD, *ODD_TEXTS]
    together = model.logprobs(texts)
    assert together.tobytes() == np.concatenate([model.logprobs([text]) for text in texts]).tobytes()
    assert np.allclose(np.exp(together).sum(axis=1), 1, atol=1e-12)
    assert model.logprobs([]).shape == (0, 2)


def test_it_comes_back_as_it_was_saved_and_is_signed_by_its_content(model, tmp_path):
    model.save(tmp_path / "a")
    loaded = load_text_model(TextClassifier, str(tmp_path / "a"))
    assert loaded.logprobs(list(ODD_TEXTS)).tobytes() == model.logprobs(list(ODD_TEXTS)).tobytes()
    assert loaded.labels == ("bad", "good") and loaded.metadata == model.metadata
    fit_classifier(rows(GOOD, BAD), seed=1).save(tmp_path / "b")
    model.save(tmp_path / "c")
    signatures = [load(tmp_path / name).signature for name in "abc"]
    assert signatures[0] == signatures[2] != signatures[1] and signatures[0].startswith("classifier:")


def test_the_scorer_asks_for_a_class_by_its_name(model, tmp_path):
    model.save(tmp_path)
    context, texts = TasklessContext(), [*GOOD, *BAD]
    values = {
        form: s.classifier(str(tmp_path), "good", form=form).score_texts(texts, context=context)
        for form in ("probability", "logit", "logprob")
    }
    assert (values["probability"][:4] > 0.5).all() and (values["probability"][4:] < 0.5).all()
    assert np.allclose(values["logit"], np.log(values["probability"] / (1 - values["probability"])))
    assert np.allclose(np.exp(values["logprob"]), values["probability"])
    with pytest.raises(ScorerError, match="no label 'nice'\\. Its labels are 'bad', 'good'"):
        s.classifier(str(tmp_path), "nice").bind(context)


def test_the_scorer_keeps_the_laws(model, tmp_path):
    model.save(tmp_path)
    check_scorer(s.classifier(str(tmp_path), "good", form="logit"), Context())


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "config.json").unlink(), "config.json is missing"),
        (lambda folder: (folder / "config.json").write_text("{"), "cannot be read as JSON"),
        (lambda folder: (folder / "config.json").write_text("[]"), "should hold an object"),
        (lambda folder: (folder / "model.safetensors").unlink(), "is missing or cannot be read"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"x" * 99), "cut off or damaged"),
        (lambda folder: change(folder, version=2), "has version 2"),
        (lambda folder: change(folder, textgym="preference"), "holds no classifier"),
        (lambda folder: change(folder, weights="0" * 64), "is not what config.json speaks of"),
        (lambda folder: change(folder, labels=["a"]), "do not fit together"),
        (lambda folder: change(folder, labels=None), "do not fit together"),
    ],
)
def test_a_damaged_folder_is_refused(model, tmp_path, damage, message):
    model.save(tmp_path)
    damage(tmp_path)
    with pytest.raises(CheckpointError, match=message):
        load(tmp_path)


def change(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_nothing_to_tell_apart_is_an_error():
    with pytest.raises(CorpusError, match="there is 'good': give rows of at least two labels"):
        fit_classifier(rows(GOOD))
    with pytest.raises(CorpusError, match="label 'few' has 3 rows, and 10 of each"):
        fit_classifier([*rows(GOOD, BAD), *[Labelled(f"text {i}", "few") for i in range(3)]])
    with pytest.raises(CorpusError, match="nothing to learn in 2 texts"):
        TextFeatures.fit(["", " "])


def test_labelled_texts_come_from_tables_and_from_lines(tmp_path):
    (tmp_path / "a.csv").write_text("review,stars\nfine,1\n,1\nbad,0\n")
    (tmp_path / "a.jsonl").write_text('{"text": "fine", "label": 1}\n{"text": "bad", "label": "no"}\n')
    (tmp_path / "a.txt").write_text("one\n\n two \n")
    assert read_labelled(tmp_path / "a.csv", "review", "stars") == [Labelled("fine", "1"), Labelled("bad", "0")]
    assert read_labelled(tmp_path / "a.jsonl") == [Labelled("fine", "1"), Labelled("bad", "no")]
    assert read_lines(tmp_path / "a.txt", "x") == [Labelled("one", "x"), Labelled("two", "x")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"text": "a", "labels": 1}', "row 1 has no 'label'. Did you mean 'labels'"),
        ('{"text": "a", "label": 0.5}', "row 1: the label in 'label' is a name or a whole number, not 0.5"),
        ('{"text": "a", "label": null}', "row 1: the label in 'label'"),
        ('{"text": 3, "label": "a"}', "row 1: 'text': text is expected"),
        ("", "holds no rows to learn from"),
        ('{"text": " ", "label": "a"}', "holds no rows to learn from"),
    ],
)
def test_a_row_that_is_no_labelled_text_is_named(tmp_path, content, message):
    (tmp_path / "a.jsonl").write_text(content)
    with pytest.raises(CorpusError, match=message):
        read_labelled(tmp_path / "a.jsonl")


def test_a_file_that_is_no_table_is_refused(tmp_path):
    with pytest.raises(CorpusError, match="lines of one label are given as LABEL=FILE"):
        read_labelled(tmp_path / "a.txt")


def test_intervals_are_those_of_wilson():
    assert Accuracy(8, 10).interval == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert Accuracy(0, 10).interval == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert str(Accuracy(5, 10)) == "0.500 (0.237 to 0.763, 10 rows)"


@pytest.mark.slow
@pytest.mark.skipif(not REVIEWS.is_dir(), reason="TEXTGYM_DATA holds no movie_polarity")
def test_four_of_five_reviews_that_were_held_out_are_told_right():
    given = [*read_lines(REVIEWS / "rt-polarity.pos", "positive"), *read_lines(REVIEWS / "rt-polarity.neg", "negative")]
    metadata = fit_classifier(given).metadata
    assert metadata["heldout"] == 2132 and metadata["accuracy"] > 0.775 and metadata["logloss"] < 0.47
