"""Memory of one rollout and one PPO update, in a process of its own: `python -m textgym.benchmarks.speed.memory JSON`.

Growth is counted from the moment when agent and environment stand (weights, tokenizer and libraries in memory) to the
highest resident size reached. On Linux the kernel's high-water mark is set back in between; elsewhere it is that of
the whole process, which can only be larger.
"""

import json
import os
import re
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from textgym.benchmarks.speed.setting import Setting

from textgym.errors import TextGymError

MIB = 2**20


def in_a_process(setting: Setting, update: bool) -> dict[str, float]:
    """`measure` in a fresh process.

    Args:
        setting: the shapes.
        update: whether to train on the rollout too.

    Raises:
        TextGymError: the process failed; the message ends with the last line that it said.
    """
    command = [sys.executable, "-m", "textgym.benchmarks.speed.memory", json.dumps([asdict(setting), update])]
    environment = {**os.environ, "OMP_NUM_THREADS": str(setting.threads)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1:] or ["nothing on stderr"]
        raise TextGymError(f"the memory measurement ended with {done.returncode}: {said[0]}")
    measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return measured


def measure(setting: Setting, update: bool) -> dict[str, float]:
    """One rollout, and one update on it, of an agent of this shape; MiB.

    Returns:
        `rollout_mib`: peak growth over the rollout. `buffer_mib`: arrays of our rollout buffer, and
        `default_buffer_mib` those of Stable-Baselines3's own. `prefix_cache_mib`: keys and values of all rows. With
        `update` also `update_mib`, peak growth over rollout and update together, and `train_mib`, that of the update
        over what was resident before it.
    """
    import torch
    from textgym.benchmarks.speed.agents import parameters, textgym_agent

    torch.set_num_threads(setting.threads)
    agent = textgym_agent(setting)
    buffer: Any = agent.rollout_buffer
    _, callback = agent._setup_learn(2 * setting.tokens)
    assert agent.env is not None
    forget_peak()
    before = resident()
    agent.collect_rollouts(agent.env, callback, buffer, agent.n_steps)
    grown = peak() - before
    context = setting.prompt + setting.max_new_tokens
    found = {
        "tokens": setting.tokens,
        "parameters": parameters(agent),
        "before_mib": before / MIB,
        "rollout_mib": grown / MIB,
        "buffer_mib": sum(value.nbytes for value in vars(buffer).values() if hasattr(value, "nbytes")) / MIB,
        "default_buffer_mib": setting.tokens * 4 * (context + 7) / MIB,  # float32: observation and seven numbers a step
        "prefix_cache_mib": 2 * 4 * setting.rows * context * setting.n_layer * setting.n_embd / MIB,
    }
    if update:
        forget_peak()
        between = resident()
        agent.train()
        found["update_mib"] = max(grown, peak() - before) / MIB
        found["train_mib"] = (peak() - between) / MIB
    return found


def resident() -> int:
    """Bytes of this process that are in memory now; its peak where the system does not say."""
    return _status("VmRSS") or peak()


def peak() -> int:
    """Most bytes that were in memory at once since `forget_peak`, or since the start where that is not possible."""
    found = _status("VmHWM")
    if found is not None:
        return found
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024  # bytes there, KiB elsewhere


def forget_peak() -> None:
    """Sets the high-water mark back to what is in memory now, where the system lets us."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return


def _status(name: str) -> int | None:
    try:
        text = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    found = re.search(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)
    return None if found is None else int(found[1]) * 1024


if __name__ == "__main__":
    shape, with_update = json.loads(sys.argv[1])
    print(json.dumps(measure(Setting(**shape), with_update)))
