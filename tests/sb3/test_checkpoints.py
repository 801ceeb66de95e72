import errno
import json
import random
from copy import deepcopy

import gymnasium as gym
import numpy as np
import pytest
import torch
from safetensors import safe_open
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor, VecNormalize

from textgym.envs.tasks import make_task
from textgym.errors import CheckpointError
from textgym.models.checkpoint import save_checkpoint
from textgym.models.transformer import Transformer, TransformerConfig
from textgym.sb3 import (
    A2C_DEFAULTS,
    PPO_DEFAULTS,
    RewardLog,
    TrainingCheckpoint,
    TransformerPolicy,
    make_sb3_env,
    resume,
)
from textgym.sb3.checkpoints import remove_checkpoints, saved_tokens
from textgym.sb3.state_file import read_state, write_state
from textgym.sb3.training_state import training_state

STEPS, ROWS = 9, 6
ROLLOUT = STEPS * ROWS
TOTAL = 5 * ROLLOUT
REWARD = "distinct(n=2) - repetition(n=2)"


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def task(tiny_corpus):
    return make_task(corpus=str(tiny_corpus), tokenizer="word", vocab_size=64, max_new_tokens=12)


@pytest.fixture(scope="module")
def folder(task, tmp_path_factory):
    banned = (task.tokenizer.unk_id, task.tokenizer.sep_id)
    shape = {"n_layer": 1, "n_head": 2, "n_embd": 16, "banned": banned}
    model = Transformer(TransformerConfig(task.tokenizer.vocab_size, task.observation_length, **shape))
    path = tmp_path_factory.mktemp("models") / "start"
    save_checkpoint(path, model, task.tokenizer)
    return str(path)


@pytest.fixture
def make(task, folder):
    """Makes the same agent again and again; settings given here differ."""

    def agent(algorithm=PPO, wrap=lambda env: env, reward=REWARD, n_envs=ROWS, **settings):
        env = wrap(make_sb3_env("TextGen-v0", n_envs=n_envs, seed=5, task=task, reward=reward))
        if algorithm is PPO:
            given = dict(PPO_DEFAULTS, n_steps=STEPS, batch_size=n_envs * STEPS // 2, n_epochs=2)
        else:
            given = dict(A2C_DEFAULTS, n_steps=STEPS)
        given |= {"learning_rate": 1e-3, "policy_kwargs": {"model": folder}, "seed": 0, "device": "cpu"}
        given["rollout_buffer_kwargs"] = {"kl_coef": 0.1, "reference": folder, "kl_target": 1.0, "kl_horizon": 20.0}
        return algorithm(TransformerPolicy, env, **{**given, **settings})

    return agent


class StopAt(BaseCallback):
    """Stops a training as a kill does: without a word, in the middle of a rollout."""

    def __init__(self, tokens):
        super().__init__()
        self.tokens = tokens

    def _on_step(self):
        if self.num_timesteps >= self.tokens:
            raise ZeroDivisionError
        return True


def learn(agent, path, tokens=TOTAL, stop=10**9, every=1, **options):
    callbacks = [RewardLog(path / "metrics.jsonl"), TrainingCheckpoint(path / "ckpt", every=every), StopAt(stop)]
    agent.learn(tokens, callback=callbacks, **options)
    return agent


def stopped(agent, path, stop, **options):
    with pytest.raises(ZeroDivisionError):
        learn(agent, path, stop=stop, **options)


def go_on(agent, path, **options):
    torch.manual_seed(99), np.random.seed(99), random.seed(99)  # another process has other generators
    left = resume(agent, path / "ckpt", metrics=path / "metrics.jsonl")
    return learn(agent, path, left, reset_num_timesteps=False, **options)


def metrics(path):
    rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "tokens/per_second"} for row in rows]


def assert_same_state(ours, theirs):
    assert type(ours) is type(theirs)
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys()
        for key in ours:
            if key != "t":  # seconds
                assert_same_state(ours[key], theirs[key])
    elif isinstance(ours, np.ndarray):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)
    elif isinstance(ours, torch.Tensor):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    elif isinstance(ours, float | list | tuple):
        assert str(ours) == str(theirs)  # NaN is NaN
    else:
        assert ours == theirs


def untimed(agent):
    """The state without the logger's clock and the last iteration, which counts from where a training went on."""
    state = training_state(agent)
    state["log"] = {k: v for k, v in state["log"].items() if not k.startswith(("time/", "tokens/per_second"))}
    del state["counters"]["_num_timesteps_at_start"]
    del state["generators"]["python"]  # the checker of types draws from it
    return state


@pytest.fixture(scope="module")
def whole_runs():
    return {}


@pytest.fixture
def whole(make, whole_runs, tmp_path):
    """The training that nothing stopped, once for each algorithm."""

    def run(algorithm, **settings):
        key = algorithm, *settings
        if key not in whole_runs:
            path = tmp_path / "whole"
            agent = learn(make(algorithm, **settings), path)
            whole_runs[key] = untimed(agent), metrics(path)
        return whole_runs[key]

    return run


@pytest.mark.parametrize(
    ("algorithm", "stop"),
    [(PPO, 1), (PPO, ROLLOUT), (PPO, 3 * ROLLOUT + 20), (PPO, TOTAL - 1), (A2C, 1), (A2C, 2 * ROLLOUT + 20)],
)
def test_a_training_that_was_stopped_ends_as_one_that_was_not(make, whole, tmp_path, algorithm, stop):
    stopped(make(algorithm), tmp_path, stop)
    state, rows = whole(algorithm)
    agent = go_on(make(algorithm), tmp_path)
    assert agent.num_timesteps == TOTAL and len(rows) == 5
    assert metrics(tmp_path) == rows
    assert_same_state(untimed(agent), state)


def test_a_training_may_be_stopped_again_and_again(make, whole, tmp_path):
    stopped(make(), tmp_path, 70)
    for stop in (130, 131, 200):
        with pytest.raises(ZeroDivisionError):
            go_on(make(), tmp_path, stop=stop)
    agent = go_on(make(), tmp_path)
    assert metrics(tmp_path) == whole(PPO)[1]
    assert_same_state(untimed(agent), whole(PPO)[0])


def test_with_fewer_checkpoints_it_goes_on_from_further_back_to_the_same_end(make, whole, tmp_path):
    stopped(make(), tmp_path, 4 * ROLLOUT + 1, every=3)
    assert saved_tokens(tmp_path / "ckpt") == 3 * ROLLOUT
    agent = go_on(make(), tmp_path, every=3)
    assert metrics(tmp_path) == whole(PPO)[1]
    assert_same_state(untimed(agent), whole(PPO)[0])
    assert [int(file.stem) for file in sorted((tmp_path / "ckpt").iterdir())] == [3 * ROLLOUT, TOTAL]


def test_normalised_rewards_go_on_too(make, whole, tmp_path):
    settings = {"wrap": lambda env: VecNormalize(env, norm_obs=False)}
    state, rows = whole(PPO, **settings)
    assert state["environment"]["0 VecNormalize"]["var"] != 1.0
    stopped(make(**settings), tmp_path, 4 * ROLLOUT + 3)
    agent = go_on(make(**settings), tmp_path)
    assert metrics(tmp_path) == rows
    assert_same_state(untimed(agent), state)


def test_a_resumed_agent_is_where_the_checkpoint_was_taken(make, tmp_path):
    states = []

    class Look(BaseCallback):
        def _on_rollout_start(self):
            states.append(deepcopy(untimed(self.model)))

        def _on_step(self):
            return True

    agent = make()
    agent.learn(3 * ROLLOUT, callback=[Look(), TrainingCheckpoint(tmp_path)])
    (tmp_path / f"{3 * ROLLOUT:012d}.safetensors").unlink()
    again = make()
    assert resume(again, tmp_path) == ROLLOUT
    drawn = random.getstate()
    again._logger = agent.logger
    assert drawn == of_python(read_state(tmp_path / f"{2 * ROLLOUT:012d}.safetensors"))
    assert_same_state({**untimed(again), "log": {}}, {**states[2], "log": {}})
    kinds = [[(type(end["r"]), type(end["l"])) for end in one.ep_info_buffer] for one in (again, agent)]
    assert kinds[0] == kinds[1][: len(kinds[0])] and kinds[0]


def of_python(saved):
    state = saved["state"]["generators"]["python"]
    return state["version"], tuple(state["words"]), state["next_gauss"]


def test_a_finished_training_has_no_step_left(make, tmp_path):
    learn(make(), tmp_path, 2 * ROLLOUT)
    agent = make()
    assert resume(agent, tmp_path / "ckpt") == 0
    before = agent.policy.state_dict()
    agent.learn(0, reset_num_timesteps=False)
    assert_same_state(dict(agent.policy.state_dict()), dict(before))


def test_the_kl_is_measured_from_the_reference_folder_after_a_resumption(make, folder, tmp_path):
    plain = {"rollout_buffer_kwargs": {}}
    stopped(make(**plain), tmp_path, 4 * ROLLOUT)
    agent = make(**plain)
    resume(agent, tmp_path / "ckpt")
    agent.learn(ROLLOUT, callback=RewardLog(tmp_path / "own.jsonl"), reset_num_timesteps=False)
    agent = make(**plain)
    resume(agent, tmp_path / "ckpt")
    log = RewardLog(tmp_path / "folder.jsonl", reference=folder)
    agent.learn(ROLLOUT, callback=log, reset_num_timesteps=False)
    own, right = (json.loads((tmp_path / name).read_text())["kl/reference"] for name in ("own.jsonl", "folder.jsonl"))
    assert own == pytest.approx(0, abs=1e-6) and right > 1e-3


def test_a_row_of_metrics_that_was_torn_off_is_cut(make, whole, tmp_path):
    stopped(make(), tmp_path, 3 * ROLLOUT + 20)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"reward/paid": 0.')
    go_on(make(), tmp_path)
    assert metrics(tmp_path) == whole(PPO)[1]


# --- files ----------------------------------------------------------------------------------------------------------


def test_a_checkpoint_is_a_safetensors_file_that_others_can_read(make, tmp_path):
    agent = make()
    agent.learn(ROLLOUT, callback=TrainingCheckpoint(tmp_path))
    with safe_open(tmp_path / f"{ROLLOUT:012d}.safetensors", framework="pt") as file:
        weight = file.get_tensor("/state/policy/transformer.wte.weight")
        assert json.loads(file.metadata()["json"])["state"]["counters"]["num_timesteps"] == ROLLOUT
    torch.testing.assert_close(weight, agent.policy.transformer.wte.weight.detach(), rtol=0, atol=0)


def test_every_kind_of_array_comes_back_as_it_was(tmp_path):
    dtypes = (np.float64, np.float32, np.float16, np.int64, np.int32, np.int16, np.int8, np.bool_)
    state = {f"{np.dtype(kind)}": np.array([[0, 1, 1]] * 3, kind) for kind in dtypes}
    state |= {"scalar": np.array(2.5), "none": np.zeros((0, 4), np.int32), "half": torch.ones(3, dtype=torch.bfloat16)}
    state |= {"bytes": torch.arange(5, dtype=torch.uint8), "json": {"a": [1, None, 2**100], "b": {}, "c": "é"}}
    write_state(tmp_path / "state.safetensors", state)
    assert_same_state(read_state(tmp_path / "state.safetensors"), state)


def test_a_damaged_checkpoint_gives_way_to_the_one_before(make, whole, tmp_path, caplog):
    stopped(make(), tmp_path, 3 * ROLLOUT + 20)
    newest = tmp_path / "ckpt" / f"{3 * ROLLOUT:012d}.safetensors"
    content = bytearray(newest.read_bytes())
    content[-1000:] = bytes(1000)  # what a power failure leaves
    newest.write_bytes(content)
    agent = go_on(make(), tmp_path)
    assert "checksum does not match: going on from the one before" in caplog.text
    assert metrics(tmp_path) == whole(PPO)[1]
    assert_same_state(untimed(agent), whole(PPO)[0])


@pytest.mark.parametrize("damage", [lambda content: content[:1000], lambda content: b"", lambda content: b"{}" * 50])
def test_where_no_checkpoint_is_whole_that_is_said(make, tmp_path, damage):
    stopped(make(), tmp_path, 2)
    (file,) = (tmp_path / "ckpt").iterdir()
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(CheckpointError, match=r"0{12}\.safetensors is damaged"):
        resume(make(), tmp_path / "ckpt")


def test_a_full_disk_stops_the_training_with_one_message_and_leaves_the_checkpoint_before(
    make, whole, tmp_path, monkeypatch
):
    stopped(make(), tmp_path, 2 * ROLLOUT + 1)
    with monkeypatch.context() as patch:
        agent = make()
        left = resume(agent, tmp_path / "ckpt", metrics=tmp_path / "metrics.jsonl")
        patch.setattr("textgym.sb3.state_file._header", full_disk)
        with pytest.raises(CheckpointError) as caught:
            learn(agent, tmp_path, left, reset_num_timesteps=False)
    assert str(caught.value).endswith("No space left on device. The one at 108 tokens is whole")
    assert [file.name for file in (tmp_path / "ckpt").iterdir()] == [f"{2 * ROLLOUT:012d}.safetensors"]
    agent = go_on(make(), tmp_path)
    assert metrics(tmp_path) == whole(PPO)[1]
    assert_same_state(untimed(agent), whole(PPO)[0])


def full_disk(*unwritten):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_file_that_could_not_be_written_to_its_end_leaves_the_one_before(tmp_path):
    path = tmp_path / "state.safetensors"
    write_state(path, {"a": np.zeros(3), "b": np.zeros(3)})
    before = path.read_bytes()
    with full_file(path, room=10), pytest.raises(OSError, match="File too large"):
        write_state(path, {"a": np.ones(1000), "b": np.ones(1000)})
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_a_row_of_metrics_is_written_whole_or_not_at_all(make, tmp_path):
    path = tmp_path / "metrics.jsonl"
    agent = make()
    agent.learn(ROLLOUT, callback=RewardLog(path))
    before = path.read_bytes()
    with full_file(path, room=20), pytest.raises(Exception, match=r"metrics\.jsonl cannot be written: File too large"):
        agent.learn(ROLLOUT, callback=RewardLog(path), reset_num_timesteps=False)
    assert path.read_bytes() == before


def full_file(path, room):
    """No file of this process may grow beyond `path` and `room` more bytes: a full disk that needs no disk."""
    resource = pytest.importorskip("resource", reason="limits of a process: POSIX only")
    from contextlib import contextmanager

    @contextmanager
    def limited():
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + room, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limited()


def test_what_a_killed_process_had_half_written_goes(make, tmp_path):
    stopped(make(), tmp_path, ROLLOUT + 1)
    (tmp_path / "ckpt" / ".000000000108.safetensors.17-abcd.tmp").write_bytes(b"half")
    go_on(make(), tmp_path)
    assert len(list((tmp_path / "ckpt").iterdir())) == 2


def test_removing_checkpoints_leaves_what_is_not_theirs(make, tmp_path):
    make().learn(ROLLOUT, callback=TrainingCheckpoint(tmp_path / "a"))
    remove_checkpoints(tmp_path / "a")
    assert not (tmp_path / "a").exists()
    make().learn(ROLLOUT, callback=TrainingCheckpoint(tmp_path / "b"))
    (tmp_path / "b" / "model.safetensors").write_text("precious")
    remove_checkpoints(tmp_path / "b")
    assert [file.name for file in (tmp_path / "b").iterdir()] == ["model.safetensors"]


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"n_envs": 4}, "n_envs 6, this agent has 4"),
        ({"learning_rate": 5e-4}, r"lr_schedule 0\.001, this agent has 0\.0005"),
        ({"n_epochs": 3}, "n_epochs 2, this agent has 3"),
        ({"reward": "length"}, "reward .*distinct.*, this agent has .*length"),
        ({"algorithm": A2C}, "algorithm PPO, this agent has A2C"),
        ({"policy_kwargs": {"model": "tiny"}}, "of shape"),
        ({"wrap": lambda env: VecNormalize(env, norm_obs=False)}, "environment .*VecNormalize"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_training_with_other_settings_is_refused_by_name(make, tmp_path, settings, said):
    stopped(make(), tmp_path, ROLLOUT + 1)
    agent = make(**settings)
    before = training_state_of_policy(agent)
    with pytest.raises(CheckpointError, match=said):
        resume(agent, tmp_path / "ckpt")
    assert_same_state(training_state_of_policy(agent), before)


def training_state_of_policy(agent):
    return {name: value.clone() for name, value in agent.policy.named_parameters()}


def test_a_folder_without_a_checkpoint_is_nothing_to_resume(make, tmp_path):
    with pytest.raises(CheckpointError, match="nothing to go on from"):
        resume(make(), tmp_path / "nowhere")


def test_a_new_training_does_not_write_over_the_checkpoints_of_another(make, tmp_path):
    learn(make(), tmp_path, 2 * ROLLOUT)
    with pytest.raises(CheckpointError, match=r"holds a checkpoint at 108 tokens, this training is at 0"):
        learn(make(), tmp_path)
    assert saved_tokens(tmp_path / "ckpt") == 2 * ROLLOUT


def test_what_could_not_be_saved_whole_is_refused_when_training_begins(make, task, tmp_path):
    callback = TrainingCheckpoint(tmp_path)
    both = make_sb3_env("TextGenDict-v0", n_envs=2, task=task, reward="length")
    dqn = DQN("MultiInputPolicy", both, device="cpu", buffer_size=100)
    with pytest.raises(CheckpointError, match="with a ReplayBuffer, not DQN with DictReplayBuffer"):
        dqn.learn(10, callback=callback)
    rows = VecMonitor(DummyVecEnv([lambda: gym.make("TextGen-v0", task=task, reward="length")] * 2))
    agent = PPO(TransformerPolicy, rows, policy_kwargs={"model": "tiny"}, n_steps=8, batch_size=16, device="cpu")
    with pytest.raises(CheckpointError, match="the state of DummyVecEnv: make the environment with make_sb3_env"):
        agent.learn(10, callback=callback)
    with pytest.raises(CheckpointError, match="every=0"):
        TrainingCheckpoint(tmp_path, every=0)
