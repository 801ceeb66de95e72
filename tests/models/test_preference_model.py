"""Preference models: a planted preference is found again, pairs come from files and from gold, folders are whole."""

import json

import numpy as np
import pytest
import torch

from textgym import scorers as s
from textgym.envs.taskless import TasklessContext
from textgym.envs.tasks import make_task
from textgym.errors import CheckpointError, CorpusError, TaskError
from textgym.models.checkpoint import Checkpoint, load_checkpoint, new_model
from textgym.models.preference import LinearPreference, fit_linear, keep_pairs, load, measure
from textgym.models.preference_transformer import PreferenceConfig, fit_transformer
from textgym.models.text_models import load_text_model
from textgym.runs.gold_pairs import gold_pairs
from textgym.scorers.plain import OpenVocabulary, batch_of_texts
from textgym.scorers.reward import bind_reward
from textgym.testing.scorers import ODD_TEXTS, check_scorer
from textgym.text.labelled_files import Preference, read_preferences
from textgym.text.tokenizers import train_tokenizer
from textgym.types import PreferenceModel

WORTH = {"gold": 2.0, "silver": 1.0, "stone": 0.0, "mud": -1.0, "rot": -2.0}


def planted(count, seed=0, sure=False):
    """Pairs whose chosen side was drawn as Bradley and Terry have it: worth is the sum of the words' worths."""
    rng = np.random.default_rng(seed)
    names = list(WORTH)
    pairs = []
    for i in range(count):
        sides = [rng.choice(names, size=4).tolist() for _ in range(2)]
        margin = sum(WORTH[word] for word in sides[0]) - sum(WORTH[word] for word in sides[1])
        wins = margin > 0 if sure else rng.random() < 1 / (1 + np.exp(-margin))
        first, second = (" ".join(side) for side in (sides if wins else sides[::-1]))
        if first != second and (margin or not sure):
            pairs.append(Preference(f"prompt {i % 97}", first, second))
    return pairs


class Context(TasklessContext):
    """One with texts of its own, which the laws are tried on."""

    tokenizer = OpenVocabulary([*WORTH, "the"])

    def references(self):
        return batch_of_texts(["gold mud", "rot"], tokenizer=self.tokenizer)


@pytest.fixture(scope="module")
def model():
    return fit_linear(planted(600))


def test_a_planted_preference_is_found_again(model):
    found = model.strengths([""] * 5, list(WORTH))
    assert (np.diff(found) < 0).all(), "the order of the words"
    texts = [" ".join(np.random.default_rng(i).choice(list(WORTH), size=4)) for i in range(200)]
    worth = [sum(WORTH[word] for word in text.split()) for text in texts]
    assert np.corrcoef(model.strengths([""] * 200, texts), worth)[0, 1] > 0.95
    assert measure(model, planted(1000, seed=1, sure=True))["accuracy"] > 0.93


def test_it_is_as_sure_as_it_is_right(model):
    fresh = measure(model, planted(3000, seed=2))
    assert fresh["calibration"] < 0.06 and fresh["accuracy"] > 0.8 and fresh["logloss"] < 0.45


def test_a_coin_has_the_log_loss_of_a_coin():
    class Coin:
        signature = "coin"

        def strengths(self, prompts, completions):
            return np.zeros(len(completions))

    said = measure(Coin(), planted(100))
    assert said["accuracy"] == 0.5 and said["logloss"] == pytest.approx(np.log(2)) and said["calibration"] == 0.5


def test_what_relates_a_completion_to_its_prompt_counts():
    rng = np.random.default_rng(0)
    people, places = ["ann", "bob", "cy", "dee"], ["barn", "mill", "yard", "hill"]
    pairs = []
    for _ in range(300):
        who, (right, wrong) = rng.choice(people), rng.choice(places, 2, replace=False)
        texts = [f"{who} was in the {place} ." for place in (right, wrong)]
        pairs.append(Preference(f"{who} {right} , {rng.choice(people)} mill", *texts))
    assert fit_linear(pairs).metadata["accuracy"] > 0.95, "no word alone says which place was asked for"


def test_pairs_of_a_prompt_are_never_on_both_sides():
    pairs = planted(400)
    kept = keep_pairs(pairs, seed=0)
    sides = [
        {pair.prompt for pair, out in zip(pairs, kept, strict=True) if out is value} for value in map(np.bool_, (0, 1))
    ]
    assert not sides[0] & sides[1] and 0.1 < kept.mean() < 0.3
    few = [Preference("", pair.chosen, pair.rejected) for pair in pairs]
    assert keep_pairs(few, seed=0).sum() == round(0.2 * len(few))


def test_the_linear_model_comes_back_as_it_was_saved(model, tmp_path):
    model.save(tmp_path / "a")
    loaded = load_text_model(PreferenceModel, str(tmp_path / "a"))
    assert isinstance(loaded, LinearPreference) and loaded.metadata == model.metadata
    prompts, texts = ["the gold prompt"] * len(ODD_TEXTS), list(ODD_TEXTS)
    together = loaded.strengths(prompts, texts)
    assert together.tobytes() == model.strengths(prompts, texts).tobytes()
    assert together.tobytes() == np.concatenate([loaded.strengths(["the gold prompt"], [t]) for t in texts]).tobytes()
    fit_linear(planted(600, seed=9)).save(tmp_path / "b")
    assert loaded.signature != load(tmp_path / "b").signature and loaded.signature.startswith("preference:")
    assert loaded.strengths([], []).shape == (0,)


def test_the_scorer_keeps_the_laws_and_says_what_the_model_says(model, tmp_path):
    model.save(tmp_path)
    scorer = s.preference(str(tmp_path))
    check_scorer(scorer, Context())
    batch = batch_of_texts(["gold", "mud mud"], ["p", "q"])
    assert (
        scorer.bind(TasklessContext()).score(batch).values.tolist()
        == model.strengths(["p", "q"], ["gold", "mud mud"]).tolist()
    )
    assert load(tmp_path).signature in scorer.bind(TasklessContext()).signature


def trunk(pairs, seed=0):
    tokenizer = train_tokenizer("word", [text for p in pairs for text in (p.prompt, p.chosen, p.rejected)])
    network = new_model("tiny", vocab_size=tokenizer.vocab_size, context=16, seed=seed)
    return Checkpoint(network, tokenizer, {}, tokenizer.sep_id, tokenizer.eos_id)


@pytest.fixture(scope="module")
def network():
    pairs = planted(500)
    return fit_transformer(pairs, trunk(pairs), PreferenceConfig(epochs=10, learning_rate=2e-3))


def test_a_transformer_finds_a_planted_preference_too(network):
    assert measure(network, planted(500, seed=1, sure=True))["accuracy"] > 0.85
    assert network.metadata["accuracy"] > 0.7 and network.metadata["epochs"] >= 1


def test_the_transformer_comes_back_as_it_was_saved(network, tmp_path):
    network.save(tmp_path)
    loaded = load(tmp_path)
    prompts, texts = ["prompt 3"] * len(ODD_TEXTS), list(ODD_TEXTS)
    assert loaded.strengths(prompts, texts).tobytes() == network.strengths(prompts, texts).tobytes()
    alone = np.concatenate([loaded.strengths(["prompt 3"], [text]) for text in texts])
    assert np.abs(alone - loaded.strengths(prompts, texts)).max() < loaded.tolerance
    check_scorer(s.preference(str(tmp_path)), Context(), tolerance=1e-5)


def test_training_repeats_itself_and_leaves_the_trunk_as_it_was():
    pairs = planted(60)
    start = trunk(pairs)
    before = {name: tensor.clone() for name, tensor in start.model.state_dict().items()}
    config = PreferenceConfig(epochs=2)
    state = torch.random.get_rng_state()
    first, second = (fit_transformer(pairs, start, config) for _ in range(2))
    texts = ["gold mud", "stone"]
    assert first.strengths(["", ""], texts).tobytes() == second.strengths(["", ""], texts).tobytes()
    assert all(torch.equal(tensor, before[name]) for name, tensor in start.model.state_dict().items())
    assert torch.equal(state, torch.random.get_rng_state())


def test_what_does_not_fit_the_context_is_cut_prompt_first(network):
    long = "gold " * 100
    assert np.isfinite(network.strengths(["prompt " * 100, "p"], [long, long])).all()
    layout = network.network.lay_out([np.arange(3, 13, dtype=np.int32)], [np.arange(3, 11, dtype=np.int32)])
    assert layout.tokens.shape == (1, 16) and layout.tokens[0, :6].tolist() == [7, 8, 9, 10, 11, 12]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({"tokenizer": "other"}, "is not the tokenizer of this model"),
        ({"config": {}}, "does not hold this model"),
        ({"backend": "linear"}, "hold no features of texts|do not fit together|of different lengths"),
    ],
)
def test_a_folder_that_does_not_fit_together_is_refused(network, tmp_path, damage, message):
    network.save(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **damage}))
    with pytest.raises(CheckpointError, match=message):
        load(tmp_path)


def test_too_few_pairs_are_an_error():
    with pytest.raises(CorpusError, match="3 pairs are too few"):
        fit_linear([Preference("", "a", "b")] * 3)


def test_pairs_are_read_as_trl_has_them(tmp_path):
    def said(*contents):
        return [{"role": "user" if i % 2 == 0 else "assistant", "content": text} for i, text in enumerate(contents)]

    lines = [
        {"prompt": "p", "chosen": "a", "rejected": "b"},
        {"chosen": "a", "rejected": "b"},
        {"chosen": "same", "rejected": "same"},
        {"prompt": said("p"), "chosen": said("x", "a")[1:], "rejected": said("x", "b")[1:]},
        {"chosen": said("p", "q", "r", "a"), "rejected": said("p", "q", "r", "b")},
    ]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, lines)))
    read = [(pair.prompt, pair.chosen, pair.rejected) for pair in read_preferences(tmp_path / "pairs.jsonl")]
    assert read == [("p", "a", "b"), ("", "a", "b"), ("p", "a", "b"), ("p\nq\nr", "a", "b")]
    (tmp_path / "odd.jsonl").write_text('{"prompt": "p", "chosen": 1, "rejected": "b"}')
    with pytest.raises(CorpusError, match="row 1: 'chosen': text is expected"):
        read_preferences(tmp_path / "odd.jsonl")


@pytest.fixture(scope="module")
def story():
    return make_task("story")


def test_gold_says_which_of_two_stories_is_better(story):
    gold, sampler = bind_reward("gold.quality", story.context), load_checkpoint("story-small")
    pairs = gold_pairs(story, gold, sampler, 12, temperatures=(1.0, 1.4), seed=5)
    assert len(pairs) == 12 and pairs == gold_pairs(story, gold, sampler, 12, temperatures=(1.0, 1.4), seed=5)
    worth = [
        gold.score(
            batch_of_texts([getattr(p, side) for p in pairs], [p.prompt for p in pairs], tokenizer=story.tokenizer)
        ).values
        for side in ("chosen", "rejected")
    ]
    assert (worth[0] > worth[1]).all() and (worth[0] - worth[1]).min() < 0.1
    apart = gold_pairs(story, gold, sampler, 6, temperatures=(1.0, 1.4), margin=0.1, seed=5)
    assert len(apart) == 6


def test_a_gold_that_sees_no_difference_is_an_error(story):
    flat = bind_reward("clip(length, 0, 1) - clip(length, 0, 1)", story.context)
    with pytest.raises(TaskError, match="alike: give another --gold"):
        gold_pairs(story, flat, load_checkpoint("story-small"), 1)


@pytest.mark.slow
def test_a_thousand_labels_of_gold_teach_what_a_better_story_is(story):
    gold, sampler = bind_reward("gold.quality", story.context), load_checkpoint("story-small")
    pairs = gold_pairs(story, gold, sampler, 2250, temperatures=(0.7, 1.0, 1.4), margin=0.05)
    known = {pair.prompt for pair in pairs[:1250]}
    fresh = [pair for pair in pairs[1250:] if pair.prompt not in known]
    assert measure(fit_linear(pairs[:1250]), fresh)["accuracy"] > 0.72
