"""What is timed: each function does a stated amount of work once and returns seconds."""

import time
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from textgym.benchmarks.speed.obvious import PaddedTransformer
from textgym.benchmarks.speed.setting import Setting

from textgym.sb3 import PPO_DEFAULTS, TransformerPolicy, make_sb3_env


class _Clock(BaseCallback):
    """Seconds spent in rollouts, and when the first whole iteration was over."""

    def __init__(self) -> None:
        super().__init__()
        self.rollout = 0.0
        self._began = 0.0

    def _on_rollout_start(self) -> None:
        self._began = time.perf_counter()

    def _on_rollout_end(self) -> None:
        self.rollout += time.perf_counter() - self._began

    def _on_step(self) -> bool:
        return True


def _learn(agent: PPO, tokens: int) -> dict[str, float]:
    """Tokens a second of `learn` after one iteration to warm up."""
    agent.learn(agent.n_steps * agent.n_envs)
    clock = _Clock()
    began = time.perf_counter()
    agent.learn(tokens, callback=clock)
    seconds = time.perf_counter() - began
    made = agent.num_timesteps
    return {
        "tokens": made,
        "seconds": seconds,
        "tokens_per_second": made / seconds,
        "rollout_tokens_per_second": made / clock.rollout,
        "training_tokens_per_second": made / (seconds - clock.rollout),
    }


def textgym_ppo(setting: Setting, iterations: int) -> dict[str, float]:
    """SB3's PPO with `TransformerPolicy` and `EpisodeRolloutBuffer`."""
    env = make_sb3_env("TextGen-v0", n_envs=setting.rows, seed=0, task=setting.task(), reward="length")
    settings = PPO_DEFAULTS | {
        "n_steps": setting.max_new_tokens,
        "batch_size": setting.batch_size,
        "n_epochs": setting.epochs,
    }
    agent = PPO(TransformerPolicy, env, policy_kwargs={"model": setting.architecture}, seed=0, device="cpu", **settings)
    return _learn(agent, iterations * setting.rows * setting.max_new_tokens)


def obvious_ppo(setting: Setting, steps: int) -> dict[str, float]:
    """SB3's PPO with the padded Transformer and the default buffer, in the same environment.

    Its cost a token does not depend on `n_steps`, so a short rollout will do.
    """
    env = make_sb3_env("TextGen-v0", n_envs=setting.rows, seed=0, task=setting.task(), reward="length")
    extractor: dict[str, Any] = {"vocab_size": setting.vocab_size, **setting.architecture}
    agent = PPO(
        "MlpPolicy",
        env,
        n_steps=steps,
        batch_size=min(setting.batch_size, steps * setting.rows),
        n_epochs=setting.epochs,
        gamma=1.0,
        policy_kwargs={
            "features_extractor_class": PaddedTransformer,
            "features_extractor_kwargs": extractor,
            "net_arch": [],
        },
        seed=0,
        device="cpu",
    )
    return _learn(agent, steps * setting.rows)


def vector_environment(setting: Setting, transitions: int) -> dict[str, float]:
    """The native vector environment alone, trivial reward; a CPU-second is one of this process."""
    shape = replace(setting, rows=256)
    envs = gym.make_vec("TextGen-v0", num_envs=shape.rows, task=shape.task(), reward="length")
    actions = np.random.default_rng(0).integers(3, shape.vocab_size, (64, shape.rows))
    envs.reset(seed=0)
    began = time.process_time()
    for step in range(transitions // shape.rows):
        envs.step(actions[step % len(actions)])
    return _rate(transitions, time.process_time() - began)


def single_environment(setting: Setting, transitions: int) -> dict[str, float]:
    """The single environment alone, trivial reward."""
    env = gym.make("TextGen-v0", task=setting.task(), reward="length").unwrapped
    actions = np.random.default_rng(0).integers(3, setting.vocab_size, transitions).tolist()
    env.reset(seed=0)
    began = time.process_time()
    for action in actions:
        if env.step(action)[2]:
            env.reset()
    return _rate(transitions, time.process_time() - began)


def _rate(transitions: int, seconds: float) -> dict[str, float]:
    return {"transitions": transitions, "cpu_seconds": seconds, "transitions_per_cpu_second": transitions / seconds}
