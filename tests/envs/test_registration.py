import json
import pickle
import subprocess
import sys
import warnings

import gymnasium as gym
import numpy as np
import pytest
from envs_samples import IdSum
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode

import textgym
from textgym.envs.textgen import TextGenEnv
from textgym.envs.vector import TextGenVectorEnv
from textgym.errors import TaskError


@pytest.fixture
def settings(letters_folder, task):
    """JSON-able settings of the small task."""
    return {
        "corpus": str(letters_folder / "letters.txt"),
        "tokenizer": "char",
        "max_new_tokens": 6,
        "reward": "length",
        "cache_dir": str(letters_folder / "cache"),
    }


def test_every_public_name_is_there():
    for name in textgym.__all__:
        assert getattr(textgym, name) is not None
        assert name in dir(textgym)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = textgym.nothing


def test_make_gives_the_environment_without_a_warning(settings):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gym.make("TextGen-v0", **settings)
        assert isinstance(env.unwrapped, TextGenEnv)
        env.reset(seed=0)
        done = False
        while not done:
            done = env.step(env.action_space.sample())[2]
        assert env.get_wrapper_attr("action_masks")().any()


def test_make_vec_gives_the_native_vector_environment_without_a_warning(settings):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        envs = gym.make_vec("TextGen-v0", num_envs=3, **settings)
    assert type(envs) is TextGenVectorEnv
    assert envs.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    assert gym.make_vec("TextGen-v0", num_envs=2, disable_env_checker=True, max_episode_steps=4, **settings)


def test_gymnasiums_own_vectorisers_work(settings):
    rows = []
    for mode in ("sync", "async", "vector_entry_point"):
        envs = gym.make_vec("textgym:TextGen-v0", num_envs=2, vectorization_mode=mode, **settings)
        envs.reset(seed=0)
        played = [envs.step(np.array(actions)) for actions in ([4, 2], [3, 5], [2, 2], [7, 7])]
        rows.append([(o.tolist(), r.tolist(), t.tolist(), i["length"].tolist()) for o, r, t, _, i in played])
        envs.close()
    assert rows[0] == rows[1] == rows[2]


def test_the_spec_round_trips_through_json(settings):
    for env in (
        gym.make("TextGen-v0", **settings),
        gym.make("TextGen-v0", max_episode_steps=3, **settings),
        gym.make_vec("TextGen-v0", num_envs=2, autoreset_mode=AutoresetMode.SAME_STEP, **settings),
    ):
        text = env.spec.to_json()
        assert json.loads(text)["kwargs"]["reward"] == "length"
        again = EnvSpec.from_json(text)
        made = gym.make_vec(again) if isinstance(env, gym.vector.VectorEnv) else gym.make(again)
        assert np.array_equal(made.reset(seed=1)[0], env.reset(seed=1)[0])
    assert again.kwargs["autoreset_mode"] == "SameStep"


def test_an_object_in_the_spec_names_the_decorator_that_registers_it(settings, task):
    def my_reward(text):
        return float(len(text))

    for arguments, decorator in (
        (settings | {"reward": my_reward}, "@textgym.scorers.register(name)"),
        (settings | {"reward": IdSum()}, "@textgym.scorers.register(name)"),
        ({"reward": "length", "task": task}, "@textgym.register_task(name)"),
    ):
        env = gym.make("TextGen-v0", **arguments)
        assert env.spec.kwargs == arguments, "objects are accepted all the same"
        with pytest.raises(TaskError) as error:
            env.spec.to_json()
        assert decorator in str(error.value)


def test_a_spec_can_be_pickled(settings):
    spec = gym.make("TextGen-v0", **settings).spec
    assert pickle.loads(pickle.dumps(spec)) == spec


def test_a_worker_that_has_not_imported_textgym_finds_the_id(settings):
    code = f"import gymnasium; gymnasium.make('textgym:TextGen-v0', **{settings!r}).reset(seed=0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_import_loads_no_other_room():
    code = (
        "import sys, textgym; print([m for m in sys.modules if m.startswith('textgym.') or m in ('torch', 'sklearn')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
