"""Rewards as TRL calls them."""

import asyncio
import inspect
import pickle

import pytest

from textgym.errors import ScorerError, ScoringFailure
from textgym.interop import to_trl
from textgym.interop.trl import asynchronous


def called(reward, completions, prompts=None, **columns):
    """As GRPOTrainer does."""
    extra, metrics = {}, {}
    values = reward(
        prompts=prompts or ["p"] * len(completions),
        completions=completions,
        completion_ids=[[1, 2]] * len(completions),
        trainer_state=object(),
        log_extra=extra.__setitem__,
        log_metric=metrics.__setitem__,
        environments=object(),
        **columns,
    )
    return values, extra, metrics


def test_it_is_called_as_trl_calls():
    values, extra, metrics = called(to_trl("length - 2*distinct"), ["one two", "one one one"])
    assert values == [2 - 2 * 1.0, 3 - 2 * 0.5]
    assert extra == {"length": [2.0, 3.0], "distinct": [1.0, 0.5]}
    assert metrics == {"components/length": 2.5, "components/distinct": 0.75}


def test_columns_of_the_dataset_are_references_and_metadata(tmp_path):
    (tmp_path / "mine.py").write_text(
        "def score(completion, references, level):\n    return (completion in references) * level\n"
    )
    reward = to_trl(f"{tmp_path}/mine.py:score")
    values, extra, metrics = called(reward, ["a", "b"], answer=["a", "c"], level=[3, 5])
    assert values == [3.0, 0.0]
    assert (extra, metrics) == ({}, {})  # the only component is the reward
    assert called(reward, ["a", "b"], references=[["x", "a"], ["b"]], level=[3, 5])[0] == [3.0, 5.0]


def test_conversations_are_scored_by_their_text():
    chat = [[{"role": "assistant", "content": "one two three"}]]
    assert called(to_trl("length"), chat, [[{"role": "user", "content": "count"}]])[0] == [3.0]


def test_not_applicable_is_none():
    assert called(to_trl("rouge"), ["a", "b"], reference=["a", None])[0] == [1.0, None]


def test_a_failure_is_no_reward(tmp_path):
    (tmp_path / "mine.py").write_text("def score(text):\n    raise KeyError(text)\n")
    with pytest.raises(ScoringFailure, match="row 0 of 1"):
        called(to_trl(f"{tmp_path}/mine.py:score"), ["a"])


def test_terms_become_functions_with_weights():
    functions, weights = to_trl("length - 2*distinct", components=True)
    assert [function.__name__ for function in functions] == ["length", "distinct"]
    assert weights == [1.0, -2.0]
    parts = [called(function, ["one one one"])[0][0] for function in functions]
    assert (
        sum(w * part for w, part in zip(weights, parts, strict=True))
        == called(to_trl("length - 2*distinct"), ["one one one"])[0][0]
    )
    with pytest.raises(ScorerError, match="is no sum"):
        to_trl("length*distinct", components=True)


def test_it_has_a_name_and_pickles():
    reward = to_trl("length - distinct")
    assert reward.__name__ == "length - distinct"
    assert pickle.loads(pickle.dumps(reward)) == reward
    assert called(pickle.loads(pickle.dumps(reward)), ["one two"])[0] == [1.0]


def test_the_asynchronous_form_is_a_coroutine_function():
    score = asynchronous(to_trl("length"))
    assert inspect.iscoroutinefunction(score)
    assert score.__name__ == "length"
    assert asyncio.run(score(prompts=["p"], completions=["one two"], completion_ids=[[1]], level=[2])) == [2.0]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of TRL and what it stands on
def test_a_tiny_trainer_takes_two_steps(tmp_path):
    trl = pytest.importorskip("trl", reason="TRL is not installed: pip install 'textgym[peers]'")
    datasets = pytest.importorskip("datasets")
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = ["<pad>", "<eos>", "<unk>", *(f"w{i}" for i in range(29))]
    fast = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    fast.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=fast, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>", padding_side="left"
    )
    config = transformers.GPT2Config(vocab_size=32, n_positions=32, n_embd=16, n_layer=1, n_head=2, eos_token_id=1)
    functions, weights = to_trl("distinct - 0.1*length", components=True)
    trainer = trl.GRPOTrainer(
        model=transformers.GPT2LMHeadModel(config),
        processing_class=tokenizer,
        reward_funcs=functions,
        train_dataset=datasets.Dataset.from_list([{"prompt": "w1 w2"}] * 8),
        args=trl.GRPOConfig(
            output_dir=str(tmp_path), max_steps=2, per_device_train_batch_size=4, num_generations=4,
            max_completion_length=8, reward_weights=weights, report_to=[], use_cpu=True,
        ),
    )  # fmt: skip
    trainer.train()
    logged = {key for row in trainer.state.log_history for key in row}
    assert {"rewards/distinct/mean", "rewards/length/mean"} <= logged
