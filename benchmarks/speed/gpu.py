"""The same PPO in bfloat16 on a GPU, decoding by CUDA graph or not, its network compiled or not."""

from typing import Any

import torch
from textgym.benchmarks.speed.agents import textgym_agent
from textgym.benchmarks.speed.measure import warm_ppo
from textgym.benchmarks.speed.setting import Setting


def bfloat16_ppo(
    setting: Setting, iterations: int, device: str, *, cuda_graph: bool = True, compiled: bool = False
) -> dict[str, float]:
    """As `measure.textgym_ppo`, in bfloat16; on a CPU too, where it is only a test of this path.

    Args:
        setting: the shapes.
        iterations: of PPO, after one to warm up, in which the graph is made and the network compiled.
        device: "cuda" or "cpu".
        cuda_graph: whether to decode by CUDA graph.
        compiled: whether `torch.compile` makes the passes of training; decoding is left as it is.

    Returns:
        Also `peak_mib`, the most that tensors took on a CUDA device.
    """
    agent = textgym_agent(setting, device=device, dtype="bfloat16", cuda_graph=cuda_graph)
    if compiled:
        transformer: Any = agent.policy.transformer
        transformer.compile()
    if device != "cuda":
        return warm_ppo(agent, setting, iterations, device)
    torch.cuda.reset_peak_memory_stats()
    found = warm_ppo(agent, setting, iterations, device)
    return {**found, "peak_mib": torch.cuda.max_memory_allocated() / 2**20}
