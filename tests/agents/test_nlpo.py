"""NLPO: MaskablePPO among the likeliest tokens of a mask policy."""

import numpy as np
import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback

pytest.importorskip("sb3_contrib", reason="NLPO: pip install 'textgym[contrib]'")
from textgym.agents import maskable_ppo, nlpo
from textgym.agents.exact_policy import agent_policy

import textgym
from textgym.errors import TaskError
from textgym.oracle import solve
from textgym.sb3 import make_sb3_env

SETTINGS = {"seed": 0, "device": "cpu", "n_steps": 6, "batch_size": 24, "n_epochs": 2, "learning_rate": 3e-3}
ROLLOUT = 6 * 8


@pytest.fixture(scope="module")
def task():
    return textgym.micro("bigram", vocab_size=5, horizon=4)


@pytest.fixture
def make(task):
    def agent(module=nlpo, constraint=None, **settings):
        env = make_sb3_env(n_envs=8, task=task, seed=1, constraint=constraint)
        return module.build(env, "tiny", **{**SETTINGS, **settings})

    return agent


def flat(module):
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


def sharpen(agent, by=6.0):
    """Makes a new policy and its mask policy prefer some tokens, as trained ones do."""
    with torch.no_grad():
        agent.policy.transformer.wte.weight *= by
    agent._copy()


def by_hand(logits, masks, top_p):
    """The smallest set of allowed tokens with this probability: token by token from the likeliest."""
    kept = np.zeros(masks.shape, bool)
    for row in range(len(masks)):
        p = np.where(masks[row], np.exp(logits[row] - logits[row][masks[row]].max()), 0)
        total = 0.0
        for token in np.argsort(-p):
            kept[row, token] = True
            total += p[token] / p.sum()
            if total >= top_p:
                break
    return kept


def test_with_top_p_1_it_is_maskable_ppo_bit_for_bit(make):
    ours, theirs = make(top_p=1.0), make(maskable_ppo)
    start = flat(ours.policy)
    for agent in (ours, theirs):
        agent.set_random_seed(3)
        agent.learn(4 * ROLLOUT)
    assert torch.equal(flat(ours.policy), flat(theirs.policy)) and not torch.equal(flat(ours.policy), start)
    assert np.array_equal(ours.rollout_buffer.masks, theirs.rollout_buffer.masks)
    narrow = make(top_p=0.5)
    narrow.set_random_seed(3)
    narrow.learn(4 * ROLLOUT)
    assert not torch.equal(flat(narrow.policy), flat(ours.policy))


def test_its_masks_are_the_smallest_likely_sets_among_the_allowed(make, task):
    agent = make(top_p=0.6, constraint={"min_new_tokens": 2})
    sharpen(agent)
    observations, masks = agent.env.reset(), np.stack(agent.env.env_method("action_masks"))
    logits = agent.mask_policy.next_logits(torch.as_tensor(observations)).double().numpy()
    found = agent.masks(observations, masks)
    assert np.array_equal(found, by_hand(logits, masks, 0.6))
    assert (found.sum(1) < masks.sum(1)).all() and not (found & ~masks).any()
    one = np.zeros_like(masks)
    one[:, 1] = True  # the separator, which the model bans
    assert np.array_equal(agent.masks(observations, one), one)


class Chosen(BaseCallback):
    """Whether each token was in the masks that the agent gives for its prefix."""

    def __init__(self):
        super().__init__()
        self.inside, self.copies = [], []

    def _on_rollout_start(self):
        self.copies.append(torch.equal(flat(self.model.mask_policy), flat(self.model.policy)))

    def _on_step(self):
        given, actions = self.locals["action_masks"], self.locals["actions"]
        self.inside.append(given[np.arange(len(actions)), actions].all() and given.sum() < given.size / 2)
        return True


def test_a_rollout_keeps_to_the_masks_and_the_copy_is_made_every_so_many_rollouts(make):
    agent, seen = make(top_p=0.5, target_update=2), Chosen()
    sharpen(agent)
    agent.learn(6 * ROLLOUT, callback=seen)
    assert all(seen.inside)
    assert seen.copies == [True, False, True, False, True, False]


def test_the_stored_log_probabilities_are_those_of_the_narrow_distribution(make):
    agent = make(top_p=0.5)
    sharpen(agent)
    agent.lr_schedule = lambda progress: 0.0
    agent.learn(ROLLOUT)
    (data,) = agent.rollout_buffer.get(None)
    actions, masks = data.actions.long().flatten(), data.action_masks
    logp = agent.policy.evaluate_actions(data.observations, actions, action_masks=masks)[1]
    torch.testing.assert_close(logp, data.old_log_prob, rtol=1e-4, atol=1e-5)
    assert (logp > agent.policy.evaluate_actions(data.observations, actions)[1] + 0.1).any()


def test_predict_keeps_to_the_mask_policy_with_or_without_masks(make):
    agent = make(top_p=0.3)
    sharpen(agent)
    observations = agent.env.reset()
    masks = np.stack(agent.env.env_method("action_masks"))
    for given in (None, masks):
        allowed = agent.masks(observations, given)
        for _ in range(20):
            actions, _ = agent.predict(observations, action_masks=given)
            assert allowed[np.arange(8), actions].all()
    assert agent.predict(observations[0])[0].shape == ()


def test_the_oracle_takes_its_narrow_policy(make, task):
    agent = make(top_p=0.3)
    sharpen(agent)
    solution = solve(task)
    narrow = solution.evaluate(agent_policy(agent)).value
    wide = solution.evaluate(agent_policy(agent.policy, masked=True)).value
    assert abs(narrow - wide) > 1e-3
    agent.top_p = 1.0
    assert solution.evaluate(agent_policy(agent)).value == pytest.approx(wide, abs=1e-9)


def test_a_saved_agent_has_its_mask_policy(make, tmp_path):
    agent = make(top_p=0.7, target_update=100)
    agent.learn(3 * ROLLOUT)
    agent.save(tmp_path / "agent.zip")
    loaded = nlpo.NLPO.load(tmp_path / "agent.zip", env=agent.env, device="cpu")
    assert (loaded.top_p, loaded.target_update) == (0.7, 100)
    assert torch.equal(flat(loaded.mask_policy), flat(agent.mask_policy))
    assert torch.equal(flat(loaded.policy), flat(agent.policy))
    assert not torch.equal(flat(loaded.policy), flat(loaded.mask_policy))
    observations = agent.env.reset()
    assert np.array_equal(loaded.masks(observations), agent.masks(observations))
    loaded.learn(ROLLOUT)


@pytest.mark.parametrize("settings", [{"top_p": 0.0}, {"top_p": 1.2}, {"target_update": 0}])
def test_settings_that_cannot_hold_are_refused(make, settings):
    with pytest.raises(TaskError, match=f"{next(iter(settings))}={next(iter(settings.values()))}"):
        make(**settings)
