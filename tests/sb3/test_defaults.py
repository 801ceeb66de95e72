import inspect

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import RolloutBuffer

from textgym.errors import TaskError
from textgym.sb3 import A2C_DEFAULTS, PPO_DEFAULTS, EpisodeRolloutBuffer, TransformerPolicy, make_sb3_env
from textgym.sb3.defaults import check_settings, environment_gamma

TINY = {"n_layer": 1, "n_head": 1, "n_embd": 8}


WORDS = "the a red blue cat dog sat ran on mat hill and saw it went home"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> str:
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("corpus") / "corpus.txt"
    path.write_text("\n\n".join(" ".join(rng.choice(WORDS.split(), 10)) + "." for _ in range(100)))
    return str(path)


def make_env(corpus, **more):
    return make_sb3_env(n_envs=4, corpus=corpus, tokenizer="word", reward="distinct(n=2)", **more)


def make_ppo(corpus, **settings) -> BaseAlgorithm:
    agent = PPO(
        TransformerPolicy,
        make_env(corpus),
        policy_kwargs={"model": TINY},
        device="cpu",
        **{**PPO_DEFAULTS, "batch_size": 64, **settings},
    )
    agent.policy.trained = True
    return agent


@pytest.mark.parametrize(("algorithm", "settings"), [(PPO, PPO_DEFAULTS), (A2C, A2C_DEFAULTS)])
def test_the_defaults_are_arguments_of_their_algorithm(algorithm, settings):
    assert settings.keys() <= inspect.signature(algorithm).parameters.keys()
    assert settings["gamma"] == 1.0 and settings["rollout_buffer_class"] is EpisodeRolloutBuffer


def test_minibatches_of_the_defaults_divide_a_rollout_of_64_rows():
    assert 64 * PPO_DEFAULTS["n_steps"] % PPO_DEFAULTS["batch_size"] == 0


def test_a2c_leaves_the_callers_policy_arguments_alone(corpus):
    policy_kwargs = {"model": TINY}
    A2C(TransformerPolicy, make_env(corpus), policy_kwargs=policy_kwargs, device="cpu", **A2C_DEFAULTS)
    assert policy_kwargs == {"model": TINY}


def test_good_settings_pass_in_silence(corpus):
    assert check_settings(make_ppo(corpus)) == []


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"gamma": 0.99}, ["gamma=0.99", "64 tokens", "0.53 times", "gamma=1.0"]),
        ({"gamma": 0.98}, ["0.28 times"]),
        ({"batch_size": 32}, ["batch_size=32", "64"]),
        ({"rollout_buffer_class": RolloutBuffer}, ["RolloutBuffer stores", "MiB", "EpisodeRolloutBuffer"]),
    ],
)
def test_each_bad_setting_is_named_with_what_it_does_and_what_to_do(corpus, settings, words):
    findings = check_settings(make_ppo(corpus, **settings))
    assert len(findings) == 1
    assert all(word in findings[0] for word in words), findings[0]


def test_random_weights_are_named_until_the_agent_has_learned(corpus):
    agent = make_ppo(corpus)
    agent.policy.trained = False
    (finding,) = check_settings(agent)
    assert "random weights" in finding
    agent._n_updates = 4
    assert check_settings(agent) == []


def test_other_environments_and_policies_are_none_of_our_business():
    assert check_settings(PPO("MlpPolicy", gym.make("CartPole-v1"), device="cpu")) == []


def test_an_agent_takes_the_environments_gamma_and_no_other(corpus):
    env = make_env(corpus, gamma=0.9)
    assert environment_gamma(env) == environment_gamma(env, 0.9) == 0.9
    with pytest.raises(TaskError, match=r"gamma=1\.0 differs from the environment's gamma=0\.9"):
        environment_gamma(env, 1.0)
