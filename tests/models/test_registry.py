import dataclasses
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import numpy as np
import pytest

import textgym.models
from textgym.errors import CheckpointError, SpecError, UnknownNameError
from textgym.models import registry
from textgym.models.lsa import LsaEmbedding
from textgym.models.ngram import KneserNey
from textgym.models.registry import (
    embedding_from_arrays,
    embedding_names,
    fit_embedding,
    fit_language_model,
    is_checkpoint,
    language_model_from_arrays,
    language_model_names,
    load_checkpoint_language_model,
    register_embedding,
    register_language_model,
)
from textgym.types import Arrays, TokenIds

ROWS = [np.array([3, 4, 5, 2], dtype=np.int32)] * 2
PASSAGES = ["the ship the sea", "the cow the barn", "ship sea cow barn"] * 3


@pytest.mark.parametrize(("name", "order"), [("unigram", 1), ("ngram:1", 1), ("ngram:4", 4), ("ngram:6", 6)])
def test_a_name_gives_arrays_and_arrays_give_the_model(name: str, order: int) -> None:
    arrays = fit_language_model(name, ROWS, vocab_size=6, tokenizer_signature="word:6:00")
    model = language_model_from_arrays(name, arrays)
    wanted = KneserNey.fit(ROWS, vocab_size=6, order=order, tokenizer_signature="word:6:00")
    assert model.signature == wanted.signature


def test_an_embedding_has_a_name_as_well() -> None:
    arrays = fit_embedding("lsa:2", PASSAGES)
    assert embedding_from_arrays("lsa:2", arrays).signature == LsaEmbedding.fit(PASSAGES, dims=2).signature


@pytest.mark.parametrize("argument", ["0", "7", "-1", "x", "", "1.5", "²", "1:2"])
def test_an_order_out_of_range_is_an_error_that_names_the_range(argument: str) -> None:
    with pytest.raises(
        SpecError, match=f"whole number from 1 to 6, not '{argument}'\n    ngram:{argument}\n          \\^"
    ):
        fit_language_model(f"ngram:{argument}", ROWS, vocab_size=6)


def test_other_bad_arguments_are_errors() -> None:
    with pytest.raises(SpecError, match="from 1 to 512, not '0'"):
        fit_embedding("lsa:0", PASSAGES)
    with pytest.raises(SpecError, match="'unigram' takes no argument"):
        fit_language_model("unigram:2", ROWS, vocab_size=6)


def test_a_typing_error_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown language model 'ngarm:4'. Did you mean 'ngram:4'\?"):
        fit_language_model("ngarm:4", ROWS, vocab_size=6)
    with pytest.raises(UnknownNameError, match=r"unknown embedding 'lsi:64'. Did you mean 'lsa:64'\?"):
        embedding_from_arrays("lsi:64", {})


def test_the_names_are_listed() -> None:
    assert language_model_names() == ["ngram:1", "ngram:2", "ngram:3", "ngram:4", "ngram:5", "ngram:6", "unigram"]
    assert embedding_names() == ["lsa:64"]


def test_a_folder_with_a_config_is_a_checkpoint_and_is_not_fitted(tmp_path: Path) -> None:
    assert not is_checkpoint(str(tmp_path))
    assert not is_checkpoint("ngram:4")
    (tmp_path / "config.json").write_text("{}")
    assert is_checkpoint(str(tmp_path))
    with pytest.raises(CheckpointError, match="is a path, not the name of a language model that can be fitted"):
        fit_language_model(str(tmp_path), ROWS, vocab_size=6)


def test_a_missing_checkpoint_is_an_error_that_says_what_one_is(tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointError, match=r"no model at .*nowhere: a saved model is a folder that holds config\.json"
    ):
        load_checkpoint_language_model(tmp_path / "nowhere")


@pytest.fixture
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is forgotten afterwards."""
    for name in ("_language_models", "_embeddings"):
        kept = getattr(registry, name)
        monkeypatch.setattr(registry, name, dataclasses.replace(kept, kinds=dict(kept.kinds)))


@pytest.mark.usefixtures("own_registry")
def test_a_registered_model_is_found_by_its_prefix() -> None:
    @register_language_model("backwards", from_arrays=KneserNey.from_arrays)
    def fit(rows: Sequence[TokenIds], argument: str, *, vocab_size: int, tokenizer_signature: str) -> Arrays:
        order = int(argument or 2)
        return KneserNey.fit([row[::-1] for row in rows], vocab_size=vocab_size, order=order).to_arrays()

    arrays = fit_language_model("backwards:3", ROWS, vocab_size=6)
    assert language_model_from_arrays("backwards:3", arrays).signature.startswith("ngram:3:6:")
    assert language_model_from_arrays("backwards", fit_language_model("backwards", ROWS, vocab_size=6)).vocab_size == 6
    assert "backwards" in language_model_names()


@pytest.mark.usefixtures("own_registry")
def test_a_registered_embedding_is_found_by_its_prefix() -> None:
    @register_embedding("flat", from_arrays=LsaEmbedding.from_arrays)
    def fit(documents: Sequence[str], argument: str) -> Arrays:
        return LsaEmbedding.fit(documents, dims=1).to_arrays()

    assert embedding_from_arrays("flat", fit_embedding("flat", PASSAGES)).embed(["ship"]).shape == (1, 1)
    assert embedding_names() == ["flat", "lsa:64"]


@pytest.mark.usefixtures("own_registry")
@pytest.mark.parametrize("prefix", ["ngram", "", "a:b", "a/b"])
def test_a_prefix_that_is_taken_or_odd_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match=f"{prefix!r}"):
        register_language_model(prefix, from_arrays=KneserNey.from_arrays)


@pytest.mark.usefixtures("own_registry")
def test_a_package_brings_models_by_an_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "their_models.py").write_text(
        "from textgym.models import KneserNey, register_language_model\n"
        "@register_language_model('theirs', from_arrays=KneserNey.from_arrays)\n"
        "def fit(rows, argument, *, vocab_size, tokenizer_signature):\n"
        "    return KneserNey.fit(rows, vocab_size=vocab_size, order=2).to_arrays()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    installed = EntryPoints([EntryPoint("theirs", "their_models", "textgym.models")])
    monkeypatch.setattr(registry, "entry_points", installed.select)
    assert "theirs" in language_model_names()
    assert "their_models" not in sys.modules
    arrays = fit_language_model("theirs", ROWS, vocab_size=6)
    assert language_model_from_arrays("theirs", arrays).signature.startswith("ngram:2:6:")


def test_public_names_are_found_and_others_are_not() -> None:
    for name in textgym.models.__all__:
        assert getattr(textgym.models, name).__name__ == name
    assert set(textgym.models.__all__) <= set(dir(textgym.models))
    with pytest.raises(AttributeError, match="no attribute 'KneserNay'"):
        textgym.models.KneserNay  # noqa: B018


def test_models_by_name_load_neither_torch_nor_scikit_learn() -> None:
    code = (
        "import sys, textgym.models; textgym.models.fit_language_model; textgym.models.LsaEmbedding;"
        "print([m for m in ('torch', 'sklearn', 'scipy', 'transformers', 'stable_baselines3') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
