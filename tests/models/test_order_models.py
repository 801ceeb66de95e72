import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textgym.errors import CheckpointError, CorpusError, UnknownNameError
from textgym.models.entity_grid import EntityGrid
from textgym.models.lsa import LsaEmbedding
from textgym.models.order_models import fit_order_model, order_model_from_arrays
from textgym.models.sentence_marks import blocks, observe
from textgym.types import OrderModel

ANIMALS = ["fox", "wolf", "hen", "goat", "crow", "hare"]
THINGS = ["well", "barn", "mill", "oak", "gate", "field"]


def story(seed: int) -> list[str]:
    """One order only makes sense: an animal is introduced, goes somewhere, speaks, and goes home."""
    rng = np.random.default_rng(seed)
    animal, other = rng.choice(ANIMALS, 2, replace=False)
    thing = rng.choice(THINGS)
    return [
        f"Once there was a {animal} that was hungry.",
        f"So the {animal} went to a {thing} in the morning.",
        f"By the {thing} it met a {other}.",
        f'"Who are you?" asked the {other}.',
        '"I am your friend," it answered.',
        f"Then the {other} gave it some bread.",
        f"At last the {animal} went home and slept.",
    ]


STORIES = [story(seed) for seed in range(40)]
NEW = [story(seed) for seed in range(100, 130)]


@pytest.fixture(scope="module")
def embedding() -> LsaEmbedding:
    return LsaEmbedding.fit([" ".join(text) for text in STORIES], dims=8)


@pytest.fixture(scope="module", params=["order:lsa:8", "entity_grid"])
def model(request: pytest.FixtureRequest, embedding: LsaEmbedding) -> OrderModel:
    arrays = fit_order_model(request.param, STORIES, lambda name: embedding)
    return order_model_from_arrays(request.param, arrays, lambda name: embedding)


def accuracy(model: OrderModel) -> float:
    """How often a new story stands above a shuffle of it; half for a tie."""
    rng = np.random.default_rng(0)
    shuffled = [[text[i] for i in rng.permutation(len(text))] for text in NEW]
    real, other = model.log_odds(NEW), model.log_odds(shuffled)
    return float(((real > other) + 0.5 * (real == other)).mean())


def test_new_stories_stand_above_their_shuffles(model: OrderModel) -> None:
    assert accuracy(model) > (0.9 if model.signature.startswith("order") else 0.6)


@given(st.lists(st.lists(st.sampled_from([*NEW[0], *NEW[1], "Zebra!", "", "明月光。"]), max_size=9), max_size=6))
@settings(max_examples=30, deadline=None)
def test_a_text_scores_the_same_in_every_batch_bit_for_bit(model: OrderModel, texts: list[list[str]]) -> None:
    together = model.log_odds(texts)
    assert together.shape == (len(texts),)
    for row, text in enumerate(texts):
        assert model.log_odds([text])[0].tobytes() == together[row].tobytes()
        assert len(text) > 1 or together[row] == 0


def test_arrays_give_the_same_model_back(model: OrderModel, embedding: LsaEmbedding) -> None:
    name = "entity_grid" if isinstance(model, EntityGrid) else "order:lsa:8"
    again = order_model_from_arrays(name, model.to_arrays(), lambda name: embedding)  # type: ignore[attr-defined]
    assert again.signature == model.signature
    assert again.log_odds(NEW).tobytes() == model.log_odds(NEW).tobytes()
    assert copy.deepcopy(model) is model
    assert isinstance(model, OrderModel)


def test_fitting_twice_gives_the_same_model(model: OrderModel, embedding: LsaEmbedding) -> None:
    name = "entity_grid" if isinstance(model, EntityGrid) else "order:lsa:8"
    arrays = fit_order_model(name, STORIES, lambda name: embedding)
    assert order_model_from_arrays(name, arrays, lambda name: embedding).signature == model.signature


@pytest.mark.parametrize("name", ["order:lsa:8", "entity_grid"])
def test_what_cannot_be_used_is_an_error(name: str, embedding: LsaEmbedding) -> None:
    with pytest.raises(CorpusError, match="among 2 documents there are 1"):
        fit_order_model(name, [STORIES[0], ["One.", "Two."]], lambda name: embedding)
    with pytest.raises(CheckpointError, match=r"\['a'\]"):
        order_model_from_arrays(name, {"a": np.zeros(1)}, lambda name: embedding)
    arrays = fit_order_model(name, STORIES, lambda name: embedding) | {"meta": np.array([9])}
    with pytest.raises(CheckpointError, match="of format 9; this version reads 1"):
        order_model_from_arrays(name, arrays, lambda name: embedding)


@pytest.mark.parametrize("name", ["ordre:lsa:64", "entity_grid:3", "order", "order:"])
def test_a_name_that_is_none_is_answered_with_those_that_are(name: str, embedding: LsaEmbedding) -> None:
    with pytest.raises(UnknownNameError, match="model of order"):
        fit_order_model(name, STORIES, lambda name: embedding)


def test_transitions_by_hand() -> None:
    # "fox" stands in the first half, nowhere, in the second half: two transitions of one word that is not salient.
    weights = np.arange(18, dtype=np.float64)
    grid = EntityGrid(("the",), weights, np.zeros(1))
    assert grid.log_odds([["Fox ran far off.", "Rain fell.", "Dogs hunted another fox."]]) == pytest.approx(
        [(weights[3 * 2 + 0] + weights[3 * 0 + 1]) / 2]
    )
    assert grid.log_odds([["Fox ran.", "Rain fell."], ["Fox ran."], []]).tolist() == [0, 0, 0]


def test_the_marks_of_a_sentence_by_hand() -> None:
    seen = observe('"A fox saw the old Wolf, said he.', frozenset(("a", "the", "he", "said")))
    assert seen.mentions == (("fox", 0), ("saw", 0), ("old", 1), ("wolf", 4))  # "saw" is two words behind "a"
    assert {"word fox", "begins a", "begins a fox", "ends in .", "begins quoted", "opens a quotation"} <= set(
        seen.attributes
    )
    assert "closes a quotation" not in seen.attributes
    assert seen.odd
    assert not observe("", frozenset()).odd


def test_a_quotation_is_one_piece() -> None:
    text = ["He came.", '"Stay.', "Sit.", 'Eat," she said.', "He did."]
    assert blocks([observe(sentence, frozenset()) for sentence in text]) == [[0], [1, 2, 3], [4]]
    endless = ['"Oh.', *["And on."] * 20]
    assert max(map(len, blocks([observe(sentence, frozenset()) for sentence in endless]))) == 6
