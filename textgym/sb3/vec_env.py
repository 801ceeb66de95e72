"""`TextGenVecEnv`: the native vector environment as Stable-Baselines3 wants it, and `make_sb3_env`, which makes one.

Gives what `DummyVecEnv([lambda: gym.make("TextGen-v0", ...)] * n)` gives, at the price of one batched step.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import iterate
from jaxtyping import Int
from stable_baselines3.common.vec_env import VecEnv, VecMonitor

from textgym.errors import TaskError

Indices = int | Iterable[int] | None


class TextGenVecEnv(VecEnv):
    """A Stable-Baselines3 `VecEnv` over a vector environment that resets finished rows in the same step.

    Infos hold `length` and `TimeLimit.truncated` at every step; at the end of an episode all that the single
    environment tells there, and `terminal_observation`. Each is a dict of its own, which callers may change.

    In mode DISABLED a finished row rests until the next reset (see `TextGenVectorEnv.step_live`), for algorithms that
    learn from whole texts, one a row. Stable-Baselines3's own need rows that go on.

    Args:
        envs: a `TextGenVectorEnv` with `autoreset_mode="SameStep"` or "Disabled". Its arrays must be new in each step,
            since Stable-Baselines3 stores the last observation after it has stepped; `TextGenVectorEnv` makes them so.

    Raises:
        TaskError: another autoreset mode.
    """

    def __init__(self, envs: VectorEnv[Any, Any, Any]) -> None:
        mode = envs.metadata.get("autoreset_mode")
        self.rests = mode is AutoresetMode.DISABLED and hasattr(envs, "step_live")
        if not self.rests and mode is not AutoresetMode.SAME_STEP:
            raise TaskError(
                f"TextGenVecEnv needs rows that are reset in the step that ends them, given autoreset_mode={mode}: "
                "gym.make_vec(..., autoreset_mode='SameStep'), or make_sb3_env(...), which does it"
            )
        self.envs = envs
        self.spec = envs.spec
        self._actions: Int[np.ndarray, " B"] = np.zeros(0, np.int64)
        super().__init__(envs.num_envs, envs.single_observation_space, envs.single_action_space)

    def reset(self) -> Any:
        """Begins an episode in every row, with the seeds and options set since the last time; observations (B, L)."""
        seeds: Any = None if all(seed is None for seed in self._seeds) else list(self._seeds)
        observations, infos = self.envs.reset(seed=seeds, options=_as_columns(self._options))
        self.reset_infos = _as_rows(infos, self.num_envs)
        self._reset_seeds()
        self._reset_options()
        return observations

    def step_async(self, actions: np.ndarray) -> None:
        """Takes the actions (B,) of the next `step_wait`."""
        self._actions = actions

    def step_wait(self) -> tuple[Any, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """One step of all rows: observations (B, L), rewards (B,) float32, dones (B,), B infos."""
        envs: Any = self.envs
        observations, rewards, terminated, truncated, columns = (envs.step_live if self.rests else envs.step)(
            self._actions
        )
        dones = terminated | truncated
        ends = {key: columns.pop(key) for key in ("final_obs", "final_info") if key in columns}
        infos = _as_rows(columns, self.num_envs)
        if ends:
            final = _as_rows(ends["final_info"], self.num_envs)
            for row in np.flatnonzero(dones).tolist():
                self.reset_infos[row], infos[row] = infos[row], final[row]
                infos[row]["terminal_observation"] = ends["final_obs"][row]
        if self.rests:
            last = list(iterate(envs.observation_space, observations))
            for row in np.flatnonzero(dones).tolist():
                infos[row]["terminal_observation"] = last[row]
        for info, cut in zip(infos, (truncated & ~terminated).tolist(), strict=True):
            info["TimeLimit.truncated"] = cut
        return observations, rewards.astype(np.float32), dones, infos

    def close(self) -> None:
        """Closes the vector environment."""
        self.envs.close()

    def state_dict(self) -> dict[str, Any]:
        """The state of the vector environment, between two steps; see `TextGenVectorEnv.state_dict`."""
        envs: Any = self.envs
        state: dict[str, Any] = envs.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from such a state; seeds and options set for a first reset are spent, since that has been."""
        envs: Any = self.envs
        envs.load_state_dict(state)
        self._reset_seeds()
        self._reset_options()

    def get_images(self) -> Sequence[np.ndarray | None]:
        """One picture a row in render mode "rgb_array"; no picture in any other."""
        if self.render_mode != "rgb_array":
            return [None] * self.num_envs
        return [np.asarray(picture) for picture in self.envs.render() or ()]

    def has_attr(self, attr_name: str) -> bool:
        """Whether the vector environment has this attribute."""
        return hasattr(self.envs, attr_name)

    def get_attr(self, attr_name: str, indices: Indices = None) -> list[Any]:
        """An attribute of the vector environment, which all rows share, once for each of the rows asked for.

        Raises:
            AttributeError: there is no such attribute.
        """
        value = getattr(self.envs, attr_name)
        return [value for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Indices = None) -> None:
        """Sets an attribute for all rows at once.

        Raises:
            TaskError: some rows only.
        """
        if sorted(set(self._get_indices(indices))) != list(range(self.num_envs)):
            raise TaskError(f"set_attr({attr_name!r}): the rows share one environment, so it is set for all or none")
        setattr(self.envs, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: Indices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Calls a method of the vector environment that answers for all rows (`action_masks`, `render`).

        Returns:
            The answers of the rows asked for; None for each where the method answers nothing.

        Raises:
            AttributeError: there is no such method.
            TaskError: a method that does not give one answer a row.
        """
        answers = getattr(self.envs, method_name)(*method_args, **method_kwargs)
        if answers is None:
            return [None for _ in self._get_indices(indices)]
        if not isinstance(answers, np.ndarray | Sequence) or len(answers) != self.num_envs:
            raise TaskError(f"env_method({method_name!r}): does not give one answer for each of {self.num_envs} rows")
        return [answers[i] for i in self._get_indices(indices)]

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: Indices = None
    ) -> list[bool]:
        """Rows of a native vector environment have no wrapper: False for each."""
        return [False for _ in self._get_indices(indices)]


def make_sb3_env(
    id: str = "TextGen-v0",
    n_envs: int = 64,
    *,
    seed: int | None = None,
    monitor_dir: str | Path | None = None,
    task: Any = None,
    corpus: str | None = None,
    field: str | None = None,
    prompts: str | None = None,
    tokenizer: str | None = None,
    vocab_size: int | None = None,
    max_new_tokens: int | None = None,
    max_prompt_tokens: int | None = None,
    on_long_prompt: str | None = None,
    split: str | None = None,
    reward: Any = None,
    delivery: str | None = None,
    on_failure: str | None = None,
    constraint: Any = None,
    group_size: int | None = None,
    gamma: float | None = None,
    mask_in_info: bool | None = None,
    max_episode_steps: int | None = None,
    render_mode: str | None = None,
    cache_dir: str | None = None,
    autoreset: bool = True,
) -> VecMonitor:
    """An environment that PPO, A2C and any other algorithm of Stable-Baselines3 takes.

    Args:
        id: a registered id; its vector environment must know `autoreset_mode`.
        n_envs: rows B.
        seed: row i is reset with seed + i at the first reset; None leaves it to the algorithm's `seed`.
        monitor_dir: folder for `monitor.csv`, one line an episode; None writes none.
        task: the settings of the environment from here on (see `TextGenEnv`); None leaves its own default.
        corpus: file to make a task from.
        field: column or field of that file.
        prompts: file of prompts with references and metadata.
        tokenizer: "auto", "char", "word", "bpe", a tokenizer file, or a folder or hub name of Hugging Face's.
        vocab_size: V at most, for tokenizers that are trained; None for 8,192 (bpe, char) or 4,096 (word).
        max_new_tokens: budget of a completion, EOS included.
        max_prompt_tokens: longest prompt.
        on_long_prompt: "skip", "truncate" or "error".
        split: "train" or "heldout".
        reward: spec, mapping, Scorer, callable or "file.py:function".
        delivery: when it is paid: "terminal", "per_token" or "shaped".
        on_failure: "raise" or "mask".
        constraint: which tokens may come next; for policies that look at masks, which plain PPO does not.
        group_size: so many neighbouring rows share their prompts.
        gamma: discount of shaped delivery; the agent's must be the same.
        mask_in_info: put `action_mask` into every info.
        max_episode_steps: an outside limit, which truncates.
        render_mode: as the environment's.
        cache_dir: where fitted arrays are kept.
        autoreset: whether a row that has ended begins anew at once, as the algorithms of Stable-Baselines3 need it; or
            rests until all have, as those need it that learn from whole texts (REINFORCE, RLOO, GRPO).

    Returns:
        The environment in a `VecMonitor`, so that `ep_rew_mean` is logged.
    """
    settings = {
        "task": task,
        "corpus": corpus,
        "field": field,
        "prompts": prompts,
        "tokenizer": tokenizer,
        "vocab_size": vocab_size,
        "max_new_tokens": max_new_tokens,
        "max_prompt_tokens": max_prompt_tokens,
        "on_long_prompt": on_long_prompt,
        "split": split,
        "reward": reward,
        "delivery": delivery,
        "on_failure": on_failure,
        "constraint": constraint,
        "group_size": group_size,
        "gamma": gamma,
        "mask_in_info": mask_in_info,
        "max_episode_steps": max_episode_steps,
        "render_mode": render_mode,
        "cache_dir": cache_dir,
    }
    given = {name: value for name, value in settings.items() if value is not None}
    mode = AutoresetMode.SAME_STEP if autoreset else AutoresetMode.DISABLED
    envs = gym.make_vec(id, num_envs=n_envs, autoreset_mode=mode.value, **given)
    venv = TextGenVecEnv(envs)
    if seed is not None:
        venv.seed(seed)
    if monitor_dir is None:
        return VecMonitor(venv)
    Path(monitor_dir).mkdir(parents=True, exist_ok=True)
    return VecMonitor(venv, str(Path(monitor_dir) / "monitor.csv"))


def _as_rows(columns: dict[str, Any], rows: int) -> list[dict[str, Any]]:
    """Gymnasium's infos (arrays with `_key` masks) as Stable-Baselines3's: one dict a row."""
    infos: list[dict[str, Any]] = [{} for _ in range(rows)]
    for key, values in columns.items():
        mask = columns.get(f"_{key}")  # a mask has none of its own
        for row in () if mask is None else np.flatnonzero(mask).tolist():
            infos[row][key] = values[row]
    return infos


def _as_columns(options: Sequence[dict[str, Any]]) -> dict[str, list[Any]] | None:
    """Reset options of each row as the vector environment takes them: one list an option, None where a row has none."""
    keys = {key: None for row in options for key in row}
    return {key: [row.get(key) for row in options] for key in keys} or None
