"""Agents as policies of the oracle: their exact value is what they earn when they play."""

import numpy as np
import pytest
import torch
from sb3_contrib import QRDQN, MaskablePPO
from stable_baselines3 import A2C, DQN, PPO
from textgym.agents.exact_policy import agent_policy

import textgym
from textgym.errors import TaskError
from textgym.oracle import solve
from textgym.sb3 import MaskableTransformerPolicy, TransformerPolicy, make_sb3_env


@pytest.fixture(scope="module")
def task():
    return textgym.micro("bigram", vocab_size=4, horizon=4)


@pytest.fixture(scope="module")
def ppo(task):
    agent = PPO(
        TransformerPolicy, make_sb3_env(n_envs=8, task=task), policy_kwargs={"model": "tiny"}, device="cpu", seed=3
    )
    with torch.no_grad():  # far from uniform, as a trained one is
        for parameter in agent.policy.transformer.parameters():
            parameter *= 3.0
    agent.policy.clear_caches()
    return agent


def returns_of(agent, task, episodes, deterministic=False):
    env = make_sb3_env(n_envs=64, task=task, seed=0)
    observations, returns = env.reset(), []
    while len(returns) < episodes:
        actions, _ = agent.predict(observations, deterministic=deterministic)
        observations, rewards, over, _ = env.step(actions)
        returns += rewards[over].tolist()
    return np.array(returns)


def test_the_exact_value_of_a_transformer_policy_is_what_it_earns(ppo, task):
    solution = solve(task)
    exact = solution.evaluate(agent_policy(ppo))
    returns = returns_of(ppo, task, 500)
    assert abs(returns.mean() - exact.value) < 4 * returns.std() / np.sqrt(len(returns))
    assert abs(exact.regret - 1) > 0.02, "not the uniform policy"
    assert solution.evaluate(agent_policy(ppo.policy)) == exact


def test_the_deterministic_policy_is_what_predict_plays(ppo, task):
    solution = solve(task)
    greedy = solution.evaluate(agent_policy(ppo, deterministic=True)).value
    returns = returns_of(ppo, task, 64, deterministic=True)
    assert np.allclose(returns, greedy, rtol=0, atol=1e-6)


def test_the_mode_of_the_policy_stays_as_it_was(ppo, task):
    for mode in (True, False):
        ppo.policy.set_training_mode(mode)
        solve(task).regret(agent_policy(ppo))
        assert ppo.policy.training is mode


@pytest.mark.slow
def test_training_lowers_the_exact_regret():
    task = textgym.micro("bigram", vocab_size=3, horizon=3)
    env = make_sb3_env(n_envs=32, task=task, delivery="per_token")
    # Without the bonus, or faster, A2C may settle on the second best word for good.
    calmly = {"learning_rate": 1e-3, "ent_coef": 0.05}
    agent = A2C(TransformerPolicy, env, policy_kwargs={"model": "tiny"}, gamma=1.0, device="cpu", seed=0, **calmly)
    solution = solve(task)
    before = solution.regret(agent_policy(agent))
    agent.learn(8000)
    assert solution.regret(agent_policy(agent)) < before / 2


@pytest.mark.parametrize("twin", [textgym.TextGenEnv, textgym.TextGenFloatEnv, textgym.TextGenDictEnv])
def test_policies_see_what_their_environment_shows(twin, task):
    kind = "MultiInputPolicy" if twin is textgym.TextGenDictEnv else "MlpPolicy"
    agent = PPO(kind, twin(task=task), n_steps=8, batch_size=8, device="cpu", seed=0)
    solution = solve(task)
    with pytest.raises(TaskError, match="on tokens that the mask forbids"):
        solution.regret(agent_policy(agent))
    assert solution.regret(agent_policy(agent, masked=True)) > 0


def test_a_policy_that_takes_masks_is_asked_with_them(task):
    env = make_sb3_env(n_envs=2, task=task)
    agent = MaskablePPO(MaskableTransformerPolicy, env, policy_kwargs={"model": "tiny"}, device="cpu", seed=0)
    assert solve(task).regret(agent_policy(agent)) > 0
    plain = MaskablePPO("MlpPolicy", env, device="cpu", seed=0)
    assert solve(task).regret(agent_policy(plain)) > 0


@pytest.mark.parametrize("algorithm", [DQN, QRDQN])
def test_a_q_network_is_greedy(algorithm, task):
    agent = algorithm("MlpPolicy", textgym.TextGenFloatEnv(task=task), buffer_size=10, device="cpu", seed=0)
    solution = solve(task)
    values = solution.policy_values(agent_policy(agent, masked=True))
    assert np.isin(np.round(values.advantages[values.advantages > -np.inf], 12), [0]).any()
    visited = solution.visits(agent_policy(agent, masked=True))
    assert set(np.unique(visited)) == {0.0, 1.0}


def test_what_is_no_policy_is_an_error():
    with pytest.raises(TaskError, match="str has neither an action distribution nor a Q network"):
        agent_policy("ppo")
