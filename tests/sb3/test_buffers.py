import zipfile

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.vec_env import VecNormalize

from textgym.envs.tasks import make_task
from textgym.errors import CheckpointError, ScoringFailure, SpaceError
from textgym.models.checkpoint import load_checkpoint, new_model, save_checkpoint
from textgym.sb3.buffers import EpisodeRolloutBuffer
from textgym.sb3.policies import TransformerPolicy
from textgym.sb3.vec_env import make_sb3_env

SHAPE = {"n_layer": 1, "n_head": 2, "n_embd": 16}
STEPS, ROWS = 7, 6  # episodes of up to 12 tokens are cut by the rollout's end
REWARD = "0.3*length - repetition(n=1)"


@pytest.fixture(scope="module")
def task(tiny_corpus):
    return make_task(corpus=str(tiny_corpus), tokenizer="word", vocab_size=64, max_new_tokens=12)


@pytest.fixture(scope="module")
def folder(task, tmp_path_factory):
    vocab_size, banned = task.tokenizer.vocab_size, (task.tokenizer.unk_id, task.tokenizer.sep_id)
    model = new_model("tiny", vocab_size=vocab_size, context=task.observation_length, banned=banned, seed=3)
    path = tmp_path_factory.mktemp("models") / "reference"
    save_checkpoint(path, model, task.tokenizer)
    return path


def make_agent(task, algorithm=PPO, buffer=EpisodeRolloutBuffer, model=SHAPE, buffer_kwargs=None, **settings):
    env = make_sb3_env("TextGen-v0", n_envs=ROWS, seed=5, task=task, reward=REWARD)
    given = {"n_steps": STEPS, "gamma": 1.0, "learning_rate": 1e-2, "seed": 0, "device": "cpu"}
    if algorithm is PPO:
        given |= {"batch_size": STEPS * ROWS, "n_epochs": 2}
    return algorithm(
        TransformerPolicy,
        env,
        policy_kwargs={"model": model},
        rollout_buffer_class=buffer,
        rollout_buffer_kwargs=buffer_kwargs or {},
        **{**given, **settings},
    )


def roll(agent) -> EpisodeRolloutBuffer:
    """One rollout without training."""
    agent._setup_learn(10**6)
    assert agent.collect_rollouts(agent.env, agent._init_callback(None), agent.rollout_buffer, STEPS)
    return agent.rollout_buffer


def flat(agent) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in agent.policy.parameters()])


@pytest.mark.parametrize("algorithm", [PPO, A2C])
def test_training_equals_the_default_buffers_on_full_batches(task, algorithm):
    ours, theirs = (make_agent(task, algorithm, buffer) for buffer in (EpisodeRolloutBuffer, RolloutBuffer))
    torch.testing.assert_close(flat(ours), flat(theirs), rtol=0, atol=0)
    start = flat(ours).clone()
    for agent in (ours, theirs):
        agent.set_random_seed(1)  # actions are drawn from torch's one stream
        agent.learn(4 * STEPS * ROWS)
    torch.testing.assert_close(flat(ours), flat(theirs), rtol=1e-3, atol=1e-4)
    assert (flat(ours) - start).abs().max() > 0.02


def test_loss_gradient_and_returns_equal_the_default_buffers(task):
    gradients = []
    for buffer in (EpisodeRolloutBuffer, RolloutBuffer):
        agent = make_agent(task, buffer=buffer)
        rollout = roll(agent)
        (data,) = rollout.get(STEPS * ROWS)
        values, logp, entropy = agent.policy.evaluate_actions(data.observations, data.actions.long().flatten())
        loss = -(logp * data.advantages).mean() + (values.flatten() - data.returns).square().mean() - entropy.mean()
        loss.backward()
        gradients.append((loss.item(), torch.cat([p.grad.flatten() for p in agent.policy.parameters()])))
    assert gradients[0][0] == pytest.approx(gradients[1][0], rel=1e-5)
    torch.testing.assert_close(gradients[0][1], gradients[1][1], rtol=1e-3, atol=1e-5)


def test_the_stored_log_probabilities_are_those_of_one_causal_pass(task):
    agent = make_agent(task)
    for _ in range(3):  # later rollouts begin in mid-episode
        rollout = roll(agent)
        for data in rollout.get(16):
            _, logp, _ = agent.policy.evaluate_actions(data.observations, data.actions.long().flatten())
            torch.testing.assert_close(logp, data.old_log_prob, rtol=1e-4, atol=1e-5)


def test_the_kl_of_the_first_update_is_zero(task):
    agent = make_agent(task, n_epochs=1)
    agent.learn(STEPS * ROWS)
    assert agent.logger.name_to_value["train/approx_kl"] == pytest.approx(0, abs=1e-6)


def test_minibatches_hold_every_step_once_and_no_small_tail(task):
    rollout = roll(make_agent(task))
    batches = list(rollout.get(16))
    actions = torch.cat([data.actions for data in batches])
    assert sorted(actions.tolist()) == sorted(rollout.actions.flatten().tolist())
    assert all(len(data.actions) >= 8 for data in batches)
    assert [len(data.observations.actions) for data in batches] == [len(data.actions) for data in batches]


def test_observations_are_stored_once_a_segment(task):
    rollout = roll(make_agent(task))
    assert rollout.observations.size == 0
    assert rollout._tokens.shape[0] == rollout.n_segments < STEPS * ROWS


def test_the_kl_penalty_is_the_log_ratio_of_each_token(task, folder):
    settings = {"buffer_kwargs": {"kl_coef": 0.5, "reference": str(folder)}, "gae_lambda": 1.0}
    free, held = make_agent(task, gae_lambda=1.0), make_agent(task, **settings)
    rollouts = []
    for agent in (held, free):
        agent.set_random_seed(1)  # the same actions in both
        rollouts.append(roll(agent))
    with_penalty, without = rollouts
    reference = load_checkpoint(folder).model
    for data in with_penalty.get(10**6):
        segments = data.observations
        hidden = reference(segments.tokens)[segments.row, segments.position]
        logp = torch.log_softmax(reference.logits(hidden), -1).gather(1, segments.actions[:, None])[:, 0]
        assert with_penalty.kl_penalty == pytest.approx((data.old_log_prob - logp).mean().item(), abs=1e-5)
    paid = without.rewards - with_penalty.rewards
    assert paid.mean() == pytest.approx(0.5 * with_penalty.kl_penalty, abs=1e-5)
    assert np.abs(paid).max() > 1e-3


def test_a_policy_at_its_reference_pays_no_penalty(task, folder):
    agent = make_agent(task, model=str(folder), buffer_kwargs={"kl_coef": 1.0, "reference": str(folder)})
    rollout = roll(agent)
    assert rollout.kl_penalty == pytest.approx(0, abs=1e-6)


def test_an_episode_without_a_valid_reward_is_left_out(task):
    agent = make_agent(task)
    calls = []

    def nan_once(step):
        def stepped(actions):
            obs, rewards, dones, infos = step(actions)
            if dones.any() and not calls:
                rewards = rewards.copy()
                rewards[np.flatnonzero(dones)[0]] = np.nan
                calls.append(1)
            return obs, rewards, dones, infos

        return stepped

    agent.env.step = nan_once(agent.env.step)
    rollout = None
    while not calls:
        rollout = roll(agent)
    assert rollout.dropped == 1
    (data,) = rollout.get(None)
    assert len(data.actions) < STEPS * ROWS
    assert all(torch.isfinite(column).all() for column in (data.advantages, data.returns))


def test_a_rollout_of_which_nothing_could_be_scored_is_an_error(task):
    agent = make_agent(task)
    step = agent.env.step
    agent.env.step = lambda actions: (lambda o, r, d, i: (o, np.full_like(r, np.nan), d, i))(*step(actions))
    rollout = roll(agent)
    with pytest.raises(ScoringFailure, match=r"none of the \d+ episodes of this rollout could be scored"):
        next(rollout.get(None))


def test_a_saved_agent_goes_on_where_its_model_folder_is_gone(task, folder, tmp_path):
    copy = tmp_path / "model"
    checkpoint = load_checkpoint(folder)
    save_checkpoint(copy, checkpoint.model, checkpoint.tokenizer)
    agent = make_agent(task, model=str(copy))
    agent.learn(STEPS * ROWS)
    agent.save(tmp_path / "agent.zip")
    for file in copy.iterdir():
        file.unlink()
    copy.rmdir()
    loaded = PPO.load(tmp_path / "agent.zip", env=agent.env)
    torch.testing.assert_close(flat(loaded), flat(agent), rtol=0, atol=0)
    loaded.learn(STEPS * ROWS)


def test_an_agent_whose_reference_is_gone_loads_and_acts_and_says_so_when_it_is_to_learn(task, folder, tmp_path):
    copy = tmp_path / "reference"
    checkpoint = load_checkpoint(folder)
    save_checkpoint(copy, checkpoint.model, checkpoint.tokenizer)
    agent = make_agent(task, buffer_kwargs={"kl_coef": 0.1, "reference": str(copy)})
    agent.save(tmp_path / "agent.zip")
    moved = copy.rename(tmp_path / "moved")
    loaded = PPO.load(tmp_path / "agent.zip", env=agent.env)
    observations = agent.env.reset()
    chosen, expected = (it.predict(observations, deterministic=True)[0] for it in (loaded, agent))
    np.testing.assert_array_equal(chosen, expected)
    with pytest.raises(CheckpointError, match=r"no model folder .*reference.*rollout_buffer_kwargs"):
        loaded.learn(STEPS * ROWS)
    here = {"kl_coef": 0.1, "reference": str(moved)}
    PPO.load(tmp_path / "agent.zip", env=agent.env, rollout_buffer_kwargs=here).learn(STEPS * ROWS)


def test_the_reference_is_saved_as_a_path_and_not_as_weights(task, folder, tmp_path):
    agent = make_agent(task, buffer_kwargs={"kl_coef": 0.1, "reference": str(folder)})
    agent.save(tmp_path / "agent.zip")
    with zipfile.ZipFile(tmp_path / "agent.zip") as saved:
        assert saved.getinfo("data").file_size < 100_000


def test_observations_that_are_not_prefixes_are_refused(task):
    agent = make_agent(task)
    agent.env = VecNormalize(agent.env, norm_obs=False, norm_reward=False)
    step = agent.env.step
    agent.env.step = lambda actions: (lambda o, *rest: (np.roll(o, 1, axis=1), *rest))(*step(actions))
    with pytest.raises(SpaceError, match="not the one before plus the chosen token"):
        roll(agent)


@pytest.mark.parametrize(
    ("kwargs", "said"),
    [
        ({"kl_coef": -1.0}, "kl_coef=-1.0"),
        ({"kl_coef": 0.1}, "needs reference="),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(kwargs, said):
    space = spaces.Box(-1, 9, (8,), np.int32)
    with pytest.raises(CheckpointError, match=said):
        EpisodeRolloutBuffer(4, space, spaces.Discrete(10), **kwargs)


def test_a_damaged_reference_is_refused_at_once(tmp_path):
    space = spaces.Box(-1, 9, (8,), np.int32)
    with pytest.raises(CheckpointError, match="holds no model"):
        EpisodeRolloutBuffer(4, space, spaces.Discrete(10), reference=tmp_path)


def test_a_reference_of_another_vocabulary_is_refused_with_both_numbers(folder):
    space = spaces.Box(-1, 9, (8,), np.int32)
    with pytest.raises(CheckpointError, match=r"vocabulary of \d+ .* needs 10 and 8"):
        EpisodeRolloutBuffer(4, space, spaces.Discrete(10), reference=folder)


def test_trpo_runs_unmodified_and_its_stored_log_probabilities_are_right(task):
    contrib = pytest.importorskip("sb3_contrib", reason="TRPO: pip install 'textgym[contrib]'")
    agent = make_agent(task, contrib.TRPO, buffer=RolloutBuffer, batch_size=STEPS * ROWS)
    agent.learn(2 * STEPS * ROWS)
    rollout = roll(agent)
    (data,) = rollout.get(None)
    agent.policy.set_training_mode(False)
    _, logp, _ = agent.policy.evaluate_actions(data.observations, data.actions.long().flatten())
    torch.testing.assert_close(logp, data.old_log_prob.flatten(), rtol=1e-4, atol=1e-5)
