"""Conformance of a task: run it on what you register."""

import copy

import numpy as np

from textgym.envs.tasks import Task
from textgym.scorers.reward import bind_reward
from textgym.text.prompts import PromptSet
from textgym.types import TextBatch, Tokenizer

SAMPLED = 200


def check_task(task: Task) -> None:
    """Proves that a task is fit for TextGen-v0: prompts, split, references, context and default reward.

    Args:
        task: what to check.

    Raises:
        AssertionError: a breach, said in one sentence.
    """
    assert task.name and task.signature, "a task has a name and a signature"
    assert task.max_new_tokens >= 1, f"max_new_tokens is {task.max_new_tokens}: a completion has at least one token"
    assert copy.deepcopy(task) is task, "a task copies itself: env.spec copies its arguments on every access"
    assert task.context.tokenizer.signature == task.tokenizer.signature, "task and context differ in their tokenizer"
    for split in ("train", "heldout"):
        _check_prompts(split, task.prompts(split), task.tokenizer, task.max_new_tokens)
    train, heldout = ({int(number) for number in s.document} for s in (task.train, task.heldout))
    assert not train & heldout, "a document stands in both splits"
    _check_references(task)
    _check_constraint(task)


def _check_prompts(split: str, prompts: PromptSet, tokenizer: Tokenizer, budget: int) -> None:
    assert len(prompts), f"the {split} split has no prompt"
    reserved = (tokenizer.sep_id, tokenizer.eos_id)
    for index in np.unique(np.linspace(0, len(prompts) - 1, SAMPLED).astype(int)).tolist():
        prompt, reference = prompts.prompt(index), prompts.reference(index)
        assert not np.isin(prompt, reserved).any(), f"{split} prompt {index} holds the separator or EOS"
        assert not np.isin(reference[:-1], reserved).any(), f"{split} reference {index} holds a reserved id"
        assert len(reference) <= budget, f"{split} reference {index} is longer than the budget"
        ids = np.concatenate([prompt, reference])
        assert ids.size == 0 or (ids.min() >= 0 and ids.max() < tokenizer.vocab_size), (
            f"{split} passage {index} holds ids outside 0..{tokenizer.vocab_size - 1}"
        )


def _check_references(task: Task) -> None:
    references, again = task.context.references(), task.context.references()
    assert isinstance(references, TextBatch) and len(references), "the context has no reference texts"
    same = all(np.array_equal(a, b) for a, b in zip(references.completions, again.completions, strict=True))
    assert same, "references() differ from call to call"
    reward = bind_reward(task.reward, task.context)
    values = reward.score(references).values
    assert np.isfinite(values).all(), "the default reward is not finite on the task's own texts"
    again_values = bind_reward(task.reward, task.context).score(references).values
    assert np.array_equal(values, again_values), "the default reward differs from one binding to the next"


def _check_constraint(task: Task) -> None:
    if task.constraint is None:
        return
    rules = task.rules()
    tokens = np.full((1, rules.observation_length), -1, np.int32)
    prompt = task.train.prompt(0)
    tokens[0, : len(prompt) + 1] = [*prompt, rules.sep_id]
    start = np.array([len(prompt) + 1])
    mask = task.constraint.mask(tokens, start, start)
    assert mask.shape == (1, rules.vocab_size) and mask.dtype == bool, (
        f"the constraint gives {mask.dtype} of shape {mask.shape}, not bool of shape (1, {rules.vocab_size})"
    )
    assert mask.any(), "the constraint allows no first token"
