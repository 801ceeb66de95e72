"""Rewards as OpenRLHF calls them."""

import math

import pytest

from textgym.errors import ScoringFailure
from textgym.interop.openrlhf import OpenRLHFReward
from textgym.interop.portable_reward import portable

torch = pytest.importorskip("torch")

CHAT = "<|im_start|>user\nadd 1 and 2<|im_end|>\n<|im_start|>assistant\n"


def test_rewards_scores_and_logs_are_tensors():
    reward = OpenRLHFReward(portable("distinct - 2*repetition(n=1)"))
    told = reward(["ask:one two</s>", "ask:go go</s>"], ["ask:", "ask:"], ["one two", None], extra=1)
    assert told["rewards"].tolist() == pytest.approx([1.0, 1.0 - 2 * 0.5])
    assert told["scores"].tolist() == pytest.approx([(1 + 2) / 3, (0 + 2) / 3])  # the range is [-2, 1]
    assert told["extra_logs"]["repetition"].tolist() == [0.0, 0.5]
    assert all(tensor.dtype == torch.float32 for tensor in (told["rewards"], told["scores"]))


def test_an_unbounded_reward_is_its_own_score():
    told = OpenRLHFReward(portable("length"))(["ask:one two"], ["ask:"], None)
    assert told["scores"].tolist() == told["rewards"].tolist() == [2.0]


def test_labels_are_what_a_response_may_resemble():
    told = OpenRLHFReward(portable("default(rouge, 0)"))(["q: yes", "q: yes"], ["q:", "q:"], ["yes", None])
    assert told["rewards"].tolist() == [1.0, 0.0]
    assert math.isnan(told["extra_logs"]["rouge"][1])


@pytest.mark.parametrize(
    ("query", "prompt", "response"),
    [
        (CHAT + "3<|im_end|>", CHAT, "3"),
        ("<|begin_of_text|>ask me 3<|eot_id|><|end_of_text|>", "ask me", " 3"),
        ("<pad><pad><s> ask me 3</s><pad>", "ask me", " 3"),
        ("ask me 3", "<s>ask me", " 3"),
        ("ask me </s> is a tag", "ask me", " </s> is a tag"),
        ("askask 3", "ask", "ask 3"),
        ("no prompt at all", "", "no prompt at all"),
        ("ask me", "ask me", ""),
    ],
)
def test_the_response_is_what_stands_behind_the_prompt(query, prompt, response):
    assert OpenRLHFReward(portable("length")).response(query, prompt) == response


def test_a_prompt_that_is_not_there_is_an_error():
    with pytest.raises(ScoringFailure, match="does not stand in the query"):
        OpenRLHFReward(portable("length"))(["something else"], ["ask me"], [None])
