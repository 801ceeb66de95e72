import dataclasses
import json
import logging
import os
import subprocess
import sys

import numpy as np
import pytest
from envs_samples import IdSum, small_task

import textgym
from textgym.envs import context as context_module
from textgym.envs import tasks as tasks_module
from textgym.envs.context import TaskContext
from textgym.envs.tasks import make_task, register_task, task_names
from textgym.envs.textgen import TextGenEnv
from textgym.errors import CorpusError, TaskError, TokenizerError, UnknownNameError
from textgym.models.ngram import KneserNey
from textgym.testing import check_task
from textgym.text.corpora import CorpusSource
from textgym.text.store import ArrayStore
from textgym.text.tokenizers import save_tokenizer

STORY = """Anna went to the market with {0} apples. She sold them to a friend of her mother. The friend was happy.

{0} days later the market was closed. Nobody knew why the gate was shut. Anna waited in the rain for her friend.
"""


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    path = tmp_path_factory.mktemp("story") / "story.txt"
    names = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "twenty", "fifty", "many")
    path.write_text("\n".join(STORY.format(name) for name in names), encoding="utf-8")
    return path


@pytest.fixture
def fresh_process(monkeypatch):
    """As if this process had made no task yet."""
    monkeypatch.setattr(tasks_module, "_tasks", {})


def test_a_corpus_makes_a_task_of_its_name(story):
    task = make_task(corpus=story, vocab_size=300)
    assert task.name == "story.txt" and task.source == str(story)
    assert task.signature.startswith("story.txt:")
    assert task.tokenizer.vocab_size <= 300
    check_task(task)


def test_the_conformance_check_finds_a_leaking_split(task):
    with pytest.raises(AssertionError, match="both splits"):
        check_task(dataclasses.replace(task, heldout=task.train, reward="length"))


def test_the_same_settings_give_the_same_task_and_others_another(story):
    task = make_task(corpus=story)
    assert make_task(corpus=str(story)) is task
    assert make_task(corpus=story, max_new_tokens=32) is not task
    assert make_task(corpus=story, max_new_tokens=32).signature != task.signature


def test_a_changed_corpus_is_noticed(tmp_path):
    path = tmp_path / "letters.txt"
    path.write_text("a b c d e f g\n\nb a c d e f g\n", encoding="utf-8")
    before = make_task(corpus=path)
    path.write_text("a b c d e f g\n\nb a c d e f h\n", encoding="utf-8")
    assert make_task(corpus=path).signature != before.signature


def test_a_second_make_neither_reads_nor_fits(story, tmp_path, monkeypatch, fresh_process):
    reward = "fluency(lm='ngram:3') + fluency(lm='unigram')"
    first = TextGenEnv(corpus=str(story), reward=reward, cache_dir=str(tmp_path))
    monkeypatch.setattr(tasks_module, "_tasks", {})

    def forbidden(*args, **kwargs):
        raise AssertionError("this was cached")

    monkeypatch.setattr(CorpusSource, "load", forbidden)
    monkeypatch.setattr(tasks_module, "train_tokenizer", forbidden)
    monkeypatch.setattr("textgym.envs.context.fit_language_model", forbidden)
    second = TextGenEnv(corpus=str(story), reward=reward, cache_dir=str(tmp_path))
    assert second.task is not first.task
    assert second.reward.signature == first.reward.signature
    assert np.array_equal(second.reset(seed=1)[0], first.reset(seed=1)[0])


def test_a_truncated_cache_file_is_made_again(story, tmp_path, monkeypatch, fresh_process):
    first = make_task(corpus=story, cache_dir=tmp_path)
    for file in tmp_path.iterdir():
        file.write_bytes(file.read_bytes()[:100])
    monkeypatch.setattr(tasks_module, "_tasks", {})
    second = make_task(corpus=story, cache_dir=tmp_path)
    assert second is not first and second.tokenizer.signature == first.tokenizer.signature


def test_a_cache_that_cannot_be_written_is_done_without(story, tmp_path, fresh_process):
    (tmp_path / "file").write_text("")
    assert len(make_task(corpus=story, cache_dir=tmp_path / "file").train)


def test_references_are_training_texts_that_no_model_was_fitted_on(task, monkeypatch):
    def texts(prompts, rows):
        return {(prompts.prompt_text(i, task.tokenizer), prompts.reference_text(i, task.tokenizer)) for i in rows}

    fitted = []
    monkeypatch.setattr(context_module, "fit_language_model", lambda name, rows, **_: fitted.extend(rows) or fit(rows))

    def fit(rows):
        return KneserNey.fit(rows, vocab_size=task.tokenizer.vocab_size, order=2).to_arrays()

    fresh = TaskContext("t", task.tokenizer, {"train": task.train, "heldout": task.heldout}, "t", ArrayStore(None))
    fresh.language_model("ngram:2")
    references = fresh.references()
    yardstick = set(zip(references.prompt_texts, references.completion_texts, strict=True))
    assert 0 < len(yardstick) < len(task.train)
    assert yardstick <= texts(task.train, range(len(task.train)))
    assert not yardstick & texts(task.heldout, range(len(task.heldout)))
    learned = "".join(task.tokenizer.decode(row) + "\n" for row in fitted)
    assert fitted and not any(prompt + completion in learned for prompt, completion in yardstick)


def test_references_are_a_fixed_sample_with_themselves_as_reference(task):
    batch = task.context.references()
    assert [row[0] for row in batch.references] == batch.completion_texts
    assert batch.completion_texts == task.context.references().completion_texts


def test_observations_are_as_long_as_the_longest_prompt_asks_for(story):
    task = make_task(corpus=story, max_prompt_tokens=5, on_long_prompt="truncate", max_new_tokens=20)
    assert task.observation_length == 5 + 1 + 20
    with pytest.raises(TaskError, match="max_prompt_tokens=2"):
        make_task(corpus=story, max_prompt_tokens=2, on_long_prompt="error")


def test_a_tokenizer_may_come_from_a_file(story, task, tmp_path):
    save_tokenizer(task.tokenizer, tmp_path / "tokenizer.json")
    again = make_task(corpus=story, tokenizer=str(tmp_path / "tokenizer.json"), on_long_prompt="truncate")
    assert again.tokenizer.signature == task.tokenizer.signature
    with pytest.raises(TokenizerError, match="cannot read"):
        make_task(corpus=story, tokenizer=str(tmp_path / "missing.json"))


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"task": "docstring"}, UnknownNameError, "Did you mean 'docstrings'"),
        ({"corpus": "nowhere.txt"}, CorpusError, "nowhere.txt"),
        ({"task": "docstrings", "corpus": "x.txt"}, TaskError, "exclude each other"),
        ({"field": "text"}, TaskError, "no corpus is given"),
        ({"tokenizer": "bep"}, UnknownNameError, "Did you mean 'bpe'"),
        ({"max_new_tokens": 0}, TaskError, "max_new_tokens=0: an integer of at least 1"),
        ({"on_long_prompt": "cut"}, TaskError, "allowed are 'error', 'truncate', 'skip'"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, error, said):
    with pytest.raises(error) as caught:
        make_task(**settings)
    assert said in str(caught.value)


def test_a_registered_task_is_found_by_name(letters_folder, monkeypatch):
    monkeypatch.setattr(tasks_module, "_builders", dict(tasks_module._builders))

    @textgym.register_task("letters")
    def letters(settings):
        return dataclasses.replace(small_task(letters_folder), name="letters", reward="length")

    assert "letters" in task_names() and "docstrings" in task_names()
    assert make_task("letters").name == "letters"
    assert TextGenEnv(task="letters").reward.text == "length"
    with pytest.raises(UnknownNameError, match="Did you mean 'letters'"):
        make_task("leters")
    with pytest.raises(TaskError, match="registered already"):
        register_task("letters")


def test_a_task_object_leaves_no_room_for_other_settings(task):
    assert make_task(task) is task
    with pytest.raises(TaskError, match="leave out vocab_size, max_new_tokens"):
        make_task(task, vocab_size=100, max_new_tokens=5)


def test_fitting_says_what_it_is_doing(story, tmp_path, caplog, fresh_process):
    with caplog.at_level(logging.INFO, logger="textgym"):
        TextGenEnv(corpus=str(story), reward="fluency(lm='ngram:2')", cache_dir=str(tmp_path))
    assert [record.getMessage() for record in caplog.records] == [
        "training a tokenizer on story.txt",
        "finding prompts in story.txt",
        "fitting ngram:2 on story.txt",
    ]


CHILD = """
import sys, json, gymnasium, textgym
env = gymnasium.make("TextGen-v0", corpus=sys.argv[1], reward="fluency(lm='ngram:2') + distinct(n=2)")
env.reset(seed=0)
done = False
while not done:
    done = env.step(5)[2]
vector = gymnasium.make_vec("TextGen-v0", num_envs=2, corpus=sys.argv[1], reward="length")
vector.reset(seed=0)
heavy = ("torch", "transformers", "sklearn", "scipy", "stable_baselines3", "tokenizers", "sacrebleu", "matplotlib")
print(json.dumps([name for name in heavy if name in sys.modules]))
"""


def test_making_and_stepping_loads_nothing_heavy_and_speaks_only_the_first_time(story, tmp_path):
    environment = {**os.environ, "TEXTGYM_CACHE": str(tmp_path)}
    runs = [
        subprocess.run([sys.executable, "-c", CHILD, str(story)], env=environment, capture_output=True, text=True)
        for _ in range(2)
    ]
    assert [run.returncode for run in runs] == [0, 0], runs[0].stderr + runs[1].stderr
    assert "textgym: training a tokenizer on story.txt" in runs[0].stderr
    assert runs[1].stderr == ""
    assert set(json.loads(runs[0].stdout)) <= {"tokenizers"}, "training a BPE needs its library, and nothing else does"
    assert json.loads(runs[1].stdout) == []


def test_an_environment_of_a_corpus_plays(story):
    env = TextGenEnv(corpus=str(story), reward=IdSum())
    env.reset(seed=0)
    assert env.step(2)[2]


def test_the_hash_of_a_corpus_does_not_depend_on_what_is_made_of_it(story):
    first, second = make_task(corpus=story), make_task(corpus=story, tokenizer="word", max_new_tokens=9)
    assert first.corpus_hash == second.corpus_hash != ""
    assert first.signature != second.signature
