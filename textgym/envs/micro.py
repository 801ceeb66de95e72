"""TextGenMicro-v0: the micro worlds as environments whose optimum is known, hence `reward_threshold`.

Everything but the task is TextGen-v0's: the same dynamics, deliveries, masks and infos.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode

from textgym.envs.context import TaskContext
from textgym.envs.episodes import Episodes
from textgym.envs.spec import TextGenSpec
from textgym.envs.tasks import Task
from textgym.envs.textgen import TextGenEnv
from textgym.envs.vector import TextGenVectorEnv
from textgym.errors import UnknownNameError
from textgym.text.prompt_sets import RecordSet
from textgym.text.store import ArrayStore, pack_texts
from textgym.types import LanguageModel, TextBatch, TokenIds
from textgym.worlds.micro import MachineScorer, MicroWorld, micro_world

TEXTS = {"train": 256, "heldout": 64}
"""How many texts the world's language writes for each split."""


@dataclasses.dataclass(frozen=True, eq=False)
class MicroTask(Task):
    """A micro world as a task: one prompt, the empty one.

    Attributes:
        world: its vocabulary, horizon, reward, gold, language and optimum.
    """

    world: MicroWorld = dataclasses.field(default=None, kw_only=True)  # type: ignore[assignment]


class MicroContext(TaskContext):
    """A `TaskContext` whose yardstick is a sample of the world's language, and which has that as "bigram"."""

    def __init__(self, world: MicroWorld, sets: Mapping[str, RecordSet], signature: str) -> None:
        super().__init__(f"micro-{world.name}", world.tokenizer, sets, signature, ArrayStore(None))
        self._world, self._train = world, sets["train"]

    def references(self) -> TextBatch:
        """The world's own texts, of the training split, always the same ones."""
        texts = [self._train.reference(row) for row in self._train.tiling().tolist()]
        return TextBatch([_NOTHING] * len(texts), texts, self._world.tokenizer)

    def language_model(self, name: str) -> LanguageModel:
        """The world's language itself for "bigram"; any other model is fitted to its texts."""
        if name == "bigram":
            return self._world.language
        try:
            return super().language_model(name)
        except UnknownNameError as error:
            raise UnknownNameError(error.kind, name, ["bigram", *error.known]) from None


_NOTHING: TokenIds = np.zeros(0, dtype=np.int32)


def micro(world: str = "bigram", *, vocab_size: int = 8, horizon: int = 6, seed: int = 0) -> MicroTask:
    """A micro world as a task, for `textgym.oracle.solve` and `TextGenEnv(task=...)`.

    Args:
        world: "bigram", "grammar", "key-token", "gold-proxy" or "random"; see `textgym.worlds.micro`.
        vocab_size: A, what may be chosen at every step: A - 1 words and EOS, 3 to 20. <unk> and the separator, which
            are never chosen, come on top: the action space is Discrete(A + 2), and its mask allows A.
        horizon: T, the tokens of the longest text, EOS included, at most 12.
        seed: which numbers, in worlds that have any.

    Raises:
        UnknownNameError: no such world.
        TaskError: a size out of range.
    """
    return _task(micro_world(world, vocab_size, horizon, seed))


@lru_cache(maxsize=256)
def _task(world: MicroWorld) -> MicroTask:
    facts = [world.name, world.vocab_size, world.horizon, world.seed, world.reward.signature]
    signature = f"micro-{world.name}:{hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]}"
    rng = np.random.default_rng([world.seed, world.vocab_size, world.horizon])
    sets = {
        split: _prompts(world.language.sample(rng, texts, world.horizon), document, world.tokenizer.eos_id)
        for document, (split, texts) in enumerate(TEXTS.items())
    }
    return MicroTask(
        name=f"micro-{world.name}",
        tokenizer=world.tokenizer,
        train=sets["train"],
        heldout=sets["heldout"],
        max_new_tokens=world.horizon,
        reward=world.reward.to_spec(),
        context=MicroContext(world, sets, signature),
        signature=signature,
        source=f"micro world {world.name}",
        gold={} if world.gold is None else {"quality": world.gold.to_spec()},
        world=world,
    )


def _prompts(texts: list[TokenIds], document: int, eos_id: int) -> RecordSet:
    """The empty prompt as row 0, with nothing that it should resemble; then the texts, to fit models to."""
    content = [ids[:-1] if ids[-1] == eos_id else ids for ids in texts]
    ends = np.concatenate([[0, 0], np.cumsum([len(ids) for ids in content])]).astype(np.int64)
    nowhere = np.zeros(len(texts) + 1, dtype=np.int64)
    known = pack_texts([json.dumps([[], {}])])
    return RecordSet(
        opening=np.concatenate(content),
        following=_NOTHING,
        begin=ends[:-1],
        cut=ends[:-1],
        end=ends[1:],
        then=nowhere,
        until=nowhere,
        ended=np.array([False, *(ids[-1] == eos_id for ids in texts)]),
        document=np.full(len(texts) + 1, document),
        tiles=np.arange(1, len(texts) + 1),
        size=np.ones(1, dtype=np.int64),
        eos=np.array([eos_id]),
        known=known["bytes"],
        known_ends=known["offsets"],
    )


class _Micro:
    """What the single and the vector environment share."""

    episodes: Episodes
    gamma: float
    _spec: EnvSpec | None

    @property
    def reward_threshold(self) -> float | None:
        """99% of the way from the uniform policy's expected return to the best one's.

        It is exact for the reward that is paid, whichever world's that is. None where that is no machine (an
        expression of the user's), where a constraint forbids some of the actions, and in shaped delivery at
        gamma < 1, in which payments do not add up to the reward.
        """
        task, scorer = self.episodes.task, self.episodes.reward.bound.scorer
        assert isinstance(task, MicroTask)
        shifted = self.episodes.delivery.kind == "shaped" and self.gamma < 1.0
        if not isinstance(scorer, MachineScorer) or self.episodes.constraints or shifted:
            return None
        return task.world.optimum_of(scorer).threshold

    @property
    def spec(self) -> EnvSpec | None:
        """What this was made from, with the threshold of this world and size."""
        return self._spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        self._spec = None if spec is None else TextGenSpec.of(spec)
        if self._spec is not None:
            self._spec.reward_threshold = self.reward_threshold


class TextGenMicroEnv(_Micro, TextGenEnv):
    """`TextGenMicro-v0`: a `TextGenEnv` on a micro world; `env.spec.reward_threshold` says when it is solved.

    Every episode begins with the empty prompt. In the world "gold-proxy" the proxy is paid, and the last info holds
    `gold/quality`, what the text was truly worth.

    Args:
        world: see `micro`, as for vocab_size, horizon and seed.
        vocab_size: A, what may be chosen at every step.
        horizon: T, the tokens of the longest text.
        seed: which numbers; not that of `reset`, which has nothing left to draw.
        reward: see `TextGenEnv`, as for all below; None for the world's own.
        delivery: "terminal", "per_token" or "shaped".
        on_failure: "raise" or "mask".
        constraint: which tokens may come next.
        group_size: 1.
        gamma: discount that shaped delivery is computed with.
        mask_in_info: put `action_mask` into every info.
        render_mode: "ansi", "human", "rgb_array" or None.
    """

    def __init__(
        self,
        *,
        world: str = "bigram",
        vocab_size: int = 8,
        horizon: int = 6,
        seed: int = 0,
        reward: Any = None,
        delivery: str = "terminal",
        on_failure: str = "raise",
        constraint: Any = None,
        group_size: int = 1,
        gamma: float = 1.0,
        mask_in_info: bool = False,
        render_mode: str | None = None,
    ) -> None:
        super().__init__(
            task=micro(world, vocab_size=vocab_size, horizon=horizon, seed=seed),
            reward=reward,
            delivery=delivery,
            on_failure=on_failure,
            constraint=constraint,
            group_size=group_size,
            gamma=gamma,
            mask_in_info=mask_in_info,
            render_mode=render_mode,
        )


class TextGenMicroVectorEnv(_Micro, TextGenVectorEnv):
    """B texts at a time on a micro world; `gym.make_vec("TextGenMicro-v0", num_envs=B)` makes this.

    Args:
        num_envs: B.
        world: see `TextGenMicroEnv`, as for all that is not listed here.
        vocab_size: A, what may be chosen at every step.
        horizon: T, the tokens of the longest text.
        seed: which numbers.
        reward: what is paid; None for the world's own.
        delivery: "terminal", "per_token" or "shaped".
        on_failure: "raise" or "mask".
        constraint: which tokens may come next.
        group_size: neighbouring rows that share their prompts, which here all rows do.
        gamma: discount that shaped delivery is computed with.
        mask_in_info: put `action_mask` into every info.
        render_mode: "ansi", "human", "rgb_array" or None.
        autoreset_mode: an `AutoresetMode` or its value.
        max_episode_steps: steps after which an episode is truncated; None for never.
        disable_env_checker: accepted because `gym.make_vec` may hand it in.
    """

    def __init__(
        self,
        num_envs: int = 1,
        *,
        world: str = "bigram",
        vocab_size: int = 8,
        horizon: int = 6,
        seed: int = 0,
        reward: Any = None,
        delivery: str = "terminal",
        on_failure: str = "raise",
        constraint: Any = None,
        group_size: int = 1,
        gamma: float = 1.0,
        mask_in_info: bool = False,
        render_mode: str | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        max_episode_steps: int | None = None,
        disable_env_checker: bool | None = None,
    ) -> None:
        super().__init__(
            num_envs,
            task=micro(world, vocab_size=vocab_size, horizon=horizon, seed=seed),
            reward=reward,
            delivery=delivery,
            on_failure=on_failure,
            constraint=constraint,
            group_size=group_size,
            gamma=gamma,
            mask_in_info=mask_in_info,
            render_mode=render_mode,
            autoreset_mode=autoreset_mode,
            max_episode_steps=max_episode_steps,
            disable_env_checker=disable_env_checker,
        )
