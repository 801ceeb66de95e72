"""Rewards for OpenRLHF: ``--reward.remote_url FILE.py`` (``--remote_rm_url`` before 0.10) loads its ``reward_func``.

OpenRLHF calls ``reward_func(queries, prompts, labels, **kwargs)``, where a query is the decoded text of everything,
prompt, response and special tokens, and takes {"rewards", "scores", "extra_logs"} of tensors.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from textgym.errors import ScoringFailure
from textgym.interop.portable_reward import PortableReward
from textgym.text.rollouts import references_in

SPECIAL_TOKENS = (
    *("</s>", "<s>", "<pad>", "[PAD]", "<eos>", "<bos>", "<unk>", "[EOS]", "<|endoftext|>", "<|end_of_text|>"),
    *("<|begin_of_text|>", "<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end|>", "<end_of_turn>", "<turn|>"),
    *("<|return|>", "<|finetune_right_pad_id|>", "<|pad|>", "<\uff5cend\u2581of\u2581sentence\uff5c>"),
)
"""What the common tokenizers put at the end of a text, or before it, and is none of it."""


@dataclass(frozen=True)
class OpenRLHFReward:
    """A reward as OpenRLHF's ``reward_func``.

    Args:
        reward: what is paid. It must be applicable to every text.
        special_tokens: what is cut off the ends of a query.
    """

    reward: PortableReward
    special_tokens: tuple[str, ...] = SPECIAL_TOKENS

    def __call__(
        self, queries: Sequence[str], prompts: Sequence[str], labels: Sequence[Any] | None = None, **settings: Any
    ) -> dict[str, Any]:
        """Rewards of B responses.

        Args:
            queries: B texts of prompt and response.
            prompts: B prompts, as they stand in the queries.
            labels: what each response may resemble.
            **settings: not used.

        Returns:
            "rewards" (B,) for the advantage; "scores" (B,) between 0 and 1 for dynamic filtering, which are the rewards
            if those have no bounds; "extra_logs", the components (B,), NaN where not applicable.

        Raises:
            ScoringFailure: the scorer failed or is not applicable, or a prompt does not stand in its query. OpenRLHF
                logs it and goes on with a reward of None.
        """
        import torch

        asked = list(labels) if labels is not None else [None] * len(queries)
        rows: list[dict[str, Any]] = [{} if label is None else {"label": label} for label in asked]
        texts = [self.response(query, prompt) for query, prompt in zip(queries, prompts, strict=True)]
        scores = self.reward.rewards(list(prompts), texts, [references_in(row) for row in rows], rows)
        rewards = torch.tensor(scores.total(), dtype=torch.float32)
        logs = {
            name: torch.tensor([math.nan if value is None else value for value in column], dtype=torch.float32)
            for name, column in scores.components.items()
        }
        return {"rewards": rewards, "scores": self._between_0_and_1(rewards), "extra_logs": logs}

    def response(self, query: str, prompt: str) -> str:
        """The response in a query: what stands behind the prompt, without the special tokens that end it.

        Raises:
            ScoringFailure: the prompt does not stand in the query.
        """
        at = query.find(prompt)
        # Without special tokens on either side a prompt of the trainer's template may still be the same text.
        prompt = prompt if at >= 0 else self._trimmed(prompt)
        at = query.find(prompt)
        if at < 0:
            raise ScoringFailure(
                f"the prompt does not stand in the query, so it is not known where the response begins\n"
                f"    prompt {prompt[:300]!r}\n    query  {query[:300]!r}"
            )
        return self._trimmed(query[at + len(prompt) :], only_end=True)

    def _trimmed(self, text: str, *, only_end: bool = False) -> str:
        changed = True
        while changed:
            changed = False
            for token in self.special_tokens:
                if text.rstrip().endswith(token):
                    text, changed = text.rstrip()[: -len(token)], True
                if not only_end and text.startswith(token):
                    text, changed = text[len(token) :], True
        return text

    def _between_0_and_1(self, rewards: Any) -> Any:
        low, high = self.reward.opened.reward.range
        if not (math.isfinite(low) and math.isfinite(high)) or high <= low:
            return rewards.clone()
        return ((rewards - low) / (high - low)).clamp(0.0, 1.0)
