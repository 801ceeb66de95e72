import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3 import PPO
from textgym.agents import ppo

from textgym.envs.tasks import make_task
from textgym.errors import CheckpointError
from textgym.models.checkpoint import new_model, save_checkpoint
from textgym.sb3 import PPO_DEFAULTS, EpisodeRolloutBuffer, RewardLog, TransformerPolicy, make_sb3_env
from textgym.sb3.kl_control import adapted

STEPS, ROWS = 7, 6


@pytest.fixture(scope="module")
def task(tiny_corpus):
    return make_task(corpus=str(tiny_corpus), tokenizer="word", vocab_size=64, max_new_tokens=10)


@pytest.fixture(scope="module")
def folders(task, tmp_path_factory):
    """Two random models: one to begin as, one to be held near."""
    paths = [tmp_path_factory.mktemp("models") / name for name in ("start", "reference")]
    for seed, path in enumerate(paths):
        banned = (task.tokenizer.unk_id, task.tokenizer.sep_id)
        vocab_size, context = task.tokenizer.vocab_size, task.observation_length
        model = new_model("tiny", vocab_size=vocab_size, context=context, banned=banned, seed=seed)
        with torch.no_grad():
            model.wte.weight.mul_(4)  # far from uniform, so that there is something to measure
        save_checkpoint(path, model, task.tokenizer)
    return [str(path) for path in paths]


def make_agent(task, folders, **kl):
    env = make_sb3_env("TextGen-v0", n_envs=ROWS, seed=5, task=task, reward="length")
    chosen = dict(PPO_DEFAULTS, n_steps=STEPS, batch_size=STEPS * ROWS, n_epochs=1, learning_rate=1e-3)
    chosen["rollout_buffer_kwargs"] = {"kl_coef": 0.2, "reference": folders[1], **kl}
    return PPO(TransformerPolicy, env, policy_kwargs={"model": folders[0]}, seed=0, device="cpu", **chosen)


def test_the_coefficient_follows_a_trajectory_computed_by_hand():
    """K = 64 / 640 = 0.1, target 6: errors 0.5 and -1 are clipped to 0.2 and -0.2, 0.1 and 0 are not."""
    coef = 0.2
    for kl, expected in [(9.0, 0.204), (6.6, 0.20604), (6.0, 0.20604), (0.0, 0.2019192), (5.4, 0.199900008)]:
        coef = adapted(coef, kl, target=6.0, horizon=640.0, texts=64)
        assert coef == pytest.approx(expected, rel=1e-9)


def test_a_rollout_longer_than_the_horizon_moves_it_by_a_fifth_at_most():
    assert adapted(1.0, 100.0, target=1.0, horizon=10.0, texts=10_000) == pytest.approx(1.2)
    assert adapted(1.0, 0.0, target=1.0, horizon=10.0, texts=10_000) == pytest.approx(0.8)


@settings(max_examples=30, deadline=None)
@given(st.floats(1e-3, 10), st.floats(0.1, 50), st.floats(0.01, 5))
def test_it_converges_where_the_kl_falls_with_the_coefficient(coef, target, slope):
    """KL = slope / beta, about what a penalty does to a linear reward: beta ends at slope / target."""
    for _ in range(2500):
        coef = adapted(coef, slope / coef, target=target, horizon=640.0, texts=64)
    assert slope / coef == pytest.approx(target, rel=1e-3)


def test_the_kl_of_a_text_is_its_log_ratio_over_all_the_rollouts_that_it_spans(task, folders):
    agent = make_agent(task, folders, kl_target=6.0, kl_horizon=50.0)
    agent._setup_learn(10**6)
    callback, buffer = agent._init_callback(None), agent.rollout_buffer
    running, coef = np.zeros(ROWS), 0.2
    measured = 0
    for _ in range(4):
        agent.collect_rollouts(agent.env, callback, buffer, STEPS)
        penalty = buffer.log_probs - buffer._reference_logprobs()
        ends = np.vstack([buffer.episode_starts[1:], agent._last_episode_starts]).astype(bool)
        finished = []
        for step in range(STEPS):
            running += penalty[step]
            finished += running[ends[step]].tolist()
            running[ends[step]] = 0.0
        assert buffer.paid_kl_coef == pytest.approx(coef)
        if finished:
            measured += 1
            assert buffer.kl_text == pytest.approx(np.mean(finished), rel=1e-5)
            coef = adapted(coef, np.mean(finished), target=6.0, horizon=50.0, texts=len(finished))
        assert buffer.kl_coef == pytest.approx(coef)
    assert measured > 1 and coef != 0.2


def test_without_a_target_the_coefficient_stays_and_nothing_is_logged_of_it(task, folders, tmp_path):
    agent = make_agent(task, folders)
    agent.learn(3 * STEPS * ROWS, callback=RewardLog(tmp_path / "metrics.jsonl"))
    assert agent.rollout_buffer.kl_coef == 0.2
    assert "kl/penalty" in (tmp_path / "metrics.jsonl").read_text()
    assert "kl/coef" not in (tmp_path / "metrics.jsonl").read_text()


def test_the_log_shows_what_each_rollout_was_paid_with(task, folders):
    agent, seen = make_agent(task, folders, kl_target=0.01, kl_horizon=5.0), []

    class Look(RewardLog):
        def _on_rollout_end(self):
            super()._on_rollout_end()
            seen.append([self.logger.name_to_value[key] for key in ("kl/coef", "kl/text")])

    agent.learn(3 * STEPS * ROWS, callback=Look())
    coefs = [coef for coef, _ in seen]
    assert coefs[0] == 0.2 and coefs == sorted(coefs) and coefs[-1] > 0.2  # far above the target: it can only grow
    assert seen[-1][1] == agent.rollout_buffer.kl_text


def test_the_state_of_the_buffer_goes_on_in_another(task, folders):
    agents = [make_agent(task, folders, kl_target=6.0) for _ in range(2)]
    agents[0].learn(2 * STEPS * ROWS)
    first, second = (agent.rollout_buffer for agent in agents)
    second.load_state_dict(first.state_dict())
    assert second.kl_coef == first.kl_coef != 0.2
    np.testing.assert_array_equal(second._unfinished_kl, first._unfinished_kl)
    assert first._unfinished_kl.any()


def test_an_agent_takes_the_target_by_name(task, folders):
    env = make_sb3_env("TextGen-v0", n_envs=16, task=task, reward="length")
    agent = ppo.build(env, folders[0], kl_coef=0.3, kl_target=5.0)
    assert (agent.rollout_buffer.kl_coef, agent.rollout_buffer.kl_target) == (0.3, 5.0)
    with pytest.raises(CheckpointError, match=r"kl_target=5\.0 needs a kl_coef above 0"):
        ppo.build(env, folders[0], kl_target=5.0)


@pytest.mark.parametrize(
    ("kwargs", "said"),
    [
        ({"kl_target": 6.0}, "needs a kl_coef above 0"),
        ({"kl_coef": 0.1, "kl_target": 0.0}, r"kl_target=0\.0 .* above 0"),
        ({"kl_coef": 0.1, "kl_target": 1.0, "kl_horizon": -5.0}, r"kl_horizon=-5\.0"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(kwargs, said):
    space = spaces.Box(-1, 9, (8,), np.int32)
    with pytest.raises(CheckpointError, match=said):
        EpisodeRolloutBuffer(4, space, spaces.Discrete(10), reference="nowhere", **kwargs)
