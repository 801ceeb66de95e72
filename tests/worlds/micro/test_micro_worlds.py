"""TextGenMicro-v0 and its tasks: sizes, thresholds, specs, and that rows equal single environments."""

import copy
import itertools
import json
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env as gymnasium_check_env
from gymnasium.vector import AutoresetMode

import textgym
from textgym.errors import TaskError, UnknownNameError
from textgym.scorers import parse
from textgym.testing import check_env, check_task, check_tokenizer, check_vector_env
from textgym.types import TextBatch
from textgym.worlds.micro import WORLDS, micro_world
from textgym.worlds.micro.machine import MachineScorer

worlds = pytest.mark.parametrize("world", WORLDS)
SMALL = {"vocab_size": 4, "horizon": 4}


def play(env, actions):
    """The return of a text, and the last info."""
    env.reset()
    total = 0.0
    for action in actions:
        _, reward, over, _, info = env.step(action)
        total += reward
    assert over
    return total, info


def all_texts(task):
    """Every text of a micro world: words up to EOS or to the horizon."""
    words = [i for i in range(task.tokenizer.vocab_size) if i > 2]
    for length in range(task.max_new_tokens):
        for content in itertools.product(words, repeat=length):
            yield (*content, task.tokenizer.eos_id)
    yield from itertools.product(words, repeat=task.max_new_tokens)


@pytest.mark.parametrize(
    ("world", "settings"),
    [
        ("bigram", {}),
        ("grammar", {"delivery": "per_token"}),
        ("key-token", {"delivery": "shaped", "gamma": 0.9}),
        ("gold-proxy", {"constraint": {"min_new_tokens": 2}}),
        ("random", {"reward": "fluency(lm='bigram')"}),
    ],
)
def test_gymnasiums_check_and_ours_pass_on_every_world(world, settings, capsys):
    env = gym.make("TextGenMicro-v0", world=world, **SMALL, **settings, mask_in_info=True)
    gymnasium_check_env(env.unwrapped)
    check_env(env)


@worlds
def test_every_world_is_a_sound_task(world):
    task = textgym.micro(world, **SMALL)
    check_task(task)
    check_tokenizer(task.tokenizer)
    assert textgym.micro(world, **SMALL) is task, "it is made once"
    assert task.context.empty_prompts and len(task.train) == len(task.heldout) == 1


@pytest.mark.parametrize(
    ("world", "delivery"),
    [
        ("bigram", "terminal"),
        ("grammar", "shaped"),
        ("key-token", "per_token"),
        ("gold-proxy", "per_token"),
        ("random", "shaped"),
    ],
)
def test_a_row_of_the_vector_environment_equals_a_single_one(world, delivery):
    settings = {"world": world, **SMALL, "delivery": delivery}
    check_vector_env(
        lambda: gym.make("TextGenMicro-v0", **settings).unwrapped,
        lambda mode: gym.make_vec("TextGenMicro-v0", num_envs=3, autoreset_mode=mode, **settings),
        steps=25,
    )


@pytest.mark.parametrize("render_mode", ["ansi", "rgb_array"])
def test_it_renders(render_mode):
    env = gym.make("TextGenMicro-v0", render_mode=render_mode, **SMALL)
    play(env, [3, 4, 2])
    assert len(env.render())


def test_vocab_size_counts_what_may_be_chosen():
    env = gym.make("TextGenMicro-v0", vocab_size=3, horizon=4)
    observation, _ = env.reset()
    assert env.action_space.n == 5 and env.get_wrapper_attr("action_masks")().tolist() == [0, 0, 1, 1, 1]
    assert observation.tolist() == [1, -1, -1, -1, -1], "the empty prompt, its separator, and room for the horizon"
    assert [env.unwrapped.task.tokenizer.token(i) for i in range(5)] == ["<unk>", "<sep>", "<eos>", "a", "b"]


# -- the threshold


@worlds
@pytest.mark.parametrize(("vocab_size", "horizon"), [(3, 4), (5, 3)])
def test_the_threshold_is_that_of_all_texts_played_in_the_environment(world, vocab_size, horizon):
    env = gym.make("TextGenMicro-v0", world=world, vocab_size=vocab_size, horizon=horizon)
    texts = list(all_texts(env.unwrapped.task))
    returns = np.array([play(env, text)[0] for text in texts])
    chances = np.array([float(vocab_size) ** -len(text) for text in texts])
    assert chances.sum() == pytest.approx(1)
    best, uniform = returns.max(), returns @ chances
    assert env.spec.reward_threshold == pytest.approx(uniform + 0.99 * (best - uniform), abs=1e-12)
    assert env.unwrapped.task.world.optimum == pytest.approx((best, uniform), abs=1e-12)


@worlds
def test_the_largest_size_has_its_threshold_at_once(world):
    env = gym.make("TextGenMicro-v0", world=world, vocab_size=20, horizon=12)
    best, uniform = env.unwrapped.task.world.optimum
    assert uniform < env.spec.reward_threshold < best


def test_the_threshold_is_that_of_the_reward_that_is_paid():
    paid = gym.make("TextGenMicro-v0", world="bigram", reward="micro_grammar", **SMALL).spec.reward_threshold
    assert paid == gym.make("TextGenMicro-v0", world="grammar", **SMALL).spec.reward_threshold
    assert paid != gym.make("TextGenMicro-v0", world="bigram", **SMALL).spec.reward_threshold
    for unknown in (
        {"reward": "length"},
        {"constraint": {"min_new_tokens": 2}},
        {"delivery": "shaped", "gamma": 0.9},
    ):
        assert gym.make("TextGenMicro-v0", **SMALL, **unknown).spec.reward_threshold is None
    for same in ({"delivery": "per_token", "gamma": 0.9}, {"delivery": "shaped"}):
        threshold = gym.make("TextGenMicro-v0", **SMALL, **same).spec.reward_threshold
        assert threshold == gym.make("TextGenMicro-v0", **SMALL).spec.reward_threshold


@pytest.mark.parametrize("make", [gym.make, lambda id, **kw: gym.make_vec(id, num_envs=2, **kw)])
def test_the_spec_keeps_the_threshold_through_json_and_copies(make):
    env = make("TextGenMicro-v0", world="random", vocab_size=3, horizon=4, seed=5)
    spec = env.spec
    assert spec.reward_threshold is not None
    assert copy.deepcopy(spec) == spec
    assert json.loads(spec.to_json())["reward_threshold"] == spec.reward_threshold
    again = EnvSpec.from_json(spec.to_json())
    remade = gym.make_vec(again) if isinstance(env, gym.vector.VectorEnv) else gym.make(again)
    assert remade.spec.reward_threshold == spec.reward_threshold
    other = make("TextGenMicro-v0", world="random", vocab_size=3, horizon=4, seed=6)
    assert other.spec.reward_threshold != spec.reward_threshold
    assert gym.spec("TextGenMicro-v0").reward_threshold is None, "the registry holds no size"


# -- gold


def test_gold_is_told_and_the_proxys_best_text_is_bad_under_it():
    env = gym.make("TextGenMicro-v0", world="gold-proxy", vocab_size=4, horizon=5)
    texts = list(all_texts(env.unwrapped.task))
    played = [play(env, text) for text in texts]
    proxy, gold = (np.array(values) for values in zip(*((p, i["gold/quality"]) for p, i in played), strict=True))
    chances = np.array([4.0 ** -len(text) for text in texts])
    best = int(proxy.argmax())
    assert (proxy == proxy[best]).sum() == 1 and texts[best] == (3,) * 5
    assert gold[best] == gold.min() < gold @ chances < gold.max() == 3
    assert played[best][1]["reward_components/micro_proxy"] == 5
    envs = gym.make_vec("TextGenMicro-v0", num_envs=2, world="gold-proxy", vocab_size=4, horizon=5)
    envs.reset()
    assert envs.step([2, 3])[-1]["_gold/quality"].tolist() == [True, False]


def test_on_ordinary_texts_the_proxy_tells_the_truth():
    task = textgym.micro("gold-proxy", vocab_size=8, horizon=6)
    drawn = np.random.default_rng(0).integers(2, 10, size=(4000, 6)).astype(np.int32)
    rows = [row[: list(row).index(2) + 1] if 2 in row else row for row in drawn]
    batch = TextBatch([rows[0][:0]] * len(rows), rows, task.tokenizer)
    proxy, gold = (parse(text).score(batch).values for text in (task.reward, task.gold["quality"]))
    assert 0.65 < np.corrcoef(proxy, gold)[0, 1] < 0.8


# -- the rest


def test_worlds_are_the_same_numbers_for_the_same_seed():
    values = [textgym.micro("bigram", **SMALL, seed=seed).world.optimum for seed in (0, 0, 1)]
    assert values[0] == values[1] != values[2]
    assert textgym.micro("bigram", **SMALL).signature != textgym.micro("bigram", **SMALL, seed=1).signature


def test_every_world_pays_by_a_machine_with_a_text_form():
    for world in WORLDS:
        made = micro_world(world, 5, 5, seed=2)
        assert isinstance(made.reward, MachineScorer)
        assert textgym.scorers.parse(made.reward.to_spec()) == made.reward


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"vocab_size": 2}, "vocab_size=2: words and EOS, a whole number from 3 to 20"),
        ({"vocab_size": 21}, "from 3 to 20"),
        ({"horizon": 0}, "horizon=0: .* from 1 to 12"),
        ({"horizon": 13}, "from 1 to 12"),
        ({"world": "grammar", "horizon": 1}, "world 'grammar', a whole number from 2 to 12"),
        ({"world": "gold-proxy", "horizon": 2}, "world 'gold-proxy', a whole number from 3 to 12"),
        ({"seed": -1}, "seed=-1"),
    ],
)
def test_a_size_out_of_range_is_an_error(settings, message):
    with pytest.raises(TaskError, match=message):
        gym.make("TextGenMicro-v0", **settings)


def test_an_unknown_world_is_an_error_that_names_the_near_one():
    with pytest.raises(UnknownNameError, match=r"unknown world 'bigrams'\. Did you mean 'bigram'"):
        textgym.micro("bigrams")


def test_a_time_limit_of_the_users_truncates():
    envs = gym.make_vec("TextGenMicro-v0", num_envs=2, max_episode_steps=2, autoreset_mode=AutoresetMode.SAME_STEP)
    envs.reset(seed=0)
    envs.step([3, 3])
    assert envs.step([3, 2])[3].tolist() == [True, True]


def test_a_worker_that_has_not_imported_textgym_finds_the_id_and_loads_no_torch():
    code = (
        "import gymnasium, sys; env = gymnasium.make('textgym:TextGenMicro-v0'); env.reset(); env.step(3)\n"
        "heavy = ('torch', 'transformers', 'sklearn', 'stable_baselines3')\n"
        "print([m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
