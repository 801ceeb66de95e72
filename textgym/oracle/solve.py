"""`solve`: from a task or an environment to its exact solution."""

from dataclasses import replace
from typing import Any

import numpy as np

from textgym.envs.episodes import Episodes, open_episodes
from textgym.envs.tasks import Task, TaskSettings
from textgym.errors import TaskError, UnknownNameError, did_you_mean
from textgym.oracle import bellman
from textgym.oracle.bellman import Backup, Values
from textgym.oracle.merging import Merger
from textgym.oracle.policies import Policy, ask, language_model, uniform
from textgym.oracle.prefixes import PrefixTree, enumerate_prefixes
from textgym.oracle.size import LIMIT
from textgym.oracle.solution import SoftSolution, Solution, soft_return
from textgym.scorers.delivery import Delivery
from textgym.scorers.reward import bind_reward
from textgym.types import LanguageModel
from textgym.worlds.micro import BigramLanguage

METHODS = {"backward": bellman.backward, "iteration": bellman.iterate}
"""How Bellman's equations are solved; both reach the same values."""

Reference = str | Policy | LanguageModel
"""What a soft solution stays near: "uniform", a language model of the task's by name, one in hand, or a policy."""


def solve(
    task_or_env: Any,
    gamma: float | None = None,
    beta: float | None = None,
    reference: Reference = "uniform",
    *,
    reward: Any = None,
    delivery: str | None = None,
    split: str = "train",
    method: str = "backward",
    merge: bool = False,
    limit: int = LIMIT,
) -> Solution:
    """Enumerates every text of a small task through the environment's own dynamics, and solves it.

    Args:
        task_or_env: a `Task`, such as `textgym.micro("bigram")`, or an environment, single or vector, wrapped or not:
            its reward, delivery, constraint and split then hold.
        gamma: discount; None for the environment's own, and 1 for a task.
        beta: price of a nat of KL from the reference, above 0; None for no soft solution.
        reference: pi_ref: "uniform" over what the mask allows; a language model of the task's by name, such as
            "ngram:2", or "bigram", the language of a micro world; a `LanguageModel`; or a function of
            `textgym.oracle.Prefixes`. Models are conditioned on the mask.
        reward: what is paid in place of the task's or environment's own, as `gym.make` takes it.
        delivery: "terminal", "per_token" or "shaped" (with `gamma`) in place of the environment's own.
        split: which prompts of a task.
        method: "backward" for backward induction, "iteration" for value iteration.
        merge: let prefixes be one at which the reward's machine is in the same state: thousands of states in place of
            any number of texts. For rewards of the micro worlds, at gamma = 1 or paid per token.
        limit: the most prefixes and texts that are enumerated.

    Raises:
        TaskError: a setting out of range; more texts than `limit`, counted before any is made.
        UnknownNameError: a reference of a name that the task does not know.
        ScoringFailure: the reward fails on some text.
    """
    episodes = _episodes(task_or_env, gamma, reward, delivery, split)
    discount = episodes.delivery.gamma if gamma is None else gamma
    if not 0.0 < discount <= 1.0:
        raise TaskError(f"gamma={discount}: a discount lies above 0 and at most at 1")
    if beta is not None and not 0.0 < beta < float("inf"):
        raise TaskError(f"beta={beta}: the price of a nat is a number above 0")
    if method not in METHODS:
        raise TaskError(f"method={method!r}: {did_you_mean(method, METHODS)}")
    policy = _policy(reference, episodes.task)
    merger = None
    if merge:
        episodes = _per_token(episodes, discount)
        merger = Merger.of(episodes, last_token=_looks_at_last_token(policy, reference, episodes.task))
    tree = enumerate_prefixes(episodes, limit=limit, merger=merger)
    values = _solved(tree, method, discount, bellman.best)
    soft = None if beta is None else _soft(tree, method, discount, beta, policy)
    return Solution(tree, discount, values, soft)


def _solved(tree: PrefixTree, method: str, gamma: float, backup: Backup) -> Values:
    return METHODS[method](tree, gamma, backup)


def _soft(tree: PrefixTree, method: str, gamma: float, beta: float, policy: Policy) -> SoftSolution:
    # Merged prefixes have a reference in common: it is uniform, or looks at the last token, which they share.
    reference = ask(policy, replace(tree, merged=False))
    values = _solved(tree, method, gamma, bellman.soft(reference, beta))
    logprobs = np.where(tree.masks, reference + (values.q - values.v[:, None]) / beta, -np.inf)
    _, kl = soft_return(tree, gamma, logprobs, reference, beta)
    rewarded = bellman.backward(tree, gamma, bellman.under(np.exp(logprobs)))
    value = bellman.at_start(tree, values.v)
    return SoftSolution(beta, values, reference, logprobs, value, bellman.at_start(tree, rewarded.v), kl)


def _episodes(given: Any, gamma: float | None, reward: Any, delivery: str | None, split: str) -> Episodes:
    """What is enumerated: that of an environment, or of a task; with another reward or delivery, if one is given."""
    if isinstance(given, Task):
        return open_episodes(
            TaskSettings(task=given),
            split=split,
            reward=reward,
            delivery=delivery or "terminal",
            on_failure="raise",
            gamma=1.0 if gamma is None else gamma,
            mask_in_info=False,
        )
    episodes = given if isinstance(given, Episodes) else getattr(getattr(given, "unwrapped", None), "episodes", None)
    if not isinstance(episodes, Episodes):
        raise TaskError(f"{given!r} is no task and no environment of TextGym: textgym.micro('bigram') is one")
    if reward is None and delivery is None:
        return episodes
    bound = episodes.reward if reward is None else bind_reward(reward, episodes.task.context)
    discount = episodes.delivery.gamma if gamma is None or delivery is None else gamma
    return replace(episodes, reward=bound, delivery=Delivery(bound, delivery or episodes.delivery.kind, discount))


def _per_token(episodes: Episodes, gamma: float) -> Episodes:
    """The same return paid token by token, as a function of the state and the token.

    Raises:
        TaskError: another delivery at gamma < 1, which is another return.
    """
    kind = episodes.delivery.kind
    if kind != "per_token" and gamma < 1.0:
        raise TaskError(
            f"merge=True at gamma={gamma:g}: in {kind} delivery what a token is paid depends on all before it. "
            "Give delivery='per_token', gamma=1, or merge=False"
        )
    return replace(episodes, delivery=Delivery(episodes.reward, "per_token"))


def _policy(reference: Reference, task: Task) -> Policy:
    if reference == "uniform":
        return uniform
    if isinstance(reference, str):
        try:
            return language_model(task.context.language_model(reference))
        except UnknownNameError as error:
            raise UnknownNameError("reference", reference, ["uniform", *error.known]) from None
    if isinstance(reference, LanguageModel):
        return language_model(reference)
    if callable(reference):
        return reference
    raise TaskError(f"reference={reference!r}: 'uniform', a language model or its name, or a function of prefixes")


def _looks_at_last_token(policy: Policy, reference: Reference, task: Task) -> bool:
    """Whether a reference tells states apart by their last token; one that looks further back is refused."""
    model = (
        task.context.language_model(reference) if isinstance(reference, str) and policy is not uniform else reference
    )
    if policy is not uniform and not isinstance(model, BigramLanguage):
        raise TaskError(
            "merge=True: the reference is 'uniform' or 'bigram', since any other may look at whole prefixes"
        )
    return policy is not uniform
