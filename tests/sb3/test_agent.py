import pytest
from stable_baselines3 import A2C, PPO
from textgym.agents import a2c, ppo

from textgym.envs.tasks import make_task
from textgym.errors import CheckpointError, TaskError
from textgym.models.checkpoint import new_model, save_checkpoint
from textgym.sb3 import A2C_DEFAULTS, PPO_DEFAULTS, make_sb3_env


@pytest.fixture(scope="module")
def task(tiny_corpus):
    return make_task(corpus=str(tiny_corpus), tokenizer="word", vocab_size=64, max_new_tokens=8)


@pytest.fixture(scope="module")
def folder(task, tmp_path_factory):
    model = new_model("tiny", vocab_size=task.tokenizer.vocab_size, context=task.observation_length)
    path = tmp_path_factory.mktemp("models") / "start"
    save_checkpoint(path, model, task.tokenizer)
    return path


@pytest.fixture
def env(task):
    return make_sb3_env("TextGen-v0", n_envs=16, task=task, reward="length")


@pytest.mark.parametrize(
    ("module", "algorithm", "defaults"), [(ppo, PPO, PPO_DEFAULTS), (a2c, A2C, A2C_DEFAULTS)], ids=["ppo", "a2c"]
)
def test_a_preset_begins_as_its_model_with_settings_that_suit_text(module, algorithm, defaults, env, folder):
    agent = module.build(env, folder, kl_coef=0.5, seed=3)
    assert type(agent) is algorithm and agent.seed == 3 and agent.policy.trained
    assert (agent.gamma, agent.n_steps) == (1.0, defaults["n_steps"])
    assert agent.learning_rate == defaults["learning_rate"]
    assert agent.rollout_buffer.kl_coef == 0.5 and agent.rollout_buffer.reference is not None
    agent.learn(16 * 64)


def test_what_the_caller_names_goes_before_the_preset(env, folder):
    agent = ppo.build(env, folder, learning_rate=5e-5, n_steps=8, batch_size=32)
    assert (agent.learning_rate, agent.n_steps, agent.batch_size) == (5e-5, 8, 32)
    assert agent.rollout_buffer.reference is None


def test_a_discount_that_the_environment_does_not_have_is_refused(env, folder):
    with pytest.raises(TaskError, match=r"gamma=0\.9 differs"):
        ppo.build(env, folder, gamma=0.9)


def test_random_weights_are_nothing_to_stay_near(env):
    with pytest.raises(CheckpointError, match="'tiny' is an architecture with random weights"):
        ppo.build(env, "tiny", kl_coef=0.1)
