"""Rewards as verl calls them: a function, and a manager that pays every token."""

import asyncio
import math

import pytest

from textgym.errors import ScoringFailure
from textgym.interop.portable_reward import portable
from textgym.interop.spans import token_spans
from textgym.interop.verl import VerlReward, VerlRewardManager

torch = pytest.importorskip("torch")


class Letters:
    """A tokenizer as verl's, with a token a letter: 1 pads, 2 ends."""

    def decode(self, ids, skip_special_tokens=False):
        assert skip_special_tokens
        return "".join(chr(int(i)) for i in ids if i > 2)

    def encode(self, text):
        return [ord(letter) for letter in text]


class Item:
    def __init__(self, batch, non_tensor_batch):
        self.batch, self.non_tensor_batch = batch, non_tensor_batch


class Proto:
    """The fields of verl's DataProto that a reward manager reads."""

    def __init__(self, prompts, responses, **columns):
        width, depth = max(map(len, prompts)), max(map(len, responses)) + 2
        rows = [[1] * (width - len(p)) + p for p in prompts], [r + [1] * (depth - len(r)) for r in responses]
        mask = [
            [0] * (width - len(p)) + [1] * (len(p) + len(r)) + [0] * (depth - len(r))
            for p, r in zip(prompts, responses, strict=True)
        ]
        self.batch = dict(zip(("prompts", "responses"), map(torch.tensor, rows), strict=True))
        self.batch["attention_mask"] = torch.tensor(mask)
        self.columns = columns

    def __len__(self):
        return len(self.batch["responses"])

    def __getitem__(self, row):
        if isinstance(row, slice):
            chosen = range(*row.indices(len(self)))
            assert len(chosen) == 1
            return Single(self[chosen[0]])
        tensors = {name: tensor[row] for name, tensor in self.batch.items()}
        return Item(tensors, {name: column[row] for name, column in self.columns.items()})


class Single:
    def __init__(self, item):
        self.item = item

    def __len__(self):
        return 1

    def __getitem__(self, row):
        assert row == 0
        return self.item


def proto(texts, prompts=None, **columns):
    encode = Letters().encode
    return Proto([encode(p) for p in prompts or ["ask"] * len(texts)], [[*encode(t), 2] for t in texts], **columns)


def test_a_sample_is_a_dictionary_with_the_same_keys_always():
    reward = VerlReward(portable("default(rouge, 0) - 0.5*length"))
    scored = reward(data_source="d", solution_str="one two", ground_truth="one two", extra_info={"index": 3})
    assert scored == {"score": 0.0, "rouge": 1.0, "length": 2.0}
    without = reward("d", "one two", None, None, reward_router_address="x")
    assert without.keys() == scored.keys()
    assert math.isnan(without["rouge"])
    assert without["score"] == -1.0


def test_prompt_ground_truth_and_the_rest_reach_the_scorer(tmp_path):
    (tmp_path / "mine.py").write_text(
        "def score(prompt, completion, references, ground_truth, level):\n"
        "    return len(prompt) + 10 * (completion in references) + 100 * (ground_truth == 7) + 1000 * level\n"
    )
    reward = VerlReward(portable(f"{tmp_path}/mine.py:score"))
    assert reward("d", "7", 7, {"question": "why", "level": 1}) == {"score": 1113.0, "component_score": 1113.0}
    conversation = [{"role": "user", "content": "why not"}]
    assert reward("d", "8", 7, {"prompt": conversation, "level": 0})["score"] == 107.0


def test_a_batch_is_scored_at_once():
    reward = VerlReward(portable("length"))
    assert [row["score"] for row in reward.batch(["d"] * 2, ["one", "one two"], [None] * 2, [None, {}])] == [1.0, 2.0]


def test_not_applicable_is_an_error_and_no_zero():
    with pytest.raises(ScoringFailure, match=r"default\(x, value\)"):
        VerlReward(portable("rouge"))("d", "a", None)


class Manager(VerlRewardManager):
    reward = portable("length - 2*repetition(n=1)")


TEXTS = ["one two three", "go go go go"]
COLUMNS = {
    "data_source": ["d", "d"],
    "reward_model": [{"ground_truth": "x"}, {}],
    "extra_info": [{"index": 0}, None],
    "raw_prompt": [[{"role": "user", "content": "ask"}], "ask"],
}


def test_a_manager_pays_every_token_and_the_sum_is_the_reward():
    manager = Manager(tokenizer=Letters(), num_examine=0, compute_score=None, reward_fn_key="data_source")
    data = proto(TEXTS, **COLUMNS)
    told = manager(data, return_dict=True)
    rewards, info = told["reward_tensor"], told["reward_extra_info"]
    expected = portable("length - 2*repetition(n=1)").rewards(None, TEXTS)
    assert rewards.shape == data.batch["responses"].shape
    assert rewards.dtype == torch.float32
    assert rewards.sum(1).tolist() == pytest.approx(expected.values, abs=1e-6)
    assert info["score"] == expected.values
    assert info["length"] == [3.0, 4.0]
    assert torch.equal(manager(data), rewards)


def test_a_word_pays_its_letters_and_the_padding_nothing():
    manager = Manager(tokenizer=Letters())
    rewards = manager(proto(["one two three"], **{name: column[:1] for name, column in COLUMNS.items()}))[0]
    assert rewards[:3].tolist() == pytest.approx([1 / 3] * 3)  # "one" earns 1
    assert rewards[3:7].sum().item() == pytest.approx(1)  # " two"
    assert rewards[13:].tolist() == [0.0] * 3  # EOS: nothing is left for the end; then padding


def test_the_reward_loop_asks_for_one_sample_at_a_time():
    manager = Manager(config=object(), tokenizer=Letters(), compute_score=None, reward_router_address=None)
    data = proto(TEXTS, **COLUMNS)
    told = [asyncio.run(manager.run_single(data[row : row + 1])) for row in range(2)]
    assert len(told[0]["reward_score"]) == len("one two three") + 1
    assert told[1]["reward_extra_info"].keys() == told[0]["reward_extra_info"].keys() >= {"score", "length"}
    laid_out = Manager.assemble_rm_scores(data, [one["reward_score"] for one in told])
    assert torch.equal(laid_out, manager(data))


def test_a_prompt_that_is_only_ids_is_decoded(tmp_path):
    (tmp_path / "mine.py").write_text("def score(prompt, completion):\n    return len(prompt)\n")

    class Prompted(VerlRewardManager):
        reward = portable(f"{tmp_path}/mine.py:score")

    data = proto(["a", "b"], ["four", "sixsix"], data_source=["d", "d"], reward_model=[{}, {}])
    assert Prompted(tokenizer=Letters())(data).sum(1).tolist() == [4.0, 6.0]


def test_a_response_of_nothing_but_eos_pays_eos():
    data = proto([""], data_source=["d"], reward_model=[{}])
    assert Manager(tokenizer=Letters())(data)[0].sum().item() == 0.0
    assert token_spans(lambda ids: Letters().decode(ids, True), [2], "") == [(0, 0)]
