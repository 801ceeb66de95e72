"""Rewards for verifiers: ``Rubric(funcs=..., weights=...)``.

verifiers calls each function with those of prompt, completion, answer, info, task and state that it takes. An exception
becomes a reward of 0.0 there, with a line in the log: read it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from textgym.interop.portable_reward import PortableReward, portable
from textgym.scorers.spec import RewardLike, resolve
from textgym.text.messages import text_of
from textgym.text.rollouts import references_in


@dataclass(frozen=True)
class VerifiersReward:
    """A reward as a function of verifiers'.

    Args:
        reward: what is paid. It must be applicable to every text.
        name: how it is logged; the expression if empty.
    """

    reward: PortableReward
    name: str = ""

    @property
    def __name__(self) -> str:
        """What verifiers calls its metric."""
        return self.name or self.reward.spec

    def __call__(self, prompt: Any, completion: Any, answer: Any = "", info: Mapping[str, Any] | None = None) -> float:
        """The reward of one completion.

        Args:
            prompt: a text or a conversation.
            completion: a text or a conversation.
            answer: what the completion may resemble; goes to the metadata, too.
            info: the metadata.

        Raises:
            ScoringFailure: the scorer failed, or is not applicable.
        """
        row = {**(info or {}), **({} if answer in ("", None) else {"answer": answer})}
        scores = self.reward.rewards([text_of(prompt)], [text_of(completion)], [references_in(row)], [row])
        return scores.total()[0]


def to_verifiers(
    reward: RewardLike, task: str | None = None, **settings: Any
) -> tuple[list[VerifiersReward], list[float]]:
    """Functions and weights for a `Rubric`: the reward with weight 1, and its components, which weigh 0 and are logged.

    Args:
        reward: an expression, or anything else with a text form.
        task: what it is bound to; None if it needs none.
        **settings: of `textgym.make_task`.
    """
    return rubric(portable(reward, task, **settings))


def rubric(reward: PortableReward) -> tuple[list[VerifiersReward], list[float]]:
    """The same for a reward that is portable already."""
    functions = [VerifiersReward(reward, "reward")]
    leaves = list(reward.opened.reward.bound.names.items())
    if len(leaves) > 1 or resolve(reward.spec) != leaves[0][0]:
        # A component that is not applicable to every text would be an error, which verifiers takes for 0.0.
        context = reward.opened.reward.bound.context if reward.task else None
        functions += [VerifiersReward(reward.of(leaf), name) for leaf, name in leaves if not leaf.partial_in(context)]
    return functions, [1.0] + [0.0] * (len(functions) - 1)
