"""One run of one agent, and what it is compared with, as rows."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from textgym.benchmarks.naive_rewards.measure import Plan as Pooled
from textgym.benchmarks.naive_rewards.measure import known_of, references
from textgym.benchmarks.naive_rewards.measure import sampled as pool_of
from textgym.benchmarks.oracle.unit import Row, Unit
from textgym.benchmarks.story_agents.plan import COLLAPSES, GOLD, NAIVE, RECIPES, Plan, Recipe

from textgym.envs.tasks import Task, make_task
from textgym.models.causal_network import CausalNetwork
from textgym.models.checkpoint import load_checkpoint
from textgym.models.sampling import Sampling, generate
from textgym.runs.agents import agent_builder
from textgym.runs.evaluate import sequence_kl
from textgym.sb3.vec_env import make_sb3_env
from textgym.scorers import parse
from textgym.types import TextBatch

EXPERIMENTS = ("compared", "gold", "naive")
REFERENCE, BEST, CORPUS = "the model", "best of {n}", "corpus"

FAULTS = {
    "contradictions": "coherence",
    "unfaithful": "faithfulness",
    "unparsable": "grammar",
    "redundant": "novelty",
}
"""Shares of sentences, and the axis that each is missing to 1 on."""

FACTS = {"gold": "quality", "accuracy": "information", "length": "length", "rep-4": "rep-4", "distinct-2": "distinct-2"}
"""What else is told, and what it is called by `known_of`."""

GREEDY = Sampling(temperature=0)


def units(plan: Plan, experiment: str) -> Iterator[Unit]:
    """The pieces of work of an experiment; a unit is one run."""
    common = {"model": plan.model, "task": plan.task, "prompts": plan.prompts, "rows": plan.rows, "looks": plan.looks}
    if experiment == "compared":
        yield Unit("compared", "yardsticks", 0, common | {"n": plan.best_of}, partial(compared, plan))
        return
    on_gold = experiment == "gold"
    agents = tuple(RECIPES) if on_gold else NAIVE
    rewards = {GOLD: GOLD} if on_gold else COLLAPSES
    tokens = plan.tokens if on_gold else plan.naive_tokens
    for seed in plan.run_seeds(plan.seeds if on_gold else plan.naive_seeds):
        for name, expression in rewards.items():
            for agent in agents:
                recipe, reward = RECIPES[agent], expression.format(model=plan.model)
                config = common | {"tokens": tokens, "reward": reward, "agent": recipe.agent}
                config |= {"settings": dict(recipe.settings), "environment": dict(recipe.environment)}
                run = partial(learned, plan, recipe, reward, tokens, seed)
                yield Unit(experiment, agent if on_gold else f"{agent}, {name}", seed, config, run)


def compared(plan: Plan) -> Iterator[Row]:
    """The model as it is, the best of n of its stories by gold, and the corpus."""
    task, model = make_task(plan.task), load_checkpoint(plan.model).model
    yield {"name": REFERENCE, "measured": looked_at(model, model, task, plan)}
    pooled = Pooled(plan.model, plan.task, plan.prompts, plan.best_of, plan.seed)
    pool = pool_of(pooled, task, plan.best_of, None)
    gold = pool.facts["quality"].reshape(plan.prompts, plan.best_of)
    chosen = np.arange(plan.prompts) * plan.best_of + gold.argmax(1)
    bound = np.log(plan.best_of) - (plan.best_of - 1) / plan.best_of
    best = told({fact: values[chosen] for fact, values in pool.facts.items()}) | {"kl": float(bound)}
    yield {"name": BEST.format(n=plan.best_of), "measured": {"sampled": best}}
    yield {"name": CORPUS, "measured": {"sampled": told(known_of(references(task, plan.prompts), task).facts)}}


def learned(plan: Plan, recipe: Recipe, reward: str, tokens: int, seed: int) -> Iterator[Row]:
    """A run: one row a look, with the tokens that were written until then."""
    task, reference = make_task(plan.task), load_checkpoint(plan.model).model
    agent = made(plan, recipe, task, reward, seed)
    paid = parse(reward).bind(task.context)
    for look in range(1, plan.looks + 1):
        begun = agent.num_timesteps
        agent.learn(max(round(tokens * look / plan.looks) - begun, 1), reset_num_timesteps=begun == 0)
        network: Any = agent.policy.transformer
        found = looked_at(network, reference, task, plan, paid)
        yield {"name": recipe.agent, "reward": reward, "tokens": agent.num_timesteps, "measured": found}


def made(plan: Plan, recipe: Recipe, task: Task, reward: str, seed: int) -> BaseAlgorithm:
    """The agent of a recipe in its environment."""
    build: Any = agent_builder(recipe.agent)
    settings = {**getattr(build, "environment", {}), **recipe.environment}
    env = make_sb3_env(n_envs=plan.rows, seed=seed, task=task, reward=reward, **settings)
    found: BaseAlgorithm = build(env, plan.model, seed=seed, device="cpu", **recipe.settings)
    return found


def looked_at(
    network: CausalNetwork, reference: CausalNetwork, task: Task, plan: Plan, paid: Any = None
) -> dict[str, dict[str, float] | str]:
    """Means over stories about the first held-out briefs, sampled at temperature 1 and greedy, and one of them."""
    prompts, tokenizer = task.heldout, task.tokenizer
    ids = [prompts.prompt(i) for i in range(plan.prompts)]
    found: dict[str, dict[str, float] | str] = {}
    for way, sampling in (("sampled", None), ("greedy", GREEDY)):
        stories = generate(
            network,
            ids,
            sep_id=tokenizer.sep_id,
            eos_id=tokenizer.eos_id,
            max_new_tokens=task.max_new_tokens,
            sampling=sampling,
            seed=plan.seed,
        ).ids
        batch = TextBatch(ids, stories, tokenizer, (), [prompts.metadata(i) for i in range(plan.prompts)])
        figures = told(known_of(batch, task).facts)
        if sampling is None:  # the KL of texts is that of texts that were drawn
            figures["kl"] = float(sequence_kl(network, reference, ids, stories, tokenizer.sep_id).mean())
        if paid is not None:
            figures["reward"] = float(paid.score(batch).values.mean())
        found |= {way: figures, f"{way} story": batch.completion_texts[0]}
    return found


def told(facts: dict[str, Any]) -> dict[str, float]:
    """Means of what is known of stories, faults as shares of sentences."""
    faults = {fault: 1 - float(facts[axis].mean()) for fault, axis in FAULTS.items()}
    return faults | {name: float(facts[fact].mean()) for name, fact in FACTS.items()}
