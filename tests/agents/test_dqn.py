"""DQN among the allowed tokens: it explores, chooses and bootstraps there alone, and finds a small world's optimum."""

import numpy as np
import pytest
import torch
from stable_baselines3 import DQN
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from textgym.agents import dqn
from textgym.agents.exact_policy import agent_policy

import textgym
from textgym.errors import CheckpointError, TaskError
from textgym.models.masks import ILLEGAL_LOGIT
from textgym.oracle import solve
from textgym.sb3 import make_sb3_env

SETTINGS = {"seed": 0, "device": "cpu", "learning_starts": 64, "buffer_size": 2_000, "batch_size": 32}
SETTINGS |= {"train_freq": 2, "gradient_steps": 2, "target_update_interval": 100}
RULES = {"min_new_tokens": 2, "no_repeat_ngram": 1}


@pytest.fixture(scope="module")
def task():
    return textgym.micro("bigram", vocab_size=5, horizon=4)


@pytest.fixture
def make(task):
    def agent(constraint=RULES, model="tiny", reward=None, on_failure="raise", **settings):
        env = make_sb3_env(
            n_envs=8,
            task=task,
            seed=1,
            constraint=constraint,
            reward=reward,
            on_failure=on_failure,
            max_episode_steps=3,
        )
        return dqn.build(env, model, **{**SETTINGS, **settings})

    return agent


class Legal(BaseCallback):
    """Counts the actions, and those that the environment's mask forbade."""

    def __init__(self):
        super().__init__()
        self.actions, self.illegal, self.masks = [], 0, None

    def _on_rollout_start(self):
        self.masks = np.stack(self.model.env.env_method("action_masks"))

    def _on_step(self):
        actions = self.locals["actions"]
        self.illegal += int((~self.masks[np.arange(len(actions)), actions]).sum())
        self.masks = np.stack(self.model.env.env_method("action_masks"))
        self.actions += actions.tolist()
        return True


@pytest.mark.parametrize("epsilon", [1.0, 0.0])
def test_no_action_is_illegal_at_random_or_greedily(make, epsilon):
    agent, seen = make(exploration_initial_eps=epsilon, exploration_final_eps=epsilon), Legal()
    agent.learn(1_000, callback=seen)
    assert len(seen.actions) >= 1_000 and seen.illegal == 0
    assert set(seen.actions) == {2, 3, 4, 5, 6} if epsilon == 1 else True


def test_random_tokens_are_uniform_over_the_allowed_ones():
    np.random.seed(0)
    masks = np.tile([[False, True, True, False, True], [False, False, False, False, True]], (6_000, 1))
    drawn = dqn._any_of(masks)
    assert np.bincount(drawn[::2]) / 6_000 == pytest.approx([0, 1 / 3, 1 / 3, 0, 1 / 3], abs=0.03)
    assert (drawn[1::2] == 4).all()


def test_rows_explore_each_for_itself(make):
    agent = make()
    agent.exploration_rate = 0.5
    observations = np.repeat(agent.env.reset()[:1], 400, 0)
    greedy, _ = agent.predict(observations, deterministic=True)
    assert len(set(greedy.tolist())) == 1
    other = (agent.predict(observations)[0] != greedy).mean()
    assert other == pytest.approx(0.5 * 3 / 4, abs=0.1)  # of the four words that are allowed, three are others
    only = np.zeros(7, bool)
    only[6] = True
    assert agent.predict(observations[0], action_masks=only)[0] == 6
    assert agent.predict(observations[0])[0].shape == ()


def test_the_target_is_the_best_of_the_allowed_tokens_by_hand(make):
    agent = make()
    agent.learn(400)
    with torch.no_grad():  # where the best of all is one that the rules forbid
        agent.q_net_target.q_net[0].bias[2] += 100.0
        agent.q_net_target.q_net[0].bias[0] += 100.0
    texts = agent.replay_buffer.sample_texts(64)
    found = agent._values_after(texts)
    after = transitions(texts)[2]
    for row in range(len(found)):
        if texts.ended[row]:
            continue
        prefix = after[row]
        completion = prefix[prefix >= 0].long().tolist()[1:]
        legal = [a for a in range(3, 7) if a not in completion] + [2] * (len(completion) >= 2)
        values = agent.q_net_target(prefix[None])[0].detach()
        assert found[row].item() == pytest.approx(values[legal].max().item(), abs=1e-5)
        assert (2 in legal) == (found[row].item() > 50)
    assert (~texts.ended).sum() > 20


def transitions(texts):
    """Prefix, action and next prefix of each step of these texts, one by one."""
    prefixes, actions, after = [], [], []
    for tokens, first, steps in zip(texts.segments.tokens, texts.segments.first, texts.segments.steps, strict=True):
        for length in range(int(first), int(first + steps)):
            padding = torch.full_like(tokens, -1)
            prefixes.append(torch.cat([tokens[:length], padding[length:]]))
            actions.append(tokens[length : length + 1])
            after.append(torch.cat([tokens[: length + 1], padding[length + 1 :]]))
    return torch.stack(prefixes), torch.stack(actions), torch.stack(after)


def test_without_rules_an_update_is_that_of_dqn(make, monkeypatch):
    ours = make(constraint=None)
    ours.learn(64)
    theirs = make(constraint=None)
    theirs.learn(64)
    samples = [ours.replay_buffer.sample_texts(32) for _ in range(4)]
    given = iter(samples)
    monkeypatch.setattr(ours.replay_buffer, "sample_texts", lambda *_: next(given))
    ours.train(4, 32)
    steps = iter(samples)

    def sample(*_, **__):
        texts = next(steps)
        prefixes, actions, after = transitions(texts)
        return ReplayBufferSamples(
            prefixes.float(), actions, after.float(), texts.ended.float()[:, None], texts.rewards[:, None]
        )

    monkeypatch.setattr(theirs.replay_buffer, "sample", sample)
    # All tokens allowed, as DQN takes it, but for the two that the environment never allows.
    with torch.no_grad():
        theirs.q_net_target.q_net[0].bias[:2] = ILLEGAL_LOGIT
    DQN.train(theirs, 4, 32)
    assert 0 < sum(texts.ended.sum() for texts in samples) < sum(len(texts.ended) for texts in samples) / 2
    for a, b in zip(ours.q_net.parameters(), theirs.q_net.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=2e-5)  # of steps of 1e-3


def fails_on_odd(text):
    return float("nan") if len(text) % 4 == 1 else 1.0


def test_an_episode_that_could_not_be_scored_is_not_learned_from(make):
    agent = make(reward=fails_on_odd, on_failure="mask", constraint=None)
    agent.learn(600)
    assert np.isnan(agent.replay_buffer.rewards).any()
    assert all(torch.isfinite(parameter).all() for parameter in agent.q_net.parameters())


def test_a_saved_agent_goes_on(make, tmp_path):
    agent = make()
    agent.learn(300)
    agent.save(tmp_path / "agent.zip")
    observations = agent.env.reset()
    loaded = dqn.MaskableDQN.load(tmp_path / "agent.zip", env=agent.env, device="cpu")
    chosen = [one.predict(observations, deterministic=True)[0] for one in (agent, loaded)]
    assert np.array_equal(*chosen)
    alone = dqn.MaskableDQN.load(tmp_path / "agent.zip", device="cpu")
    masks = np.stack(agent.env.env_method("action_masks"))
    assert np.array_equal(alone.predict(observations, deterministic=True, action_masks=masks)[0], chosen[0])
    loaded.learn(100)


def test_what_it_cannot_do_is_refused(make):
    with pytest.raises(CheckpointError, match="DQN is greedy, and has no distribution to hold near a model"):
        make(kl_coef=0.1)
    with pytest.raises(TaskError, match=r"gamma=0\.9 differs"):
        make(gamma=0.9)
    with pytest.raises(TaskError, match="replays whole texts"):
        make(replay_buffer_class=ReplayBuffer)
    with pytest.raises(TaskError, match=r"TransformerExtractor\.policy_kwargs"):
        dqn.MaskableDQN("MlpPolicy", make().env, buffer_size=80)


def test_a_greedy_choice_from_the_cache_is_that_of_the_network(make):
    agent = make()
    agent.learn(200)
    observations = agent.env.reset()
    for _ in range(6):
        chosen, _ = agent.predict(observations, deterministic=True)
        values = agent.q_net(torch.as_tensor(observations)).detach().numpy()
        assert np.array_equal(chosen, np.where(agent.allowed(observations), values, -np.inf).argmax(1))
        observations = agent.env.step(chosen)[0]


def test_it_finds_the_best_text_of_a_small_world():
    task = textgym.micro("bigram", vocab_size=3, horizon=3)
    solution = solve(task)
    env = make_sb3_env(n_envs=16, task=task, seed=0)
    settings = {**SETTINGS, "learning_rate": 1e-3, "gradient_steps": 4, "batch_size": 64}
    agent = dqn.build(env, "tiny", **settings)
    before = solution.regret(agent_policy(agent))
    agent.learn(2_000)
    assert solution.regret(agent_policy(agent)) <= 0.01 < before
