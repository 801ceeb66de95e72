"""Data sets of reasoning-gym as tasks, by a small library of the same interface, and by the real one where it is."""

import sys
from types import SimpleNamespace

import gymnasium as gym
import pytest

import textgym  # noqa: F401 - registers the ids
from textgym.errors import MissingExtraError, ScoringFailure, TaskError
from textgym.interop.reasoning_gym import ReasoningGym


class Sums:
    """Entry i is drawn with seed + i, and a wrong answer that holds the right one gets a part of the credit."""

    def __init__(self, seed, size, largest=9):
        self.seed, self.size, self.largest = seed, size, largest

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        number = self.seed + index
        question = f"What is {number} plus {number % self.largest}?"
        return {"question": question, "answer": str(number + number % self.largest), "metadata": {"object": object()}}

    def score_answer(self, answer, entry):
        return 1.0 if answer == entry["answer"] else 0.25 if entry["answer"] in answer else 0.0


def create_dataset(name, seed, size, **config):
    if name != "sums":
        raise ValueError(f"Dataset '{name}' not registered")
    return Sums(seed, size, **config)


@pytest.fixture
def library(monkeypatch):
    monkeypatch.setitem(sys.modules, "reasoning_gym", SimpleNamespace(create_dataset=create_dataset))


def test_a_question_is_a_prompt_and_its_verifier_pays(library):
    sums = ReasoningGym("sums", size=40, heldout_size=8, seed=100)
    task = sums.task()
    assert (len(task.train), len(task.heldout)) == (40, 8)
    env = gym.make("TextGen-v0", task=task, reward=sums.score)
    _, info = env.reset(options={"prompt_index": 3})
    answer = task.train.references(3, task.tokenizer)[0]
    for token in [*task.tokenizer.encode(answer).tolist(), task.tokenizer.eos_id]:
        _, reward, terminated, _, info = env.step(token)
    assert (terminated, reward, info["text"]) == (True, 1.0, answer)


def test_partial_credit_is_the_proxy_and_the_whole_the_truth(library):
    sums = ReasoningGym("sums", size=4, heldout_size=2)
    where = {"reasoning_gym_index": 1, "reasoning_gym_split": "heldout"}
    right = sums.entries["heldout"][1]["answer"]
    assert (sums.score(f" {right}\n", where), sums.exact(right, where)) == (1.0, 1.0)
    assert (sums.score(f"{right} or so", where), sums.exact(f"{right} or so", where)) == (0.25, 0.0)


def test_no_heldout_question_is_trained_on(library):
    sums = ReasoningGym("sums", size=40, heldout_size=20)
    questions = {split: {r.prompt for r in sums.records if r.split == split} for split in ("train", "heldout")}
    assert not questions["train"] & questions["heldout"]


def test_what_the_library_does_not_know_is_said(library):
    with pytest.raises(TaskError, match="not registered"):
        ReasoningGym("summs")
    with pytest.raises(TaskError, match="unexpected keyword"):
        ReasoningGym("sums", config={"larges": 3})
    with pytest.raises(TaskError, match="at least 1 entry"):
        ReasoningGym("sums", size=0)
    with pytest.raises(TaskError, match="none of reasoning_gym-sums"):
        ReasoningGym("sums").score("1", {})


def test_without_the_library_there_is_the_install_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    with pytest.raises(MissingExtraError, match=r"needs reasoning-gym.*pip install"):
        ReasoningGym("sums")


def test_another_task_is_a_failure_and_no_zero(library, tiny_corpus):
    env = gym.make("TextGen-v0", corpus=str(tiny_corpus), reward=ReasoningGym("sums").score, max_new_tokens=1)
    env.reset(seed=0)
    with pytest.raises(ScoringFailure, match="none of reasoning_gym-sums"):
        env.step(5)


def test_a_real_data_set_pays_its_own_answers():
    pytest.importorskip("reasoning_gym", reason="reasoning-gym is not installed")
    sums = ReasoningGym("basic_arithmetic", size=20, heldout_size=5)
    for record in sums.records:
        assert sums.exact(record.references[0], record.metadata) == 1.0
