"""What the default reward adds to a rollout, beside a reward that costs nothing."""

from statistics import median
from time import perf_counter

from stable_baselines3 import PPO
from textgym.benchmarks.speed.agents import textgym_agent
from textgym.benchmarks.speed.setting import Setting

from textgym.envs.tasks import Task, make_task
from textgym.scorers.reward import bind_reward


def open_task(setting: Setting, corpus: str | None) -> Task:
    """The task `docstrings`, or one of a corpus, with the setting's budget."""
    if corpus is None:
        return make_task("docstrings", max_new_tokens=setting.max_new_tokens)
    return make_task(corpus=corpus, max_new_tokens=setting.max_new_tokens)


def default_reward(setting: Setting, rollouts: int, corpus: str | None = None) -> dict[str, float]:
    """Rollouts under the default reward and under `length`, in turns; nothing is trained.

    The policy is random, so its texts are word salad, and all rows end in the same step. What scoring costs on real
    text is taken from the task's references: in batches of as many rows, and one by one, as when rows have drifted
    apart and every step ends one of them.

    Args:
        setting: the shapes; the vocabulary is the task's.
        rollouts: of each kind, after one to warm up.
        corpus: file to make a task from; None for the task `docstrings`.
    """
    task = open_task(setting, corpus)
    agents = {"default": textgym_agent(setting, task, None), "trivial": textgym_agent(setting, task)}
    for agent in agents.values():
        _rollout(agent)
    seconds: dict[str, list[float]] = {name: [] for name in agents}
    for _ in range(rollouts):
        for name, agent in agents.items():
            seconds[name].append(_rollout(agent))
    trivial = median(seconds["trivial"])
    pairs = zip(seconds["default"], seconds["trivial"], strict=True)
    return {
        "trivial_tokens_per_second": setting.tokens / trivial,
        "default_tokens_per_second": setting.tokens / median(seconds["default"]),
        "added": median(default / plain - 1 for default, plain in pairs),
        "added_on_real_text": _seconds_per_token(task, setting.rows) * setting.tokens / trivial,
        "added_one_by_one": _seconds_per_token(task, 1) * setting.tokens / trivial,
    }


def _rollout(agent: PPO) -> float:
    """Seconds of one rollout: what `learn` does between two updates, without them."""
    _, callback = agent._setup_learn(agent.n_steps * agent.n_envs)
    assert agent.env is not None
    began = perf_counter()
    agent.collect_rollouts(agent.env, callback, agent.rollout_buffer, agent.n_steps)
    return perf_counter() - began


def _seconds_per_token(task: Task, rows: int) -> float:
    """Of the default reward on the task's own passages."""
    reward, references = bind_reward(task.reward, task.context), task.context.references()
    batches = [references.rows(range(i, min(i + rows, len(references)))) for i in range(0, len(references), rows)]
    for batch in batches:  # decoded texts are kept with a batch: decoding is part of any rollout, not of scoring
        assert batch.completion_texts
    reward.score(batches[0])
    began = perf_counter()
    for batch in batches:
        reward.score(batch)
    return (perf_counter() - began) / sum(map(len, references.completions))
