"""Conformance of environments: run it on TextGen-v0 with your own task and reward, or on an environment of your own."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils import env_checker
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from textgym.errors import EpisodeError, SpaceError, TaskError

EPISODES = 3
_END_KEYS = ("finish_reason", "completion", "text", "illegal_actions")


def check_env(env: gym.Env[Any, Any], episodes: int = EPISODES) -> None:
    """Proves that a single environment keeps Gymnasium's contract and that of TextGen-v0 or one of its twins.

    Args:
        env: what to check; wrappers are taken off.
        episodes: how many random episodes are played.

    Raises:
        AssertionError: a breach, said in one sentence.
    """
    env = env.unwrapped
    env_checker.check_env(env, skip_render_check=env.spec is None, skip_close_check=env.spec is None)
    rng = np.random.default_rng(0)
    eos = env.get_wrapper_attr("task").tokenizer.eos_id
    vocab_size = int(env.action_space.n)  # type: ignore[attr-defined]
    for episode in range(episodes):
        _check_episode(env, episode, rng.integers(vocab_size, size=10_000).tolist())
    _check_episode(env, 0, [eos])
    _check_determinism(env, rng.integers(vocab_size, size=50).tolist())
    _check_misuse(env, vocab_size, eos)


def _check_episode(env: gym.Env[Any, Any], seed: int, actions: list[int]) -> None:
    """Plays one episode and checks every step of it."""
    task = env.get_wrapper_attr("task")
    tokenizer, budget = task.tokenizer, task.max_new_tokens
    early = env.get_wrapper_attr("episodes").delivery.kind != "terminal"
    previous, info = env.reset(seed=seed)
    prompt = _prefix(previous)
    assert prompt[-1] == tokenizer.sep_id, f"the first observation ends in id {prompt[-1]}, not in the separator"
    assert prompt.count(tokenizer.sep_id) == 1, "the separator stands more than once in the first observation"
    assert info["length"] == 0, f"info['length'] after reset is {info['length']}, not 0"
    written: list[int] = []
    for action in actions:
        kept = copy.deepcopy(previous)
        observation, reward, terminated, truncated, info = env.step(action)
        written.append(action)
        assert env_checker.data_equivalence(kept, previous, exact=True), (
            "a step has changed the observation that was handed out before it"
        )
        assert _prefix(observation) == prompt + written, "the observation is not prompt + separator + actions so far"
        _check_mask(env, observation)
        assert info["length"] == len(written), f"info['length'] is {info['length']} after {len(written)} actions"
        assert "episode" not in info, "info holds 'episode', a key that belongs to RecordEpisodeStatistics"
        assert truncated is False, "truncated=True comes only from an outside TimeLimit; the budget is visible"
        due = action == tokenizer.eos_id or len(written) == budget
        assert terminated is True or not due, "neither EOS nor the budget has ended the episode"
        if terminated:
            _check_end(info, written, tokenizer, due)
            return
        assert reward == 0.0 or early, f"terminal delivery pays at the end, yet step {len(written)} paid {reward}"
        told = [key for key in info if key in _END_KEYS or key.startswith(("reward_components/", "gold/"))]
        assert not told, f"{told} stand in info before the end"
        previous = observation


def _prefix(observation: Any) -> list[int]:
    tokens = observation["tokens"] if isinstance(observation, dict) else observation
    length = int((tokens >= 0).sum())
    assert (tokens[:length] >= 0).all(), "the prefix is not left-aligned: padding stands before a token"
    assert (tokens[length:] == -1).all(), "padding is not -1"
    prefix: list[int] = tokens[:length].tolist()
    return prefix


def _check_mask(env: gym.Env[Any, Any], observation: Any) -> None:
    if isinstance(observation, dict):
        told, asked = observation["action_mask"], env.get_wrapper_attr("action_masks")()
        assert np.array_equal(told, asked), "the observation's action_mask is not what action_masks() says"


def _check_end(info: Mapping[str, Any], written: list[int], tokenizer: Any, due: bool) -> None:
    for key in _END_KEYS:
        assert key in info, f"info at the end lacks {key!r}"
    reason = "stop" if written[-1] == tokenizer.eos_id else "length" if due else "rule"
    assert info["finish_reason"] in (reason, "rule"), f"finish_reason is {info['finish_reason']!r}, not {reason!r}"
    assert list(info["completion"]) == written, "info['completion'] is not the actions of the episode"
    assert info["text"] == tokenizer.decode(written), "info['text'] is not the text of the completion"
    assert any(key.startswith("reward_components/") for key in info), "info at the end names no reward component"


def _check_determinism(env: gym.Env[Any, Any], actions: list[int]) -> None:
    runs = []
    for _ in range(2):
        run: list[Any] = [env.reset(seed=7)]
        for action in actions:
            run.append(env.step(action))
            if run[-1][2]:
                run.append(env.reset())
        runs.append(run)
    assert env_checker.data_equivalence(runs[0], runs[1], exact=True), "the same seed and actions gave other results"


def _check_misuse(env: gym.Env[Any, Any], vocab_size: int, eos: int) -> None:
    env.reset(seed=0)
    for action in (-1, vocab_size, 1.0, True):
        _refuses(SpaceError, f"action {action!r}", env.step, action)
    for options in ({"no such option": 1}, {"prompt": [eos]}, {"prompt_index": -1}):
        _refuses(TaskError, f"reset option {options}", lambda options=options: env.reset(options=options))
    env.reset(seed=0)
    env.step(eos)
    _refuses(EpisodeError, "a step after the end", env.step, eos)
    env.reset(seed=0)
    assert env.get_wrapper_attr("action_masks")().any(), "no token may come first"


def _refuses(error: type[Exception], what: str, call: Callable[..., Any], *args: Any) -> None:
    try:
        call(*args)
    except error:
        return
    except Exception as other:
        raise AssertionError(f"{what} raised {type(other).__name__}, not {error.__name__}") from other
    raise AssertionError(f"{what} was accepted")


def check_vector_env(
    make_single: Callable[[], gym.Env[Any, Any]],
    make_vector: Callable[[AutoresetMode], VectorEnv[Any, Any, Any]],
    *,
    steps: int = 200,
    seed: int = 0,
    tolerance: float = 0.0,
) -> None:
    """Proves that row i of a vector environment equals a single one reset with seed + i, in all three autoreset modes.

    The yardstick is Gymnasium's `SyncVectorEnv` over single environments: observations, rewards, flags and infos.

    Args:
        make_single: makes a single environment, TimeLimit included where there is one.
        make_vector: makes the vector environment in a mode.
        steps: random steps in each mode; a tenth of the actions are EOS.
        seed: of the environments and of the actions.
        tolerance: absolute difference allowed in numbers; 0 means bit for bit (a scorer that runs a model states one).

    Raises:
        AssertionError: a breach, naming mode, step and key.
    """
    for mode in AutoresetMode:
        vector = make_vector(mode)
        single = SyncVectorEnv([make_single] * vector.num_envs, autoreset_mode=mode)
        assert vector.metadata["autoreset_mode"] is mode, f"metadata['autoreset_mode'] is not {mode}"
        assert vector.observation_space == single.observation_space, "the observation spaces differ"
        assert vector.action_space == single.action_space, "the action spaces differ"
        rng = np.random.default_rng(seed)
        eos = vector.unwrapped.task.tokenizer.eos_id  # type: ignore[attr-defined]
        actions = rng.integers(single.single_action_space.n, size=(steps, vector.num_envs))  # type: ignore[attr-defined]
        actions[rng.random(actions.shape) < 0.1] = eos
        compare_vector_envs(vector, single, actions, seed=seed, tolerance=tolerance)


def compare_vector_envs(
    vector: VectorEnv[Any, Any, Any],
    yardstick: VectorEnv[Any, Any, Any],
    actions: np.ndarray,
    *,
    seed: int = 0,
    tolerance: float = 0.0,
) -> None:
    """Plays the same actions (steps, B) in two vector environments and compares all that comes back.

    In mode DISABLED finished rows are reset by `reset_mask`.

    Raises:
        AssertionError: a difference, naming mode, step and key.
    """
    mode = vector.metadata["autoreset_mode"]
    _same(vector.reset(seed=seed), yardstick.reset(seed=seed), f"{mode.value}, reset", tolerance)
    for step, row in enumerate(actions):
        where = f"{mode.value}, step {step}"
        ours, theirs = vector.step(row), yardstick.step(row)
        _same(ours, theirs, where, tolerance)
        over = ours[2] | ours[3]
        if mode is AutoresetMode.DISABLED and over.any():
            # Gymnasium's takes the mask out of the options: a dictionary for each.
            resets = [env.reset(options={"reset_mask": over.copy()}) for env in (vector, yardstick)]
            _same(resets[0], resets[1], f"{where}, reset of {np.flatnonzero(over).tolist()}", tolerance)


def _same(ours: Any, theirs: Any, where: str, tolerance: float) -> None:
    """Recursive equality, types and dtypes included."""
    assert type(ours) is type(theirs), f"{where}: {type(ours).__name__} where {type(theirs).__name__} is due"
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys(), f"{where}: keys {sorted(ours)} where {sorted(theirs)} are due"
        for key in ours:
            _same(ours[key], theirs[key], f"{where}, {key!r}", tolerance)
    elif isinstance(ours, tuple):
        assert len(ours) == len(theirs), f"{where}: {len(ours)} values where {len(theirs)} are due"
        for index, pair in enumerate(zip(ours, theirs, strict=True)):
            _same(*pair, f"{where}, value {index}", tolerance)
    elif isinstance(ours, np.ndarray):
        assert ours.shape == theirs.shape, f"{where}: shape {ours.shape} where {theirs.shape} is due"
        assert ours.dtype == theirs.dtype, f"{where}: dtype {ours.dtype} where {theirs.dtype} is due"
        if ours.dtype == object:
            _same(tuple(ours), tuple(theirs), where, tolerance)
        elif ours.dtype.kind == "f":
            close = np.allclose(ours, theirs, rtol=0.0, atol=tolerance, equal_nan=True)
            assert close, f"{where}: {ours} where {theirs} is due"
        else:
            assert np.array_equal(ours, theirs), f"{where}: {ours} where {theirs} is due"
    else:
        assert ours == theirs, f"{where}: {ours!r} where {theirs!r} is due"
