"""Where an agent's time goes: functions wrapped in timers, each second counted once, all adding up to the wall time.

Entering a wrapped function pauses the part around it, so parts are exclusive: scoring happens inside the environment's
step, and is not counted there.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from statistics import median
from time import perf_counter
from typing import Any

import torch
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from textgym.sb3 import policies
from textgym.scorers.reward import Reward

REST = "SB3 and the rest"
PARTS = (
    "environment",
    "scoring",
    "rollout forward",
    "sampling",
    "training forward",
    "backward",
    "optimizer",
    REST,
)
"""In the order in which they are drawn."""


class Stopwatch:
    """Exclusive seconds by part.

    Attributes:
        seconds: of each part so far.
        calls: of wrapped functions so far.
    """

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self.calls = 0
        self._open = [REST]
        self._since = perf_counter()

    def start(self) -> None:
        """Begins anew."""
        self.seconds, self.calls = dict.fromkeys(PARTS, 0.0), 0
        self._since = perf_counter()

    def stop(self) -> dict[str, float]:
        """Seconds of each part since `start`."""
        self._count()
        return dict(self.seconds)

    def around(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, its time counted to a part."""

        @wraps(function)
        def timed(*arguments: Any, **named: Any) -> Any:
            self._count()
            self._open.append(part)
            self.calls += 1
            try:
                return function(*arguments, **named)
            finally:
                self._count()
                self._open.pop()

        return timed

    def _count(self) -> None:
        now = perf_counter()
        self.seconds[self._open[-1]] += now - self._since
        self._since = now


def targets(agent: OnPolicyAlgorithm) -> list[tuple[Any, str, str]]:
    """(owner, attribute, part) of every function that is wrapped."""
    policy: Any = agent.policy
    return [
        (agent.env, "step", "environment"),
        (Reward, "score", "scoring"),
        (policy, "forward", "rollout forward"),
        (policy, "act", "rollout forward"),
        (policy, "predict_values", "rollout forward"),
        (policies, "draw", "sampling"),
        (policy, "evaluate_actions", "training forward"),
        (torch.Tensor, "backward", "backward"),
        (policy.optimizer, "zero_grad", "optimizer"),
        (policy.optimizer, "step", "optimizer"),
        (torch.nn.utils, "clip_grad_norm_", "optimizer"),
    ]


@contextmanager
def timed(stopwatch: Stopwatch, wrapped: list[tuple[Any, str, str]]) -> Iterator[None]:
    """Wraps functions for as long as the block lasts."""
    with ExitStack() as undo:
        for owner, name, part in wrapped:
            own = name in vars(owner)
            before = getattr(owner, name)
            setattr(owner, name, stopwatch.around(part, before))
            undo.callback(*((setattr, owner, name, before) if own else (delattr, owner, name)))
        yield


def where_time_goes(agent: OnPolicyAlgorithm, iterations: int) -> dict[str, float]:
    """Seconds of each part over iterations, in turns with as many that are not timed.

    Args:
        agent: with our policy; learns.
        iterations: of each kind, after one to warm up.

    Returns:
        Seconds by part, which add up to `wall_seconds`; `tokens`; `overhead`, the share of the wall time that the
        timers themselves take (their number times the cost of one); `slowdown`, how much longer the timed
        iterations took than the others, where the machine's own unrest shows.
    """
    stopwatch, tokens = Stopwatch(), agent.n_steps * agent.n_envs
    agent.learn(tokens)
    parts, wall, ratios, calls = dict.fromkeys(PARTS, 0.0), 0.0, [], 0
    for _ in range(iterations):
        began = perf_counter()
        agent.learn(tokens)
        plain = perf_counter() - began
        with timed(stopwatch, targets(agent)):
            began = perf_counter()
            stopwatch.start()
            agent.learn(tokens)
            spent = stopwatch.stop()
            took = perf_counter() - began
        parts = {part: parts[part] + spent[part] for part in PARTS}
        wall, calls = wall + took, calls + stopwatch.calls
        ratios.append(took / plain)
    return {
        **parts,
        "wall_seconds": wall,
        "tokens": iterations * tokens,
        "overhead": calls * _seconds_per_call() / wall,
        "slowdown": median(ratios) - 1,
    }


def _seconds_per_call(calls: int = 10_000) -> float:
    """What one timer costs."""
    wrapped = Stopwatch().around(REST, lambda: None)
    began = perf_counter()
    for _ in range(calls):
        wrapped()
    return (perf_counter() - began) / calls
