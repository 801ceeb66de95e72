"""The state of a training between two rollouts, as nested dicts of arrays and JSON values.

What follows from it is not in it: KV caches, streams of scorers, the frozen reference. The replay buffers of off-policy
algorithms are not either, so those are refused.
"""

import random
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.vec_env import VecCheckNan, VecEnv, VecEnvWrapper, VecMonitor, VecNormalize

from textgym.errors import CheckpointError
from textgym.sb3.defaults import attribute_of
from textgym.sb3.state_file import State
from textgym.sb3.vec_env import TextGenVecEnv

COUNTERS = (
    "num_timesteps",
    "_total_timesteps",
    "_num_timesteps_at_start",
    "_episode_num",
    "_n_updates",
    "_current_progress_remaining",
)
SETTINGS = (
    *("n_envs", "n_steps", "batch_size", "n_epochs", "gamma", "gae_lambda", "ent_coef", "vf_coef"),
    *("max_grad_norm", "normalize_advantage", "target_kl"),
)
SCHEDULES = ("lr_schedule", "clip_range", "clip_range_vf")


def require_savable(agent: Any) -> None:
    """Raises CheckpointError for an algorithm or an environment whose state cannot be saved whole."""
    if not isinstance(agent, OnPolicyAlgorithm) or hasattr(agent, "_last_lstm_states"):
        raise CheckpointError(
            f"checkpoints of a training hold PPO, A2C and other on-policy algorithms, not {type(agent).__name__}: "
            "its replay buffer or recurrent state is not in them. Train it without (--checkpoint-every 0)"
        )
    _environment_states(agent)


def settings_of(agent: OnPolicyAlgorithm) -> State:
    """What must be the same where a training goes on: algorithm, task, reward, shapes, hyper-parameters."""
    found: State = {"algorithm": type(agent).__name__}
    found["environment"] = [type(env).__name__ for env in _chain(agent)]
    found |= {name: getattr(agent, name) for name in SETTINGS if hasattr(agent, name)}
    for name in SCHEDULES:  # two schedules that begin alike cannot be told apart
        schedule = getattr(agent, name, None)
        found[name] = None if schedule is None else float(schedule(1.0))
    found["observations"] = str(agent.observation_space)
    found["actions"] = str(agent.action_space)
    for name in ("task", "reward"):
        found[name] = getattr(attribute_of(agent.env, name, None), "signature", None)
    found["kl_target"] = getattr(agent.rollout_buffer, "kl_target", None)
    found["kl_horizon"] = getattr(agent.rollout_buffer, "kl_horizon", None)
    return found | {f"a {name} of shape": list(value.shape) for name, value in agent.policy.named_parameters()}


def training_state(agent: OnPolicyAlgorithm) -> State:
    """Everything that decides how a training goes on, at the start or the end of a rollout."""
    policy = dict(agent.policy.state_dict())
    policy.pop("_extra_state", None)  # the shape of the network, which `settings_of` compares
    return {
        "policy": policy,
        "optimizer": _optimizer_state(agent.policy.optimizer),
        "environment": _environment_states(agent),
        "buffer": agent.rollout_buffer.state_dict() if hasattr(agent.rollout_buffer, "state_dict") else {},
        "generators": _generators(agent.device),
        "counters": {name: getattr(agent, name) for name in COUNTERS},
        "last": {"observations": agent._last_obs, "starts": agent._last_episode_starts},
        "episodes": _columns(agent.ep_info_buffer or ()),
        "successes": np.array(list(agent.ep_success_buffer or ()), bool),
        "log": _log_state(agent.logger),
    }


def load_training_state(agent: OnPolicyAlgorithm, state: State) -> None:
    """Takes over what `training_state` gave of such an agent; the open lines of its logger come with `load_log`."""
    policy = {**agent.policy.state_dict(), **state["policy"]}
    agent.policy.load_state_dict(policy)
    _load_optimizer(agent.policy.optimizer, state["optimizer"])
    for wrapper, of_wrapper in zip(_chain(agent), state["environment"].values(), strict=True):
        _load_environment(wrapper, of_wrapper)
    if hasattr(agent.rollout_buffer, "load_state_dict"):
        agent.rollout_buffer.load_state_dict(state["buffer"])
    for name, value in state["counters"].items():
        setattr(agent, name, value)
    agent._last_obs, agent._last_episode_starts = state["last"]["observations"], state["last"]["starts"]
    agent.ep_info_buffer = deque(_rows(state["episodes"]), agent._stats_window_size)
    agent.ep_success_buffer = deque(state["successes"].tolist(), agent._stats_window_size)
    _load_generators(state["generators"], agent.device)  # last: nothing above may draw from them afterwards


def load_log(logger: Logger, state: State) -> None:
    """Gives a logger the figures that were recorded and not yet written out."""
    for name, (value, count, excluded) in state.items():
        logger.name_to_value[name], logger.name_to_count[name] = value, count
        logger.name_to_excluded[name] = tuple(excluded)


def _log_state(logger: Logger) -> State:
    return {
        name: [_plain(value), logger.name_to_count.get(name, 0), list(logger.name_to_excluded.get(name, ("",)))]
        for name, value in logger.name_to_value.items()
        if isinstance(value, bool | int | float | str | np.generic)  # no pictures, no videos
    }


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


# --- the optimizer --------------------------------------------------------------------------------------------------


def _optimizer_state(optimizer: torch.optim.Optimizer) -> State:
    state = optimizer.state_dict()
    return {
        "moments": {str(index): of_parameter for index, of_parameter in state["state"].items()},
        "groups": {
            str(i): {name: value for name, value in group.items() if name != "params"}
            for i, group in enumerate(state["param_groups"])
        },
    }


def _load_optimizer(optimizer: torch.optim.Optimizer, state: State) -> None:
    groups = optimizer.state_dict()["param_groups"]
    for i, group in enumerate(groups):
        for name, value in state["groups"][str(i)].items():  # betas are a tuple, which JSON does not know
            group[name] = tuple(value) if isinstance(group.get(name), tuple) else value
    moments = {int(index): of_parameter for index, of_parameter in state["moments"].items()}
    optimizer.load_state_dict({"state": moments, "param_groups": groups})


# --- the environment and its wrappers -------------------------------------------------------------------------------


def _chain(agent: OnPolicyAlgorithm) -> list[VecEnv]:
    """The wrappers from outside in, the environment last."""
    assert agent.env is not None
    chain = [agent.env]
    while isinstance(chain[-1], VecEnvWrapper):
        chain.append(chain[-1].venv)
    return chain


def _environment_states(agent: OnPolicyAlgorithm) -> State:
    return {f"{i} {type(env).__name__}": _environment_state(env) for i, env in enumerate(_chain(agent))}


def _environment_state(env: VecEnv) -> State:
    match env:
        case VecMonitor():
            return {
                "returns": env.episode_returns,
                "lengths": env.episode_lengths,
                "count": env.episode_count,
            }
        case VecNormalize(norm_obs=False):
            of_returns = env.ret_rms
            rewards = {"mean": of_returns.mean, "var": of_returns.var, "count": of_returns.count}
            return {"returns": env.returns, **{name: np.asarray(value, np.float64) for name, value in rewards.items()}}
        case VecCheckNan():
            return {}
        case TextGenVecEnv() if env.has_attr("state_dict"):
            return env.state_dict()
    raise CheckpointError(
        f"checkpoints of a training cannot hold the state of {type(env).__name__}: make the environment with "
        "make_sb3_env, and leave this wrapper away"
    )


def _load_environment(env: VecEnv, state: State) -> None:
    match env:
        case VecMonitor():
            env.episode_returns, env.episode_lengths = state["returns"], state["lengths"]
            env.episode_count = state["count"]
        case VecNormalize():
            env.returns = state["returns"]
            env.ret_rms.mean, env.ret_rms.var = state["mean"], state["var"]
            env.ret_rms.count = float(state["count"])
        case TextGenVecEnv():
            env.load_state_dict(state)


# --- random numbers and episode statistics --------------------------------------------------------------------------


def _generators(device: torch.device) -> State:
    name, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)  # what SB3 draws from
    version, words, next_gauss = random.getstate()
    found: State = {
        "torch": torch.get_rng_state(),
        "numpy": {
            "name": name,
            "keys": np.asarray(keys).tolist(),
            "position": position,
            "has_gauss": has_gauss,
            "gauss": gauss,
        },
        "python": {"version": version, "words": list(words), "next_gauss": next_gauss},
    }
    if device.type == "cuda":
        found["cuda"] = torch.cuda.get_rng_state(device)
    return found


def _load_generators(state: State, device: torch.device) -> None:
    of_numpy, of_python = state["numpy"], state["python"]
    keys = np.array(of_numpy["keys"], np.uint32)
    np.random.set_state((of_numpy["name"], keys, of_numpy["position"], of_numpy["has_gauss"], of_numpy["gauss"]))
    random.setstate((of_python["version"], tuple(of_python["words"]), of_python["next_gauss"]))
    torch.set_rng_state(state["torch"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"], device)


def _columns(episodes: Sequence[Mapping[str, Any]] | deque[Any]) -> State:
    """One array a key, so that numbers keep their types: a mean of float32 is not the mean of the same float64."""
    rows = list(episodes)
    return {key: np.array([row[key] for row in rows]) for key in (rows[0] if rows else ())}


def _rows(columns: State) -> list[dict[str, Any]]:
    length = len(next(iter(columns.values()), ()))
    return [{key: column[i] for key, column in columns.items()} for i in range(length)]
