import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from textgym.agents.rloo import RLOO

from textgym.envs.tasks import make_task
from textgym.errors import TaskError
from textgym.sb3 import PPO_DEFAULTS, TransformerPolicy, make_sb3_env
from textgym.sb3.checkpoints import TrainingCheckpoint, resume
from textgym.sb3.curriculum import BudgetCurriculum

SMALL = {"n_layer": 1, "n_head": 2, "n_embd": 16}


@pytest.fixture(scope="module")
def task(tiny_corpus):
    return make_task(corpus=str(tiny_corpus), tokenizer="word", vocab_size=64, max_new_tokens=10)


def make(task):
    env = make_sb3_env(n_envs=8, task=task, seed=0, autoreset=False, group_size=4, reward="length")
    return RLOO(TransformerPolicy, env, policy_kwargs={"model": SMALL}, seed=0, device="cpu")


class Longest(BaseCallback):
    """The longest text of each rollout."""

    def __init__(self):
        super().__init__()
        self.found = []

    def _on_step(self):
        return True

    def _on_rollout_end(self):
        self.found.append(int(self.model.rollout_buffer.ended.max()))


def test_texts_grow_to_the_budget_of_the_task(task):
    agent = make(task)
    agent.learn(8 * 10 * 12, callback=[BudgetCurriculum(2, 400), longest := Longest()])
    assert longest.found[0] == 2 and longest.found[-1] == 10
    assert (np.diff(longest.found) >= 0).all() and 4 < longest.found[len(longest.found) // 2] <= 10


def test_the_rows_of_ppo_have_it_too(task):
    env = make_sb3_env(n_envs=8, task=task, seed=0, reward="length")
    settings = dict(PPO_DEFAULTS, n_steps=10, batch_size=80)
    agent = PPO(TransformerPolicy, env, policy_kwargs={"model": SMALL}, seed=0, device="cpu", **settings)
    agent.learn(80, callback=BudgetCurriculum(3, 10_000))
    assert max(episode["l"] for episode in agent.ep_info_buffer) == 3


def test_a_training_that_goes_on_has_the_budget_of_its_place(task, tmp_path):
    def learn(agent, tokens, **more):
        return agent.learn(tokens, callback=[BudgetCurriculum(2, 300), TrainingCheckpoint(tmp_path)], **more)

    whole = make(task).learn(400, callback=BudgetCurriculum(2, 300))
    learn(make(task), 150)
    fresh = make(task)
    resume(fresh, tmp_path)
    learn(fresh, 400 - fresh.num_timesteps, reset_num_timesteps=False)
    for one, other in zip(whole.policy.parameters(), fresh.policy.parameters(), strict=True):
        assert torch.equal(one, other)


def test_what_cannot_be_a_budget_is_an_error(task):
    with pytest.raises(TaskError, match="at least 1"):
        BudgetCurriculum(0, 10)
    with pytest.raises(TaskError, match="more than the task's budget, 10"):
        make(task).learn(1, callback=BudgetCurriculum(11, 10))
    env = make_sb3_env(n_envs=2, task=task)
    for budget in (0, 11, True):
        with pytest.raises(TaskError, match="from 1 to 10"):
            env.set_attr("budget", budget)
