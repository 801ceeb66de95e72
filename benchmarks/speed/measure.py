"""Tokens and transitions a second: each function does a stated amount of work once and says how long it took."""

import time
from collections.abc import Callable
from dataclasses import replace

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from textgym.benchmarks.speed.agents import RolloutClock, learner, obvious_agent, textgym_agent
from textgym.benchmarks.speed.setting import Setting


def clock_of(device: str) -> Callable[[], float]:
    """A stopwatch that waits until the device has done what it was told."""

    def now() -> float:
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        return time.perf_counter()

    return now


def textgym_ppo(setting: Setting, iterations: int) -> dict[str, float]:
    """SB3's PPO with `TransformerPolicy` and `EpisodeRolloutBuffer`, after one iteration to warm up."""
    return warm_ppo(textgym_agent(setting), setting, iterations, "cpu")


def warm_ppo(agent: PPO, setting: Setting, iterations: int, device: str) -> dict[str, float]:
    """Iterations of an agent of ours, after one to warm up."""
    agent.learn(setting.tokens)
    return {**_learn(agent, iterations * setting.tokens, clock_of(device)), "gflop_per_token": gflop(setting)}


def agent(setting: Setting, name: str, iterations: int) -> dict[str, float]:
    """One of `agents.LEARNERS`, after one iteration to warm up."""
    made = learner(setting, name).learn(setting.tokens)
    return _learn(made, iterations * setting.tokens, clock_of("cpu"))


def obvious_ppo(setting: Setting, steps: int) -> dict[str, float]:
    """SB3's PPO with the padded Transformer and the default buffer, after one short rollout to warm up."""
    obvious_agent(setting, 1).learn(setting.rows)
    return _learn(obvious_agent(setting, steps), steps * setting.rows, clock_of("cpu"))


def gflop(setting: Setting) -> float:
    """1e9 FLOP a token by the formula of this package."""
    return setting.flop_per_token / 1e9


def _learn(agent: OnPolicyAlgorithm, tokens: int, now: Callable[[], float]) -> dict[str, float]:
    """Tokens a second of `learn`."""
    rollouts = RolloutClock(now)
    began = now()
    agent.learn(tokens, callback=rollouts)
    seconds = now() - began
    made = agent.num_timesteps
    return {
        "tokens": made,
        "seconds": seconds,
        "tokens_per_second": made / seconds,
        "rollout_tokens_per_second": made / rollouts.seconds,
        "training_tokens_per_second": made / (seconds - rollouts.seconds),
    }


def vector_environment(setting: Setting, transitions: int) -> dict[str, float]:
    """The native vector environment alone, trivial reward; a CPU-second is one of this process.

    Args:
        setting: T and the vocabulary; of its rows there are 256 here.
        transitions: about how many to take.
    """
    shape = replace(setting, rows=256)
    envs = gym.make_vec("TextGen-v0", num_envs=shape.rows, task=shape.task(), reward="length")
    actions = np.random.default_rng(setting.seed).integers(3, shape.vocab_size, (64, shape.rows))
    steps = max(transitions // shape.rows, shape.max_new_tokens + 1)
    envs.reset(seed=setting.seed)
    began = time.process_time()
    for step in range(steps):
        envs.step(actions[step % len(actions)])
    seconds = time.process_time() - began
    resets = steps // (shape.max_new_tokens + 1)  # the step that resets every row takes no action
    return _rate((steps - resets) * shape.rows, seconds)


def single_environment(setting: Setting, transitions: int) -> dict[str, float]:
    """The single environment alone, trivial reward."""
    env = gym.make("TextGen-v0", task=setting.task(), reward="length").unwrapped
    actions = np.random.default_rng(setting.seed).integers(3, setting.vocab_size, transitions).tolist()
    env.reset(seed=setting.seed)
    began = time.process_time()
    for action in actions:
        if env.step(action)[2]:
            env.reset()
    return _rate(transitions, time.process_time() - began)


def _rate(transitions: int, seconds: float) -> dict[str, float]:
    return {"transitions": transitions, "cpu_seconds": seconds, "transitions_per_cpu_second": transitions / seconds}
