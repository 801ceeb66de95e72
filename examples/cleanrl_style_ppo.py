"""PPO in one file, in CleanRL's manner, on a TextGym environment.

Nothing here is TextGym's but the environment: a network of one's own, `gym.make_vec`, plain PyTorch. With the defaults
it learns from nothing to write likely words in about a minute on one core:

    python examples/cleanrl_style_ppo.py
    python examples/cleanrl_style_ppo.py --corpus my.txt --vocab-size 500

The default reward asks for likely words and for different ones. With the first half alone PPO finds the likeliest
string there is and writes nothing else: --reward "fluency(lm='ngram:4')" shows it.

Algorithm: Schulman et al. 2017, with generalised advantages (Schulman et al. 2016).
"""

import argparse
import time
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from torch import nn
from torch.distributions import Categorical


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The settings, from the command line or from a list."""
    parser = argparse.ArgumentParser(
        description="PPO on text, in one file", formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("--env-id", default="textgym:TextGen-v0", help="TextGenFloat-v0 would do as well")
    add("--corpus", help="text to make the task from; none takes the docstrings of the standard library")
    add("--tokenizer", default="word", help="char, word or bpe")
    add("--vocab-size", type=int, default=300)
    add("--max-new-tokens", type=int, default=8, help="tokens an episode may have")
    add("--max-prompt-tokens", type=int, default=32)
    add("--reward", default="fluency(lm='ngram:4') + 4*distinct(n=1)", help="any reward spec: textgym list scorers")
    add("--seed", type=int, default=1)
    add("--num-envs", type=int, default=64)
    add("--num-steps", type=int, default=32, help="steps of each environment between two updates")
    add("--total-timesteps", type=int, default=200_000)
    add("--learning-rate", type=float, default=1e-3, help="at the beginning; falls to 0")
    add("--gamma", type=float, default=1.0, help="below 1 it would reward short texts")
    add("--gae-lambda", type=float, default=0.95)
    add("--num-minibatches", type=int, default=4)
    add("--update-epochs", type=int, default=4)
    add("--clip-coef", type=float, default=0.2)
    add("--ent-coef", type=float, default=0.1, help="high: a policy without it settles on one text")
    add("--vf-coef", type=float, default=0.5)
    add("--max-grad-norm", type=float, default=0.5)
    return parser.parse_args(argv)


class Agent(nn.Module):
    """Looks at the last tokens alone: their embeddings, side by side, through two layers.

    The separator stands among them until the text has outgrown the window, so they also tell how long it is.
    """

    def __init__(self, vocab_size: int, window: int, width: int = 32, hidden: int = 128) -> None:
        super().__init__()
        self.window, self.nothing = window, vocab_size
        self.embedding = nn.Embedding(vocab_size + 1, width)
        first, second = nn.Linear(window * width, hidden), nn.Linear(hidden, hidden)
        self.trunk = nn.Sequential(nn.Flatten(), first, nn.Tanh(), second, nn.Tanh())
        self.actor, self.critic = nn.Linear(hidden, vocab_size), nn.Linear(hidden, 1)
        for layer, gain in ((first, 2**0.5), (second, 2**0.5), (self.actor, 0.01), (self.critic, 1.0)):
            nn.init.orthogonal_(layer.weight, gain)
            nn.init.zeros_(layer.bias)

    def last_tokens(self, observation: torch.Tensor) -> torch.Tensor:
        """(B, L) prefixes, -1 beyond their end -> (B, window), with `nothing` where a prefix is shorter."""
        length = (observation >= 0).sum(dim=1, keepdim=True)
        at = length - torch.arange(self.window, 0, -1)
        return observation.gather(1, at.clamp(min=0)).masked_fill(at < 0, self.nothing)

    def forward(self, observation: torch.Tensor) -> tuple[Categorical, torch.Tensor]:
        """Observations (B, L) -> what the next token may be, (B, V), and the value of the prefix, (B,)."""
        features = self.trunk(self.embedding(self.last_tokens(observation.long())))
        return Categorical(logits=self.actor(features)), self.critic(features).squeeze(-1)


def gae(
    rewards: torch.Tensor,
    values: torch.Tensor,
    ends: torch.Tensor,
    next_value: torch.Tensor,
    gamma: float,
    gae_lambda: float,
) -> torch.Tensor:
    """Generalised advantages (T, B); nothing flows back over the end of a text.

    Args:
        rewards: (T, B).
        values: (T, B) of the states before the rewards.
        ends: (T, B) 1 where a step ended a text.
        next_value: (B,) of the states after the last rewards.
        gamma: discount.
        gae_lambda: 1 takes whole returns, 0 the next value alone.
    """
    advantages, following = torch.zeros_like(rewards), torch.zeros_like(next_value)
    for t in reversed(range(len(rewards))):
        delta = rewards[t] + gamma * (1 - ends[t]) * next_value - values[t]
        following = delta + gamma * gae_lambda * (1 - ends[t]) * following
        advantages[t], next_value = following, values[t]
    return advantages


def improve(
    agent: Agent, optimizer: torch.optim.Optimizer, args: argparse.Namespace, batch: list[torch.Tensor]
) -> float:
    """Some epochs of the clipped objective over a batch (obs, actions, logprobs, advantages, returns); the last KL."""
    for _ in range(args.update_epochs):
        for rows in torch.randperm(len(batch[0])).chunk(args.num_minibatches):
            obs, actions, logprobs, advantage, returns = (part[rows] for part in batch)
            distribution, value = agent(obs)
            log_ratio = distribution.log_prob(actions) - logprobs
            advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
            ratio = log_ratio.exp()
            clipped = ratio.clamp(1 - args.clip_coef, 1 + args.clip_coef)
            policy_loss = -torch.min(ratio * advantage, clipped * advantage).mean()
            value_loss = 0.5 * (value - returns).pow(2).mean()
            loss = policy_loss + args.vf_coef * value_loss - args.ent_coef * distribution.entropy().mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(agent.parameters(), args.max_grad_norm)
            optimizer.step()
    return float((ratio - 1 - log_ratio).mean().detach())


def make_envs(args: argparse.Namespace) -> gym.vector.VectorEnv[Any, Any, np.ndarray]:
    """So many rows of one task.

    A row that ends begins anew within the same step, so every transition is a real one. (In NEXT_STEP the step after
    the end only resets: its action is ignored and it pays nothing, so it must be left out of the loss.)
    """
    return gym.make_vec(
        args.env_id,
        num_envs=args.num_envs,
        autoreset_mode=AutoresetMode.SAME_STEP,
        corpus=args.corpus,
        tokenizer=args.tokenizer,
        vocab_size=args.vocab_size,
        max_new_tokens=args.max_new_tokens,
        max_prompt_tokens=args.max_prompt_tokens,
        reward=args.reward,
        gamma=args.gamma,
    )


def train(args: argparse.Namespace) -> list[float]:
    """Trains and prints; returns the mean return of the episodes that ended in each update."""
    torch.manual_seed(args.seed)
    envs = make_envs(args)
    assert isinstance(envs.single_observation_space, gym.spaces.Box), "observations are to be stored in one array"
    assert isinstance(envs.single_action_space, gym.spaces.Discrete)
    agent = Agent(int(envs.single_action_space.n), window=args.max_new_tokens + 1)
    optimizer = torch.optim.Adam(agent.parameters(), lr=args.learning_rate, eps=1e-5)

    steps, rows = args.num_steps, args.num_envs
    obs = torch.zeros((steps, rows, *envs.single_observation_space.shape), dtype=torch.int32)
    actions = torch.zeros((steps, rows), dtype=torch.long)
    logprobs, rewards, values, ends = (torch.zeros((steps, rows)) for _ in range(4))

    num_updates = args.total_timesteps // (steps * rows)
    returns: list[float] = []
    running = np.zeros(rows)
    start = time.perf_counter()
    next_obs = torch.as_tensor(envs.reset(seed=args.seed)[0])
    for update in range(1, num_updates + 1):
        optimizer.param_groups[0]["lr"] = args.learning_rate * (1 - (update - 1) / num_updates)
        finished: list[float] = []

        for t in range(steps):
            obs[t] = next_obs
            with torch.no_grad():
                distribution, values[t] = agent(next_obs)
                actions[t] = distribution.sample()
                logprobs[t] = distribution.log_prob(actions[t])
            told, reward, terminated, truncated, infos = envs.step(actions[t].numpy())
            done = terminated | truncated
            running += reward
            finished += running[done].tolist()
            running[done] = 0.0
            # A text that an outside limit has cut off would have gone on: its value stands for the rest. `told` is the
            # first observation of the next text already; the last one of this text is in the infos.
            for row in np.flatnonzero(truncated & ~terminated):
                with torch.no_grad():
                    reward[row] += args.gamma * agent(torch.as_tensor(infos["final_obs"][row])[None])[1].item()
            next_obs, rewards[t], ends[t] = torch.as_tensor(told), torch.as_tensor(reward), torch.as_tensor(done)

        with torch.no_grad():
            next_value = agent(next_obs)[1]
        advantages = gae(rewards, values, ends, next_value, args.gamma, args.gae_lambda)
        batch = [part.flatten(0, 1) for part in (obs, actions, logprobs, advantages, advantages + values)]
        kl = improve(agent, optimizer, args, batch)

        returns.append(float(np.mean(finished)) if finished else float("nan"))
        if update % max(1, num_updates // 20) == 0 or update == 1:
            speed = update * steps * rows / (time.perf_counter() - start)
            print(f"step {update * steps * rows:>8,}  return {returns[-1]:8.3f}  kl {kl:.4f}  {speed:,.0f} steps/s")

    if terminated.any():
        print("some of the last texts:", *map(repr, infos["final_info"]["text"][terminated][:4].tolist()))
    envs.close()
    return returns


if __name__ == "__main__":
    train(parse())
