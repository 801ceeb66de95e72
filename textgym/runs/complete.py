"""Completions of prompts by an agent, whatever it is: token by token, as it would act in the environment.

Where an agent is its language model, `textgym.models.sampling.generate` does the same at once; an agent that chooses
otherwise (by a value, by a plan, within a mask) is asked for every token.
"""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int32, Int64
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.utils import set_random_seed

from textgym.envs import dynamics
from textgym.envs.episodes import Episodes
from textgym.models.causal_network import CausalNetwork
from textgym.models.masks import forbid
from textgym.models.sampling import draw
from textgym.sb3.defaults import attribute_of
from textgym.sb3.prefix_cache import PrefixCache
from textgym.sb3.whole_texts import WholeTextAlgorithm
from textgym.types import TokenIds

Choose = Callable[[Int32[np.ndarray, "B L"], Bool[np.ndarray, "B V"]], Int64[np.ndarray, " B"]]
"""(prefixes, which tokens may come next) -> the next token of each."""


PLAIN = (BaseAlgorithm.__module__, WholeTextAlgorithm.__module__, "sb3_contrib.ppo_mask.ppo_mask")
"""Where the methods `predict` are written that hand on to the policy, and add a mask at most."""


def is_language_model(agent: BaseAlgorithm) -> bool:
    """Whether an agent acts by drawing from its network as it is: without mask, temperature or search."""
    if not hasattr(agent.policy, "transformer") or getattr(agent.policy, "temperature", 1.0) != 1.0:
        return False
    constrained = takes_masks(agent) and bool(
        getattr(attribute_of(agent.get_env(), "episodes", None), "constraints", ())
    )
    return type(agent).predict.__module__ in PLAIN and not constrained


def takes_masks(agent: BaseAlgorithm) -> bool:
    """Whether an agent can be told which tokens may come next."""
    return "action_masks" in inspect.signature(agent.predict).parameters


def as_it_acts(agent: BaseAlgorithm, seed: int) -> Choose:
    """The choices of an agent, `deterministic=False`. It draws from the global generators, which are seeded here."""
    set_random_seed(seed, using_cuda=agent.device.type == "cuda")
    masked = takes_masks(agent)

    def choose(tokens: Int32[np.ndarray, "B L"], masks: Bool[np.ndarray, "B V"]) -> Int64[np.ndarray, " B"]:
        keywords: dict[str, Any] = {"action_masks": masks} if masked else {}
        actions, _ = agent.predict(tokens, deterministic=False, **keywords)
        return np.asarray(actions).reshape(len(tokens))

    return choose


def within_masks(model: CausalNetwork, seed: int, *, greedy: bool = False) -> Choose:
    """Draws from a language model among what may come next; or takes the likeliest of it, where it is greedy."""
    cache, generator = PrefixCache(cuda_graph=False), torch.Generator().manual_seed(seed)

    @torch.inference_mode()
    def choose(tokens: Int32[np.ndarray, "B L"], masks: Bool[np.ndarray, "B V"]) -> Int64[np.ndarray, " B"]:
        prefixes = torch.as_tensor(tokens, device=model.device).long()
        hidden = cache.hidden(model, prefixes, (prefixes >= 0).sum(1))
        logits = forbid(model.logits(hidden), torch.as_tensor(masks, device=model.device))
        if greedy:
            return logits.argmax(-1).cpu().numpy()
        uniform = torch.rand(len(tokens), generator=generator, dtype=torch.float64)
        return draw(logits, uniform.to(model.device))[0].cpu().numpy()

    return choose


def complete(choose: Choose, episodes: Episodes, indices: Int64[np.ndarray, " N"], *, rows: int) -> list[TokenIds]:
    """Completes N prompts.

    Args:
        choose: what chooses tokens.
        episodes: rules, constraints, and the prompts of a split.
        indices: of the prompts in that split.
        rows: prompts that are completed side by side.
    """
    parts = [indices[begin : begin + rows] for begin in range(0, len(indices), rows)]
    return [text for part in parts for text in _complete(choose, episodes, part)]


def _complete(choose: Choose, episodes: Episodes, indices: Int64[np.ndarray, " B"]) -> list[TokenIds]:
    tokens, starts = episodes.openings(indices)
    lengths, over = starts.copy(), np.zeros(len(indices), bool)
    shown = tokens.copy()
    while not over.all():
        # A text that has ended is asked about as it was before its end: caches know their rows by number.
        actions = choose(shown, episodes.masks(tokens, lengths, starts, over))
        live = np.flatnonzero(~over)
        tokens[live], lengths[live], reasons = dynamics.step(
            episodes.rules, tokens[live], lengths[live], starts[live], actions[live]
        )
        over[live] = reasons != dynamics.LIVE
        shown[~over] = tokens[~over]
    return [row[start:length] for row, start, length in zip(tokens, starts.tolist(), lengths.tolist(), strict=True)]
