import copy
import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textgym.errors import CheckpointError, CorpusError, TaskError
from textgym.models.lsa import LsaEmbedding
from textgym.text.sentences import words
from textgym.types import Embedding

SEA = ["ship", "sail", "wave", "harbour", "captain", "storm", "mast", "anchor"]
FARM = ["cow", "barn", "wheat", "field", "farmer", "horse", "plough", "harvest"]
COMMON = ["the", "a", "and", "of", "was", "in"]


def passages(seed: int = 0, number: int = 120) -> list[str]:
    """Passages about the sea or a farm, with words that stand in all."""
    rng = np.random.default_rng(seed)
    return [" ".join([*rng.choice((SEA, FARM)[i % 2], size=8), *rng.choice(COMMON, size=8)]) for i in range(number)]


@pytest.fixture(scope="module")
def fitted() -> LsaEmbedding:
    return LsaEmbedding.fit(passages(), dims=6)


def cosine(model: LsaEmbedding, one: str, other: str) -> float:
    first, second = model.embed([one, other])
    return float(first @ second)


def test_texts_of_one_subject_are_alike_and_texts_of_two_are_opposed() -> None:
    # The second direction, the first one kept, tells the two subjects apart; the texts share no word of their subject.
    model = LsaEmbedding.fit(passages(), dims=1)
    assert cosine(model, "the ship and the sail", "a storm was in the harbour") == pytest.approx(1)
    assert cosine(model, "the ship and the sail", "a horse was in the barn") == pytest.approx(-1)


def test_it_equals_scikit_learn_without_the_first_direction() -> None:
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    documents = passages()
    tfidf = TfidfVectorizer(analyzer=words, sublinear_tf=True)
    svd = TruncatedSVD(n_components=7, random_state=0)
    svd.fit(tfidf.fit_transform(documents))
    texts = ["Ship, ship, ship and the cow!", "harvest in the field of wheat", *passages(1, 20)]
    expected = svd.transform(tfidf.transform(texts))[:, 1:]
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert LsaEmbedding.fit(documents, dims=6).embed(texts) == pytest.approx(expected, abs=1e-5)


def test_vectors_have_unit_length_and_a_text_without_a_known_word_is_zero(fitted: LsaEmbedding) -> None:
    vectors = fitted.embed(["the ship", "", "zebra xylophone", "!?", "cow"])
    assert vectors.shape == (5, 6)
    assert vectors.dtype == np.float64
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 0, 0, 0, 1])
    assert fitted.embed([]).shape == (0, 6)


@given(st.lists(st.lists(st.sampled_from([*SEA, *FARM, "the", "zebra"]), max_size=30).map(" ".join), max_size=12))
@settings(max_examples=50, deadline=None)
def test_a_row_is_the_same_in_every_batch_bit_for_bit(fitted: LsaEmbedding, texts: list[str]) -> None:
    together = fitted.embed(texts)
    for row, text in enumerate(texts):
        assert fitted.embed([text])[0].tobytes() == together[row].tobytes()


def test_fitting_twice_gives_the_same_bytes(fitted: LsaEmbedding) -> None:
    assert LsaEmbedding.fit(passages(), dims=6).vectors.tobytes() == fitted.vectors.tobytes()


def test_arrays_give_the_same_embedding_back(fitted: LsaEmbedding) -> None:
    arrays = fitted.to_arrays()
    for array in arrays.values():
        array.setflags(write=False)  # as a store hands them out
    loaded = LsaEmbedding.from_arrays(arrays)
    assert loaded.vocabulary == fitted.vocabulary
    assert loaded.signature == fitted.signature
    assert loaded.signature.startswith("lsa:6:")
    assert loaded.embed(["the ship"]).tobytes() == fitted.embed(["the ship"]).tobytes()
    assert LsaEmbedding.fit(passages(1), dims=6).signature != fitted.signature


def test_arrays_of_something_else_are_refused(fitted: LsaEmbedding) -> None:
    with pytest.raises(CheckpointError, match=r"no LSA embedding: \['keys1'\]"):
        LsaEmbedding.from_arrays({"keys1": np.zeros(3)})
    with pytest.raises(CheckpointError, match=r"format 99; this version reads 1"):
        LsaEmbedding.from_arrays(fitted.to_arrays() | {"meta": np.array([99])})


def test_words_that_occur_once_are_unknown() -> None:
    model = LsaEmbedding.fit([*passages(), "a unicorn"], dims=6)
    assert "unicorn" not in model.vocabulary
    assert list(model.vocabulary) == sorted({*SEA, *FARM, *COMMON})


def test_a_small_corpus_has_fewer_dimensions() -> None:
    model = LsaEmbedding.fit(["the cow the barn", "the ship the ship", "cow barn"], dims=64)
    assert 1 <= model.vectors.shape[1] <= 2


@pytest.mark.parametrize("documents", [[], [""], ["one two three"], ["one one"], ["one two", "one two", "one two"]])
def test_passages_that_do_not_differ_are_an_error(documents: list[str]) -> None:
    with pytest.raises(CorpusError, match=f"{len(documents)} passages"):
        LsaEmbedding.fit(documents)


def test_a_number_of_dimensions_below_one_is_an_error() -> None:
    with pytest.raises(TaskError, match="dims=0: it must be at least 1"):
        LsaEmbedding.fit(passages(), dims=0)


def test_chinese_works_character_by_character() -> None:
    model = LsaEmbedding.fit(["明月光,地上霜", "明月夜,故乡月", "春风花,春草绿", "花落春,绿风草"] * 3, dims=2)
    assert cosine(model, "明光", "月霜") > cosine(model, "明光", "春花")


def test_copies_are_the_embedding_itself(fitted: LsaEmbedding) -> None:
    assert copy.deepcopy([fitted])[0] is fitted
    assert isinstance(fitted, Embedding)
    assert repr(fitted).startswith("LsaEmbedding(lsa:6:")


def read(path: Path) -> list[list[str]]:
    """The sentences of each tale."""
    tales: dict[str, list[str]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            tales.setdefault(row["document_id"], []).append(row["text"])
    return list(tales.values())


def test_neighbouring_sentences_of_held_out_tales_are_nearer_than_random_ones(data: Path) -> None:
    from sklearn.metrics import roc_auc_score

    fit, heldout = read(data / "fairytales/sentence_level_train.csv"), read(data / "fairytales/sentence_level_val.csv")
    model = LsaEmbedding.fit([" ".join(tale[i : i + 12]) for tale in fit for i in range(0, len(tale), 12)])
    first = [sentence for tale in heldout for sentence in tale[:-1]]
    second = [sentence for tale in heldout for sentence in tale[1:]]
    left = model.embed(first)
    right = model.embed(second)
    shuffled = np.random.default_rng(0).permutation(right)
    near, far = (left * right).sum(axis=1), (left * shuffled).sum(axis=1)
    truth = np.repeat([1, 0], len(first))
    assert roc_auc_score(truth, np.concatenate([near, far])) > 0.70
