"""Preferences without people: two completions of a prompt, of which a gold scorer says which is better.

Gao, Schulman and Hilton 2023, section 2: a proxy reward is trained on labels of a gold reward that stands for people,
so that one can see what becomes of gold when the proxy is optimised.
"""

import logging
from collections.abc import Callable, Sequence

import numpy as np

from textgym.envs.tasks import Task
from textgym.errors import TaskError
from textgym.models.checkpoint import Checkpoint, require_fit
from textgym.models.sampling import Sampling, generate
from textgym.scorers.reward import Reward
from textgym.text.labelled_files import Preference
from textgym.types import TextBatch

logger = logging.getLogger("textgym")

ROUND = 64
"""Prompts that are completed at a time."""

MAX_TIES = 5
"""Rounds without a single pair that differs, after which it is no use."""


def gold_pairs(
    task: Task,
    gold: Reward,
    sampler: Checkpoint,
    count: int,
    *,
    temperatures: Sequence[float] = (1.0,),
    margin: float = 0.0,
    name: str = "the model",
    seed: int = 0,
    tell: Callable[[int], None] = lambda done: None,
) -> list[Preference]:
    """Draws pairs from a model and has them judged.

    Args:
        task: whose training prompts are completed, in random order, again from the beginning where they run out.
        gold: the judge, bound to the task. Two completions that it finds equal are none.
        sampler: the model that completes each prompt twice.
        count: N pairs.
        temperatures: one of these is drawn for each side of a round, so that texts of different faults meet.
        margin: how far apart gold must find two completions for them to be a pair; 0 asks for any difference.
        name: what messages call the model.
        seed: of the draws.
        tell: is told how many pairs there are.

    Raises:
        TaskError: the scorer finds all completions alike.
        CheckpointError: the model does not fit the task.
    """
    require_fit(sampler, task.tokenizer, task.observation_length, name)
    rng, pairs, fruitless = np.random.default_rng(seed), list[Preference](), 0
    while len(pairs) < count:
        rows = rng.permutation(len(task.train))[: min(ROUND, 2 * (count - len(pairs)))]
        prompts = [task.train.prompt(int(i)) for i in rows]
        ids = [
            one
            for temperature in rng.choice(temperatures, 2)
            for one in generate(
                sampler.model,
                prompts,
                sep_id=sampler.sep_id,
                eos_id=sampler.eos_id,
                max_new_tokens=task.max_new_tokens,
                sampling=Sampling(float(temperature)),
                seed=int(rng.integers(2**31)),
            ).ids
        ]
        batch = TextBatch([*prompts, *prompts], ids, task.tokenizer)
        first, second = gold.score(batch).values.reshape(2, -1)
        texts = batch.completion_texts
        found = [
            Preference(batch.prompt_texts[i], *((texts[i], texts[j]) if first[i] > second[i] else (texts[j], texts[i])))
            for i, j in ((i, i + len(prompts)) for i in np.flatnonzero(np.abs(first - second) > margin).tolist())
        ]
        fruitless = 0 if found else fruitless + 1
        if fruitless == MAX_TIES:
            raise TaskError(f"{gold.text} finds all of {MAX_TIES} rounds of completions alike: give another --gold")
        pairs += found
        tell(min(len(pairs), count))
    return pairs[:count]
