"""Tasks of prompt files: what episodes, scorers and models get of references and metadata."""

import json
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from textgym.envs.tasks import make_task
from textgym.envs.textgen import TextGenEnv
from textgym.envs.vector import TextGenVectorEnv
from textgym.errors import ScorerError, TaskError
from textgym.scorers.reward import bind_reward
from textgym.testing import check_env, check_task, check_vector_env
from textgym.text.prompt_sets import RecordSet
from textgym.types import TextBatch

EOS = 2
WORDS = ("dog", "cat", "ball", "sun", "moon", "tree", "house", "river", "stone", "bird", "fish", "road")


def rows(references: bool = True) -> list[dict]:
    made = []
    for i in range(60):
        one, two = WORDS[i % 12], WORDS[(i * 5 + i // 12 + 1) % 12]
        row = {"prompt": f"{one} {two} {i}", "concepts": [one, two]}
        made.append(
            {**row, "references": [f"The {one} saw a {two}.", f"A {two} was near the {one}."]} if references else row
        )
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("prompts")
    for name, given in (
        ("full", rows()),
        ("bare", rows(references=False)),
        ("some", [*rows()[:59], *rows(False)[59:]]),
    ):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in given), encoding="utf-8")
    return folder


def make(folder: Path, name: str = "full", **settings) -> TextGenEnv:
    settings = {"max_new_tokens": 12, **settings}
    return TextGenEnv(prompts=str(folder / f"{name}.jsonl"), tokenizer="word", **settings)


def test_a_prompt_file_makes_a_task_that_keeps_the_contract(folder):
    env = make(folder)
    assert env.task.name == "full.jsonl" and isinstance(env.task.train, RecordSet)
    assert (len(env.task.train), len(env.task.heldout)) == (54, 6)
    check_task(env.task)
    assert make_task(prompts=folder / "full.jsonl", tokenizer="word", max_new_tokens=12) is env.task


def test_environments_of_a_prompt_file_keep_the_contract(folder):
    check_env(gym.make("TextGen-v0", prompts=str(folder / "full.jsonl"), tokenizer="word", max_new_tokens=9))
    check_vector_env(
        lambda: make(folder, reward="chrf + keywords"),
        lambda mode: TextGenVectorEnv(4, task=make(folder).task, reward="chrf + keywords", autoreset_mode=mode),
        steps=40,
    )


def play(env: TextGenEnv, text: str, index: int) -> tuple[float, dict]:
    env.reset(options={"prompt_index": index})
    for token in [*env.task.tokenizer.encode(text).tolist(), EOS]:
        _, reward, over, _, info = env.step(token)
    assert over
    return reward, info


def test_scorers_get_the_references_verbatim_and_the_metadata(folder):
    seen: list[TextBatch] = []
    env = make(folder, reward=lambda batch: seen.append(batch) or [0.0] * len(batch))
    play(env, "The dog", 3)
    record = json.loads(env.task.train.known.tobytes()[: env.task.train.known_ends[1]])
    assert record[0][0].startswith("The ") and record[1].keys() == {"concepts"}
    expected = next(row for row in rows() if row["prompt"] == env.task.train.prompt_text(3, env.task.tokenizer))
    assert seen[0].references[0] == tuple(expected["references"])
    assert seen[0].metadata[0] == {"concepts": expected["concepts"]}


def test_a_function_may_ask_for_a_field_of_the_metadata(folder):
    def coverage(completion: str, concepts: list[str]) -> float:
        return sum(word in completion for word in concepts) / len(concepts)

    env = make(folder, reward=coverage)
    first, second = env.task.train.metadata(5)["concepts"]
    assert play(env, f"a {first}", 5)[0] == 0.5
    assert play(env, f"a {first} {second}", 5)[0] == 1.0
    assert make(folder, reward="keywords").reward.text.startswith("keywords")


def test_reference_scorers_take_the_best_of_all_references(folder):
    env = make(folder, reward="exact_match")
    for reference in env.task.train.references(2, env.task.tokenizer):
        assert play(env, reference, 2)[0] == 1.0
    assert play(env, "The dog", 2)[0] == 0.0


def test_a_prompt_of_the_users_own_has_no_references_and_no_metadata(folder):
    seen: list[TextBatch] = []
    env = make(folder, reward=lambda batch: seen.append(batch) or [0.0] * len(batch))
    env.reset(options={"prompt": "dog cat"})
    env.step(EOS)
    assert seen[0].references[0] == () and seen[0].metadata[0] == {}


def test_the_yardstick_compares_each_reference_with_the_others_of_its_prompt(folder):
    references = make(folder).task.context.references()
    for text, others in zip(references.completion_texts, references.references, strict=True):
        assert len(others) == 1 and text not in others
    assert all(row.keys() == {"concepts"} for row in references.metadata)


def test_models_are_fitted_to_references_and_read_no_prompts(folder):
    context = make(folder).task.context
    tokenizer = context.tokenizer
    model = context.language_model("ngram:3")
    said = tokenizer.encode("The dog")
    other = [tokenizer.encode(text) for text in ("dog cat 3", "stone stone stone")]
    scores = model.logprobs(other, [said, said])
    assert np.array_equal(scores[0], scores[1])
    number = tokenizer.encode("cat 3")[1:]
    assert model.logprobs([other[0]], [number])[0, 0] < model.logprobs([other[0]], [said])[0, 0] - 2


def test_a_stream_of_such_a_model_is_the_model(folder):
    context = make(folder).task.context
    model, ids = context.language_model("ngram:3"), context.tokenizer.encode("The dog saw a cat.")
    prompt = context.tokenizer.encode("moon sun 9")
    stream = model.stream([prompt, prompt])
    stream.advance(np.array([5, 6]))
    stream.restart(np.array([0, 1]), [prompt, prompt])
    streamed = [stream.advance(np.array([index, -1]))[0] for index in ids.tolist()]
    assert np.allclose(streamed, model.logprobs([prompt], [ids])[0])


def test_prompts_without_references_play_with_rewards_that_need_none(folder):
    env = make(folder, "bare", reward="keywords - repetition")
    first, second = env.task.train.metadata(0)["concepts"]
    assert play(env, f"{first} {second}", 0)[0] == 1.0


@pytest.mark.parametrize("reward", ["fluency", "coherence", "standard(length)", None])
def test_scorers_that_need_a_model_say_that_there_are_no_references(folder, reward):
    with pytest.raises(ScorerError, match=r"training prompts of 'bare\.jsonl' have no references"):
        make(folder, "bare", reward=reward)


def test_a_prompt_without_references_among_others_is_noticed_when_the_reward_is_bound(folder):
    for name in ("bare", "some"):
        with pytest.raises(ScorerError, match=r"default\(bleu, 0\)"):
            make(folder, name, reward="bleu")
    assert make(folder, "some", reward="default(bleu, 0)").reward
    with pytest.raises(ScorerError, match="default"):
        bind_reward("keywords(field='topic')", make(folder).task.context)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"corpus": "x.txt", "prompts": "y.jsonl"}, "corpus and prompts exclude each other"),
        ({"task": "docstrings", "prompts": "y.jsonl"}, "task and prompts exclude each other"),
        ({"field": "a:b"}, "no corpus is given"),
    ],
)
def test_settings_that_exclude_each_other_are_refused(settings, said):
    with pytest.raises(TaskError, match=said):
        make_task(**settings)


REAL = {
    "commongen/commongen.dev.jsonl": ("concept_set:scene", 993, "reason", {}),
    "e2e_nlg/devset.csv": ("mr:ref", 547, None, {}),
    "gsm8k/dev/test.jsonl": ("question:answer", 1319, None, {"max_new_tokens": 200}),
}


@pytest.mark.parametrize("name", REAL)
def test_real_files_of_prompts_make_tasks(data, name):
    field, prompts, metadata, settings = REAL[name]
    env = gym.make("TextGen-v0", prompts=str(data / name), field=field, vocab_size=600, reward="chrf", **settings)
    task = env.unwrapped.task
    check_task(task)
    assert len(task.train) + len(task.heldout) == prompts
    assert all(task.train.references(i, task.tokenizer) for i in range(len(task.train)))
    assert set(task.train.metadata(0)) == ({metadata} if metadata else set())
    _, _ = env.reset(seed=0)
    index = env.unwrapped._index
    reference = task.train.references(index, task.tokenizer)[0]
    for token in task.tokenizer.encode(reference)[: task.max_new_tokens - 1].tolist():
        env.step(token)
    assert env.step(EOS)[1] > 0.8
