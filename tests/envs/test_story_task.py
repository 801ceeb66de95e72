"""The story world as a task: the default of TextGen-v0, its truth in every last info, its prompts checked."""

import gymnasium as gym
import numpy as np
import pytest

import textgym
from textgym.envs.story import STORIES, StoryText
from textgym.envs.tasks import make_task
from textgym.errors import TaskError
from textgym.testing import check_env, check_task
from textgym.worlds.story.gold import AXES
from textgym.worlds.story.world import story_world

NAMES = ["story", "story-base", "story-zh", "story-base-zh"]


def play(env, ids):
    """The last observation, reward, flags and info of an episode of these tokens; rewards summed."""
    total = 0.0
    for token in ids:
        _, reward, terminated, _, info = env.step(int(token))
        total += reward
    assert terminated
    return total, info


def test_the_default_task_is_the_story_world():
    env = gym.make("TextGen-v0")
    assert env.unwrapped.task is make_task("story")
    assert set(NAMES) <= set(textgym.task_names())


@pytest.mark.parametrize("name", NAMES)
def test_every_world_is_a_sound_task(name):
    task = make_task(name)
    check_task(task)
    assert len(task.train) == STORIES["train"] and len(task.heldout) == STORIES["heldout"]
    assert task.max_new_tokens == task.world.max_tokens
    assert max(task.train.reference_lengths) <= task.max_new_tokens


def test_no_situation_of_the_heldout_briefs_occurs_in_training():
    task = make_task("story")
    keys = {
        split: {task.world.brief(prompts.prompt(i)).key() for i in range(len(prompts))}
        for split, prompts in (("train", task.train), ("heldout", task.heldout))
    }
    assert len(keys["train"]) == STORIES["train"] and not keys["train"] & keys["heldout"]


@pytest.mark.parametrize("delivery", ["terminal", "per_token", "shaped"])
def test_gold_is_told_at_the_end_whatever_is_paid_and_paid_gold_adds_up(delivery):
    env = gym.make("TextGen-v0", reward="gold.quality + 0.1*gold.fluency", delivery=delivery)
    task = env.unwrapped.task
    for index in range(8):
        env.reset(seed=index, options={"prompt_index": index})
        total, info = play(env, task.train.reference(index))
        assert {key for key in info if key.startswith("gold/")} == {f"gold/{axis}" for axis in AXES}
        assert total == pytest.approx(info["gold/quality"] + 0.1 * info["gold/fluency"], abs=1e-9)


def test_gold_stands_in_the_infos_of_a_vector_environment():
    envs = gym.make_vec("TextGen-v0", num_envs=4, reward="length")
    envs.reset(seed=0)
    eos = envs.unwrapped.task.tokenizer.eos_id
    *_, infos = envs.step(np.full(4, eos))
    assert infos["gold/quality"].tolist() == [0.0] * 4 and infos["_gold/quality"].all()


def test_a_brief_may_be_given_and_what_is_none_is_refused_at_reset():
    env = gym.make("TextGen-v0")
    task = env.unwrapped.task
    brief = "kitchen barn mill tower | sam kitchen , ann barn , blue knife sam , red cup mill , grey coin barn"
    env.reset(options={"prompt": brief})
    story = " sam was in the kitchen . he had the blue knife . the end ."
    _, info = play(env, [*task.tokenizer.encode(story), task.tokenizer.eos_id])
    assert info["gold/information"] == pytest.approx(3 / 8) and info["gold/coherence"] == 1.0
    for wrong, why in (
        (brief.replace("ann barn", "sam barn"), "names a person twice"),
        (brief.replace("sam kitchen", "zorro kitchen"), "a person is expected"),
        (brief.replace("red cup mill", "red cup attic"), "'attic' is not among those that it names"),
        ("sam went home", "a place is expected"),
        ("", "empty"),
    ):
        with pytest.raises(TaskError, match=why):
            env.reset(options={"prompt": wrong})


@pytest.mark.parametrize("name", NAMES)
def test_gymnasium_and_textgym_accept_every_world(name):
    check_env(gym.make("TextGen-v0", task=name).unwrapped)


def test_the_same_world_gives_the_same_stories_and_another_knob_others():
    world = story_world()
    one, two, other = (StoryText("story", world, noise) for noise in (0.04, 0.04, 0.1))
    assert one.fingerprint == two.fingerprint != other.fingerprint
    assert one.records[:50] == two.records[:50] != other.records[:50]
