"""The state of a training between two rollouts, as nested dicts of arrays and JSON values.

What follows from it is not in it: KV caches, streams of scorers, the frozen reference. An algorithm or a callback that
has more state than Stable-Baselines3's own has `state_dict()` and `load_state_dict(state)`.
"""

import random
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import DictReplayBuffer, ReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.type_aliases import TrainFreq
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
    *("_n_calls", "exploration_rate"),  # DQN's
)
SETTINGS = (
    *("n_envs", "n_steps", "batch_size", "n_epochs", "gamma", "gae_lambda", "ent_coef", "vf_coef"),
    *("max_grad_norm", "normalize_advantage", "target_kl"),
    *("cg_max_steps", "cg_damping", "line_search_shrinking_factor", "line_search_max_iter", "n_critic_updates"),
    *("sub_sampling_factor", "buffer_size", "learning_starts", "train_freq", "gradient_steps", "tau"),
    *("target_update_interval", "exploration_initial_eps", "exploration_final_eps", "exploration_fraction"),
    *("top_p", "target_update", "sampling", "aggregate", "baseline", "reward_to_go", "scale_advantages"),
    *("clip_range_high", "share", "threshold", "batch_tokens", "warmup", "weight_decay"),
)
BUFFER_SETTINGS = ("kl_target", "kl_horizon", "kl_in", "kl_estimator", "ent_coef", "temperature")
SCHEDULES = ("lr_schedule", "clip_range", "clip_range_vf")


def require_savable(agent: Any) -> None:
    """Raises CheckpointError for an algorithm or an environment whose state cannot be saved whole."""
    name = type(agent).__name__
    if hasattr(agent, "_last_lstm_states"):
        raise CheckpointError(
            f"checkpoints of a training do not hold the recurrent state of {name}. Train it without "
            "(--checkpoint-every 0)"
        )
    replay = getattr(agent, "replay_buffer", None)
    simple = isinstance(replay, ReplayBuffer) and not isinstance(replay, DictReplayBuffer)
    if not isinstance(agent, OnPolicyAlgorithm) and not (isinstance(agent, OffPolicyAlgorithm) and simple):
        raise CheckpointError(
            f"checkpoints of a training hold on-policy algorithms, and off-policy ones with a ReplayBuffer, not {name} "
            f"with {type(replay).__name__}. Train it without (--checkpoint-every 0)"
        )
    _environment_states(agent)


def settings_of(agent: BaseAlgorithm) -> State:
    """What must be the same where a training goes on: algorithm, task, reward, shapes, hyper-parameters."""
    found: State = {"algorithm": type(agent).__name__}
    found["environment"] = [type(env).__name__ for env in _chain(agent)]
    found |= {name: _as_json(getattr(agent, name)) for name in SETTINGS if hasattr(agent, name)}
    for name in SCHEDULES:  # two schedules that begin alike cannot be told apart
        schedule = getattr(agent, name, None)
        found[name] = None if schedule is None else float(schedule(1.0) if callable(schedule) else schedule)
    found["observations"] = str(agent.observation_space)
    found["actions"] = str(agent.action_space)
    for name in ("task", "reward"):
        found[name] = getattr(attribute_of(agent.env, name, None), "signature", None)
    buffer = getattr(agent, "rollout_buffer", None)
    own = {name: getattr(buffer, name, None) for name in BUFFER_SETTINGS}
    found |= {name if name.startswith("kl_") else f"{name} of the buffer": value for name, value in own.items()}
    return found | {f"a {name} of shape": list(value.shape) for name, value in agent.policy.named_parameters()}


def _as_json(setting: Any) -> Any:
    if isinstance(setting, TrainFreq):
        return f"{setting.frequency} {setting.unit.value}"
    return setting if isinstance(setting, bool | int | float | str | None) else repr(setting)


def training_state(agent: BaseAlgorithm) -> State:
    """Everything that decides how a training goes on, at the start or the end of a rollout."""
    policy = dict(agent.policy.state_dict())
    policy.pop("_extra_state", None)  # the shape of the network, which `settings_of` compares
    return {
        "algorithm": _own_state(agent),
        "policy": policy,
        "optimizer": _optimizer_state(agent.policy.optimizer),
        "environment": _environment_states(agent),
        "buffer": _buffer_state(agent),
        "generators": _generators(agent),
        "counters": {name: getattr(agent, name) for name in COUNTERS if hasattr(agent, name)},
        "last": {"observations": agent._last_obs, "starts": agent._last_episode_starts},
        "episodes": _columns(agent.ep_info_buffer or ()),
        "successes": np.array(list(agent.ep_success_buffer or ()), bool),
        "log": _log_state(agent.logger),
    }


def load_training_state(agent: BaseAlgorithm, state: State) -> None:
    """Takes over what `training_state` gave of such an agent; the open lines of its logger come with `load_log`."""
    policy = {**agent.policy.state_dict(), **state["policy"]}
    agent.policy.load_state_dict(policy)
    _load_optimizer(agent.policy.optimizer, state["optimizer"])
    for wrapper, of_wrapper in zip(_chain(agent), state["environment"].values(), strict=True):
        _load_environment(wrapper, of_wrapper)
    _load_buffer(agent, state["buffer"])
    if state.get("algorithm"):
        agent.load_state_dict(state["algorithm"])  # type: ignore[attr-defined]
    for name, value in state["counters"].items():
        setattr(agent, name, value)
    agent._last_obs, agent._last_episode_starts = state["last"]["observations"], state["last"]["starts"]
    agent.ep_info_buffer = deque(_rows(state["episodes"]), agent._stats_window_size)
    agent.ep_success_buffer = deque(state["successes"].tolist(), agent._stats_window_size)
    _load_generators(state["generators"], agent)  # last: nothing above may draw from them afterwards


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


# --- what algorithms have of their own ------------------------------------------------------------------------------


def _own_state(owner: Any) -> State:
    """The state that an algorithm, a buffer or a callback says it has."""
    return owner.state_dict() if hasattr(owner, "state_dict") else {}


def _buffer_state(agent: Any) -> State:
    """What a buffer keeps from rollout to rollout; of a replay buffer, all that has been written to it."""
    replay = getattr(agent, "replay_buffer", None)
    if replay is None:
        return _own_state(agent.rollout_buffer)
    filled = replay.buffer_size if replay.full else replay.pos
    columns = {name: column[:filled] for name, column in _replayed(replay).items()}
    return {"columns": columns, "pos": replay.pos, "full": replay.full}


def _load_buffer(agent: Any, state: State) -> None:
    replay = getattr(agent, "replay_buffer", None)
    if replay is not None:
        replay.pos, replay.full = state["pos"], state["full"]
        for name, column in _replayed(replay).items():
            column[: len(state["columns"][name])] = state["columns"][name]
    elif hasattr(agent.rollout_buffer, "load_state_dict"):
        agent.rollout_buffer.load_state_dict(state)


def _replayed(replay: ReplayBuffer) -> dict[str, np.ndarray]:
    """The columns of a replay buffer, one entry a step each."""
    return {name: value for name, value in vars(replay).items() if isinstance(value, np.ndarray)}


def callback_states(callback: BaseCallback) -> State:
    """The states of those callbacks that have one, by their class and how many of it came before."""
    return {name: _own_state(owner) for name, owner in _owners(callback).items()}


def load_callback_states(callback: BaseCallback, state: State) -> None:
    """Gives them back.

    Raises:
        CheckpointError: a callback that had a state is not there.
    """
    owners = _owners(callback)
    for name, of_callback in state.items():
        if name not in owners:
            raise CheckpointError(
                f"the training that this goes on had a callback {name} with a state of its own: give it to learn again"
            )
        owners[name].load_state_dict(of_callback)


def _owners(callback: BaseCallback) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for each in _listed(callback):
        if hasattr(each, "state_dict"):
            name = type(each).__name__
            found[f"{name} {sum(known.startswith(f'{name} ') for known in found)}"] = each
    return found


def _listed(callback: BaseCallback) -> list[BaseCallback]:
    if isinstance(callback, CallbackList):
        return [each for part in callback.callbacks for each in _listed(part)]
    return [callback]


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


def _chain(agent: BaseAlgorithm) -> list[VecEnv]:
    """The wrappers from outside in, the environment last."""
    assert agent.env is not None
    chain = [agent.env]
    while isinstance(chain[-1], VecEnvWrapper):
        chain.append(chain[-1].venv)
    return chain


def _environment_states(agent: BaseAlgorithm) -> State:
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


def _generators(agent: BaseAlgorithm) -> State:
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
    if isinstance(agent, OffPolicyAlgorithm):  # explores by sampling from its space
        found["space"] = agent.action_space.np_random.bit_generator.state
    if agent.device.type == "cuda":
        found["cuda"] = torch.cuda.get_rng_state(agent.device)
    return found


def _load_generators(state: State, agent: BaseAlgorithm) -> None:
    of_numpy, of_python = state["numpy"], state["python"]
    keys = np.array(of_numpy["keys"], np.uint32)
    np.random.set_state((of_numpy["name"], keys, of_numpy["position"], of_numpy["has_gauss"], of_numpy["gauss"]))
    random.setstate((of_python["version"], tuple(of_python["words"]), of_python["next_gauss"]))
    torch.set_rng_state(state["torch"])
    if "space" in state:
        agent.action_space.np_random.bit_generator.state = state["space"]
    if agent.device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"], agent.device)


def _columns(episodes: Sequence[Mapping[str, Any]] | deque[Any]) -> State:
    """One array a key, so that numbers keep their types: a mean of float32 is not the mean of the same float64."""
    rows = list(episodes)
    return {key: np.array([row[key] for row in rows]) for key in (rows[0] if rows else ())}


def _rows(columns: State) -> list[dict[str, Any]]:
    length = len(next(iter(columns.values()), ()))
    return [{key: column[i] for key, column in columns.items()} for i in range(length)]
