"""Environments without autoreset: a row that has ended rests until the next reset."""

import numpy as np
import pytest

import textgym  # noqa: F401 (registers the ids)
from textgym.errors import EpisodeError
from textgym.sb3 import make_sb3_env

ROWS, EOS = 6, 2


@pytest.fixture
def env(tmp_path):
    rng = np.random.default_rng(0)
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n\n".join(" ".join(rng.choice(list("abcdefg"), 12)) for _ in range(100)))
    return lambda n_envs=ROWS, **more: make_sb3_env(
        "TextGen-v0", n_envs, corpus=str(corpus), tokenizer="word", max_new_tokens=8, reward="distinct(n=1)", **more
    )


def written_out(env, actions):
    """Steps until every row has ended: sum of rewards, number of ends and last infos of each row."""
    returns, ends, last = np.zeros(ROWS), np.zeros(ROWS, int), [{}] * ROWS
    for step in actions:
        _, rewards, dones, infos = env.step(step)
        returns += rewards
        ends += dones
        last = [info if done else before for info, done, before in zip(infos, dones, last, strict=True)]
        if ends.all():
            break
    return returns, ends, last


def test_each_row_writes_one_text_the_first_of_a_row_that_goes_on(env):
    resting = env(seed=3, autoreset=False)
    resting.reset()
    actions = np.random.default_rng(1).integers(2, 9, (8, ROWS))
    returns, ends, last = written_out(resting, actions)
    assert (ends == 1).all()
    assert len({len(info["completion"]) for info in last}) > 1, "all of one length: the test sees nothing"
    for row in range(ROWS):
        again = env(seed=3)  # rows that go on: their first text is the same one
        again.reset()
        for step in actions:
            _, reward, dones, infos = again.step(step)
            if dones[row]:
                break
        np.testing.assert_array_equal(infos[row]["completion"], last[row]["completion"])
        np.testing.assert_array_equal(infos[row]["terminal_observation"], last[row]["terminal_observation"])
        assert reward[row] == returns[row] and infos[row]["episode"]["r"] == last[row]["episode"]["r"]


def test_a_resting_row_keeps_its_text_and_says_nothing(env):
    resting = env(seed=0, autoreset=False)
    resting.reset()
    first = np.full(ROWS, 3)
    first[0] = EOS
    told, _, dones, _ = resting.step(first)
    assert dones.tolist() == [True] + [False] * (ROWS - 1)
    later, rewards, dones, infos = resting.step(np.full(ROWS, 4))
    np.testing.assert_array_equal(later[0], told[0])
    assert rewards[0] == 0 and not dones.any() and infos[0].keys() == {"TimeLimit.truncated"}
    assert infos[1]["length"] == 2


def test_the_action_of_a_resting_row_is_not_looked_at(env):
    resting = env(seed=0, autoreset=False)
    resting.reset()
    resting.step(np.array([EOS, 3, 3, 3, 3, 3]))
    resting.step(np.array([10**6, 3, 3, 3, 3, 3]))


def test_a_limit_from_outside_truncates_once(env):
    resting = env(seed=0, autoreset=False, max_episode_steps=3)
    resting.reset()
    ended = [resting.step(np.full(ROWS, 3))[2].sum() for _ in range(3)]
    assert ended == [0, 0, ROWS]
    with pytest.raises(EpisodeError, match="every row is finished"):
        resting.step(np.full(ROWS, 3))


def test_prompts_of_a_group_stay_together_however_long_the_texts_are(env):
    resting = env(seed=0, autoreset=False, group_size=3)
    rng = np.random.default_rng(0)
    for _ in range(4):
        prompts = resting.reset()
        for group in (prompts[:3], prompts[3:]):
            assert (group == group[0]).all()
        written_out(resting, rng.integers(2, 9, (8, ROWS)))


def test_step_live_needs_rows_that_wait(env):
    with pytest.raises(EpisodeError, match="DISABLED"):
        env(seed=0).venv.envs.step_live(np.full(ROWS, 3))
