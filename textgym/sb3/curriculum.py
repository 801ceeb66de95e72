"""`BudgetCurriculum`: short texts first, so that a reward at their end is near to what earned it."""

from stable_baselines3.common.callbacks import BaseCallback

from textgym.errors import TaskError
from textgym.sb3.defaults import attribute_of


class BudgetCurriculum(BaseCallback):
    """Lets the budget of completions grow from `start` to the task's own while an agent learns.

    It grows with the tokens that were written, evenly, at the start of each rollout, and so is a function of
    `num_timesteps`: a training that is gone on with has the right one. What the policy sees says nothing of it, as if
    the text had been cut. Logged as `rollout/budget`.

    Args:
        start: tokens of the first texts, EOS included.
        tokens: written until the budget is whole.
        verbose: as in Stable-Baselines3.

    Raises:
        TaskError: a number below 1; when training begins, an environment whose budget cannot be set (it needs one from
            `make_sb3_env`), or a `start` above its task's.
    """

    def __init__(self, start: int, tokens: int, verbose: int = 0) -> None:
        super().__init__(verbose)
        if start < 1 or tokens < 1:
            raise TaskError(f"start={start}, tokens={tokens}: both count tokens, and must be at least 1")
        self.start, self.tokens = start, tokens
        self._whole = 0

    def _on_training_start(self) -> None:
        episodes = attribute_of(self.training_env, "episodes", None)
        if episodes is None or attribute_of(self.training_env, "budget", None) is None:
            raise TaskError("BudgetCurriculum sets the budget of all rows at once: make them with make_sb3_env(...)")
        self._whole = int(episodes.rules.budget)
        if self.start > self._whole:
            raise TaskError(f"start={self.start} is more than the task's budget, {self._whole}")

    def _on_rollout_start(self) -> None:
        done = min(self.num_timesteps / self.tokens, 1.0)
        budget = self.start + int(done * (self._whole - self.start))
        self.training_env.set_attr("budget", budget)
        self.logger.record("rollout/budget", budget)

    def _on_step(self) -> bool:
        return True
