import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.buffers import ReplayBuffer

import textgym
from textgym.errors import SpaceError
from textgym.sb3 import make_sb3_env
from textgym.sb3.replay import PrefixReplayBuffer, extended

ROWS = 4


def filled(kind, steps, size):
    """A buffer of this kind after so many steps of a random agent."""
    env = make_sb3_env(n_envs=ROWS, task=textgym.micro("bigram", vocab_size=4, horizon=4), seed=0, max_episode_steps=3)
    buffer = kind(size, env.observation_space, env.action_space, "cpu", ROWS)
    rng, observations = np.random.default_rng(0), env.reset()
    for _ in range(steps):
        actions = rng.integers(2, 6, ROWS)
        after, rewards, dones, infos = env.step(actions)
        last = after.copy()
        for row in np.flatnonzero(dones):
            last[row] = infos[row]["terminal_observation"]
        buffer.add(observations, last, actions, rewards, dones, infos)
        observations = after
    return buffer


@pytest.mark.parametrize(("steps", "size"), [(5, 40), (10, 40), (37, 40)])
def test_it_samples_what_the_usual_buffer_does_bit_for_bit(steps, size):
    samples = []
    for kind in (PrefixReplayBuffer, ReplayBuffer):
        buffer = filled(kind, steps, size)
        np.random.seed(7)
        samples.append(buffer.sample(200))
        assert (buffer.pos, buffer.full) == (steps % 10, steps >= 10)
    for ours, theirs in zip(*samples, strict=True):
        assert ours is theirs is None or (ours.dtype == theirs.dtype and ours.equal(theirs))
    assert 0 < samples[0].dones.mean() < 1 and (samples[0].next_observations >= 0).sum() > 0


@pytest.mark.parametrize(("steps", "size"), [(5, 40), (10, 40), (37, 40), (23, 1000)])
def test_its_texts_are_the_steps_that_ended_and_what_came_before(steps, size):
    buffer, usual = filled(PrefixReplayBuffer, steps, size), filled(ReplayBuffer, steps, size)
    known = {}  # (row, number of the step) -> its transition, oldest first
    for step in range(max(steps - buffer.buffer_size, 0), steps):
        for row in range(ROWS):
            known[row, step] = tuple(
                getattr(usual, name)[step % usual.buffer_size, row]
                for name in ("observations", "actions", "rewards", "dones", "timeouts")
            )
    expected = set()
    for (row, step), (prefix, action, _, done, _) in known.items():
        if not done:
            continue
        begin = step
        while (row, begin - 1) in known and not known[row, begin - 1][3]:
            begin -= 1
        whole = [*prefix[prefix >= 0].tolist(), int(action[0])]
        steps_of = [known[row, each] for each in range(begin, step + 1)]
        rewards = tuple(float(each[2]) for each in steps_of)
        ended = tuple(bool(each[3] and not each[4]) for each in steps_of)
        expected.add((tuple(whole), len(whole) - len(steps_of), rewards, ended))
    np.random.seed(0)
    texts = buffer.sample_texts(2_000)
    segments, found, at = texts.segments, set(), 0
    parts = (part.tolist() for part in (segments.tokens, segments.first, segments.steps))
    for tokens, first, count in zip(*parts, strict=True):
        rewards, ended = texts.rewards[at : at + count].tolist(), texts.ended[at : at + count].tolist()
        found.add((tuple(tokens[: first + count]), first, tuple(rewards), tuple(ended)))
        at += count
    assert found == expected and len(expected) > 1
    assert 2_000 <= len(texts.rewards) < 2_004 and at == len(texts.rewards)


def test_without_an_ended_text_there_is_none_to_sample():
    assert filled(PrefixReplayBuffer, 0, 40).sample_texts(8) is None


def test_it_holds_each_prefix_once():
    ours, theirs = (filled(kind, 1, 400) for kind in (PrefixReplayBuffer, ReplayBuffer))
    sizes = [sum(v.nbytes for v in vars(buffer).values() if isinstance(v, np.ndarray)) for buffer in (ours, theirs)]
    assert sizes[1] - sizes[0] == ours.observations.nbytes and not hasattr(ours, "next_observations")


def test_a_prefix_grows_by_one_token_behind_its_last():
    found = extended(np.array([[5, 1, -1, -1], [1, -1, -1, -1]]), np.array([7, 8]))
    assert found.tolist() == [[5, 1, 7, -1], [1, 8, -1, -1]]


def test_observations_that_do_not_grow_by_their_token_are_refused():
    buffer = PrefixReplayBuffer(8, spaces.Box(-1, 9, (4,), np.int32), spaces.Discrete(10), "cpu", 1)
    prefix, after = np.array([[3, 1, -1, -1]]), np.array([[3, 1, 6, -1]])
    buffer.add(prefix, after, np.array([6]), np.zeros(1), np.zeros(1), [{}])
    with pytest.raises(SpaceError, match="not the one before plus the chosen token"):
        buffer.add(prefix, after, np.array([7]), np.zeros(1), np.zeros(1), [{}])
    with pytest.raises(SpaceError, match="leave optimize_memory_usage away"):
        PrefixReplayBuffer(8, buffer.observation_space, buffer.action_space, optimize_memory_usage=True)
