"""Expert iteration (Anthony et al. 2017): write, keep the best, learn to write so by maximum likelihood, and again.

The expert is the best share of each prompt's texts, as in reward-ranked fine-tuning (RAFT, Dong et al. 2023,
arXiv:2304.06767, algorithm 1), or the texts above a threshold, as in filtered behaviour cloning (ReST, Gulcehre et al.
2023, arXiv:2308.08998, eq. 3):

    objective = sum over the tokens of the kept texts of log pi(a_t|s_t)

What is learned from a text does not depend on by how much it was better, and nothing is learned from the others.
"""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, Schedule
from stable_baselines3.common.vec_env import VecEnv
from typing_extensions import Unpack

from textgym.errors import TaskError
from textgym.sb3.advantages import Steps, returns_to_go
from textgym.sb3.agent import make_agent, needs
from textgym.sb3.text_buffer import WholeTextBuffer
from textgym.sb3.whole_texts import WholeTextAlgorithm, WholeTextSettings


class ExpertIteration(WholeTextAlgorithm):
    """Expert iteration with Stable-Baselines3's interface.

    A return is what the environment paid, less the KL penalty where that is in the reward. `train/kept` of the log is
    the share of the texts that was learned from.

    Args:
        policy: a `TransformerPolicy`.
        env: from `make_sb3_env(..., autoreset=False, group_size=8)`.
        learning_rate: of Adam.
        share: of each prompt's texts, the best so many are kept; of equally good ones the first. None keeps all that
            `threshold` lets pass.
        threshold: texts with a return below it are not kept, even if none is left; None for no threshold.
        aggregate: "token_mean", the likelihood of language models; "token_sum", of whole texts; "sequence_mean".
        **settings: see `WholeTextAlgorithm`; by default the kept texts are learned from twice (`n_epochs`), in
            minibatches of 1,024 tokens (`batch_size`).

    Raises:
        TaskError: a share that is none, neither share nor threshold; see `WholeTextAlgorithm`.
    """

    def __init__(
        self,
        policy: str | type[BasePolicy],
        env: GymEnv | str,
        learning_rate: float | Schedule = 3e-4,
        share: float | None = 0.25,
        threshold: float | None = None,
        aggregate: str = "token_mean",
        **settings: Unpack[WholeTextSettings],
    ) -> None:
        if share is None and threshold is None:
            raise TaskError("share=None, threshold=None: one of them says which texts are kept")
        if share is not None and not 0 < share <= 1:
            raise TaskError(f"share={share}: of the texts of a prompt, above 0 and at most 1")
        self.share, self.threshold = share, threshold
        settings.setdefault("n_epochs", 2)
        settings.setdefault("batch_size", 1024)
        super().__init__(policy, env, learning_rate, aggregate=aggregate, **settings)

    def advantages(self, buffer: WholeTextBuffer) -> Steps:
        """1 in each step of a text that is kept, 0 in the others, which are left out of training."""
        returns = returns_to_go(buffer.rewards, self.gamma)[0]
        kept = self.best(returns, buffer.valid)
        buffer.keep(kept)
        found: Steps = np.broadcast_to(kept.astype(np.float32), buffer.rewards.shape)
        return found

    def best(self, returns: Float[np.ndarray, " B"], valid: Bool[np.ndarray, " B"]) -> Bool[np.ndarray, " B"]:
        """Which texts are kept, (B,)."""
        kept: Bool[np.ndarray, " B"] = valid.copy()
        if self.threshold is not None:
            kept &= returns >= self.threshold
        if self.share is not None:
            groups = np.where(valid, returns, -np.inf).reshape(-1, self.group_size)
            ranks = np.argsort(np.argsort(-groups, axis=1, kind="stable"), axis=1)
            kept &= (ranks < np.ceil(self.share * self.group_size)).ravel()
        return kept

    def train(self) -> None:
        """Raises the likelihood of the kept texts; nothing where none was kept."""
        kept = self.rollout_buffer.advantages[0]
        self.logger.record("train/kept", float(kept.mean()))
        if kept.any():
            super().train()


DEFAULTS: dict[str, Any] = {}
"""Settings for text: those of the class."""


@needs(autoreset=False, group_size=8)
def build(env: VecEnv, model: str | Path, **settings: Any) -> ExpertIteration:
    """An agent of expert iteration that begins as the language model `model`; settings as in `make_agent`."""
    return make_agent(ExpertIteration, DEFAULTS, env, model, **settings)
