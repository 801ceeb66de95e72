"""The scorers `order` and `entity_grid`, on a fake model and on a real task."""

from pathlib import Path

import numpy as np
import pytest
from scorer_fakes import FakeContext

from textgym.envs.tasks import make_task
from textgym.errors import ScorerError, UnknownNameError
from textgym.scorers import parse
from textgym.testing.scorers import check_scorer


@pytest.mark.parametrize("name", ["order", "entity_grid"])
def test_prompt_and_completion_are_one_text(name: str) -> None:
    context = FakeContext(empty_prompts=True)
    scores = (
        parse(name)
        .bind(context)
        .score(context.batch([" sat. the red cat sat.", "sat", "sat. a cat sat."], ["the cat", "the cat", ""]))
    )
    first, second, third = scores.values
    assert scores.valid.tolist() == [True, True, True]
    assert first > 0
    assert second == 0
    assert third > 0
    alone = parse(name).bind(context).score(context.batch(["sat"], [""]))
    assert alone.valid.tolist() == [False]
    assert parse(name).partial_in(context)
    assert not parse(name).partial_in(FakeContext())


@pytest.mark.parametrize("name", ["order", "entity_grid"])
def test_without_a_context_it_says_what_it_needs(name: str) -> None:
    with pytest.raises(ScorerError, match="needs order model"):
        parse(name).score_texts(["a. b."])


@pytest.mark.parametrize("name", ["order(embedding='lsa:4')", "entity_grid"])
def test_a_task_fits_it_and_it_keeps_the_laws(name: str, tiny_corpus: Path, tmp_path: Path) -> None:
    context = make_task(corpus=tiny_corpus, cache_dir=tmp_path).context
    check_scorer(parse(name), context)
    again = make_task(corpus=tiny_corpus, cache_dir=tmp_path).context
    assert parse(name).bind(again).signature == parse(name).bind(context).signature


def test_an_unknown_embedding_is_named(tiny_corpus: Path, tmp_path: Path) -> None:
    context = make_task(corpus=tiny_corpus, cache_dir=tmp_path).context
    with pytest.raises(UnknownNameError, match="unknown embedding 'lsi:64'"):
        parse("order(embedding='lsi:64')").bind(context)


def test_documents_are_put_together_again(tiny_corpus: Path, tmp_path: Path) -> None:
    task = make_task(corpus=tiny_corpus, cache_dir=tmp_path, max_new_tokens=12)
    texts = {text.replace("\n", " ") for text in tiny_corpus.read_text(encoding="utf-8").split("\n\n")}
    whole = {text.replace("\n", " ") for text in task.context._whole_documents()}  # type: ignore[attr-defined]
    assert len(whole) > 50
    assert whole <= texts


@pytest.mark.slow
def test_the_order_of_real_tales_is_told_from_a_shuffle(data: Path, tmp_path: Path) -> None:
    from textgym.benchmarks.scorers.order import discriminate, read_tales

    task = make_task(corpus=data / "fairytales/sentence_level_train.csv", field="text", cache_dir=tmp_path)
    tales = read_tales(data / "fairytales/sentence_level_test.csv")
    scorer = parse("order").bind(task.context)
    windows, stories = discriminate(scorer, tales, window=10, shuffles=2), discriminate(scorer, tales, shuffles=5)
    assert np.average(windows[:, 0], weights=windows[:, 1]) >= 0.76
    assert stories[:, 0].mean() >= 0.94
