"""Rewards for verl: a ``compute_score``, and a reward manager that pays every token.

verl loads the first with ``reward.custom_reward_function.{path,name}`` and puts the number on the last token of the
response. The manager is loaded with ``reward.reward_manager.{source=importlib,name,module.path}``: its `run_single`
tells the tokens' rewards and its `assemble_rm_scores` lays them out (B, T); versions without a reward loop call the
manager itself with a whole batch.
"""

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from textgym.interop.portable_reward import PortableReward, TextScores, TokenReward
from textgym.interop.spans import move, token_spans
from textgym.text.messages import text_of
from textgym.text.rollouts import references_in

if TYPE_CHECKING:
    import torch

PROMPTS = ("prompt", "question", "raw_prompt", "problem", "query")
"""Where a prompt may stand in `extra_info`: verl does not hand it to `compute_score`."""


@dataclass(frozen=True)
class VerlReward:
    """A reward as verl's ``compute_score``, and with lists of each argument as that of its batch manager.

    Args:
        reward: what is paid. It must be applicable to every text: verl knows no None.
    """

    reward: PortableReward

    def __call__(
        self,
        data_source: str = "",
        solution_str: str = "",
        ground_truth: Any = None,
        extra_info: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> dict[str, float]:
        """The reward of one response as "score", and its components under their names, the same for every sample.

        Args:
            data_source: goes to the metadata.
            solution_str: the response.
            ground_truth: what it may resemble; goes to the metadata, too.
            extra_info: the metadata; the prompt if it is there as "prompt" or "question".
            **settings: ``reward_kwargs`` of the configuration and the like; not used.

        Raises:
            ScoringFailure: the scorer failed, or is not applicable.
        """
        return self.batch([data_source], [solution_str], [ground_truth], [extra_info])[0]

    def batch(
        self,
        data_sources: Sequence[str],
        solution_strs: Sequence[str],
        ground_truths: Sequence[Any],
        extra_infos: Sequence[Mapping[str, Any] | None],
        **settings: Any,
    ) -> list[dict[str, float]]:
        """The same for B responses at once."""
        rows = [
            _row(source, truth, info)
            for source, truth, info in zip(data_sources, ground_truths, extra_infos, strict=True)
        ]
        scores = self.reward.rewards(
            [_prompt(row) for row in rows], list(solution_strs), [references_in(row) for row in rows], rows
        )
        return [{"score": value, **_components(scores, row)} for row, value in enumerate(scores.total())]


class VerlRewardManager:
    """A reward manager of verl's that pays every token what it earned; a subclass says by which `reward`.

    Attributes:
        reward: what is paid.
    """

    reward: ClassVar[PortableReward]

    def __init__(self, tokenizer: Any = None, config: Any = None, compute_score: Any = None, **settings: Any) -> None:
        self.tokenizer, self.config = tokenizer, config

    async def run_single(self, data: Any) -> dict[str, Any]:
        """What the reward loop asks of one sample, a `DataProto` of length 1.

        Returns:
            "reward_score", the rewards of its tokens (T,), and "reward_extra_info", the reward and its components.
        """
        rewards, infos = await asyncio.to_thread(self._score, [data[len(data) - 1]])
        return {"reward_score": rewards[0], "reward_extra_info": infos[0]}

    @classmethod
    def assemble_rm_scores(cls, data: Any, scores: Sequence[Sequence[float]]) -> "torch.Tensor":
        """What `run_single` said of B samples as one tensor (B, T), 0 beyond a response's end."""
        import torch

        tensor = torch.zeros(tuple(data.batch["responses"].shape), dtype=torch.float32)
        for row, rewards in enumerate(scores):
            tensor[row, : len(rewards)] = torch.tensor(rewards, dtype=torch.float32)
        return tensor

    def __call__(self, data: Any, return_dict: bool = False) -> Any:
        """What versions without a reward loop ask of a batch, a `DataProto` of length B.

        Returns:
            The rewards of the tokens (B, T); with `return_dict` as "reward_tensor", beside "reward_extra_info".
        """
        rewards, infos = self._score([data[row] for row in range(len(data))])
        tensor = self.assemble_rm_scores(data, rewards)
        if not return_dict:
            return tensor
        columns = {name: [info[name] for info in infos] for name in (infos[0] if infos else ())}
        return {"reward_tensor": tensor, "reward_extra_info": columns}

    def _score(self, items: Sequence[Any]) -> tuple[list[list[float]], list[dict[str, float]]]:
        ids = [_response(item) for item in items]
        texts = [self._decode(row) for row in ids]
        rows = [
            _row(item.non_tensor_batch.get("data_source", ""), _truth(item), item.non_tensor_batch.get("extra_info"))
            for item in items
        ]
        prompts = [self._prompt(item, row) for item, row in zip(items, rows, strict=True)]
        scores = self.reward.rewards(prompts, texts, [references_in(row) for row in rows], rows, tokens=True)
        infos = [{"score": value, **_components(scores, row)} for row, value in enumerate(scores.total())]
        spans = [token_spans(self._decode, row, text) for row, text in zip(ids, texts, strict=True)]
        return [_moved(paid, targets) for paid, targets in zip(scores.tokens, spans, strict=True)], infos

    def _decode(self, ids: Any) -> str:
        return str(self.tokenizer.decode(ids, skip_special_tokens=True))

    def _prompt(self, item: Any, row: Mapping[str, Any]) -> str:
        """The prompt as it was asked; where only ids are known, what they decode to."""
        raw = item.non_tensor_batch.get("raw_prompt")
        if raw is not None:
            return text_of(raw if isinstance(raw, str) else list(raw))
        if known := _prompt(row):
            return known
        ids, mask = item.batch["prompts"], item.batch["attention_mask"]
        return self._decode(ids[mask[: len(ids)].bool()].tolist())


def _moved(paid: Sequence[TokenReward], targets: Sequence[tuple[int, int]]) -> list[float]:
    """Rewards of our tokens as those of theirs; a response without tokens earns nothing."""
    return move([reward for *_, reward in paid], [(start, end) for start, end, _ in paid], targets) if targets else []


def _response(item: Any) -> list[int]:
    responses = item.batch["responses"]
    length = int(item.batch["attention_mask"][-responses.shape[-1] :].sum())
    ids: list[int] = responses[:length].tolist()
    return ids


def _truth(item: Any) -> Any:
    return (item.non_tensor_batch.get("reward_model") or {}).get("ground_truth")


def _row(data_source: str, ground_truth: Any, extra_info: Mapping[str, Any] | None) -> dict[str, Any]:
    """What is known of a sample, as metadata."""
    truth = {} if ground_truth is None else {"ground_truth": ground_truth}
    return {**(extra_info or {}), "data_source": data_source, **truth}


def _prompt(row: Mapping[str, Any]) -> str:
    value = next((row[name] for name in PROMPTS if row.get(name) is not None), "")
    return text_of(value if isinstance(value, str) else list(value))


def _components(scores: TextScores, row: int) -> dict[str, float]:
    """Components by name, NaN where not applicable: every sample has the same keys, and "score" is taken."""
    named = {name: scores.components[name][row] for name in scores.components}
    return {
        f"component_{name}" if name == "score" else name: math.nan if value is None else value
        for name, value in named.items()
    }
