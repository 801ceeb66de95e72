"""Small networks to begin as and to be held near, saved as checkpoint folders."""

from pathlib import Path

import torch

from textgym.envs.micro import MicroTask
from textgym.models.checkpoint import save_checkpoint
from textgym.sb3.network import build_network


def save_network(
    folder: Path | str, task: MicroTask, shape: dict[str, int], *, seed: int, scale: float = 1.0, endless: bool = False
) -> None:
    """Saves a network with random weights.

    Args:
        folder: where to.
        task: which vocabulary and context it has.
        shape: n_layer, n_head and n_embd.
        seed: of the weights; torch's own random state stays as it is.
        scale: what they are multiplied by: above 1 the policy is not nearly uniform.
        endless: ban EOS, so that all texts are as long as may be.
    """
    ids = task.tokenizer
    banned = (ids.unk_id, ids.sep_id, *((ids.eos_id,) if endless else ()))
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = build_network({**shape, "banned": banned}, length=task.observation_length, vocabulary=ids.vocab_size)
        for parameter in made.parameters():
            parameter.mul_(scale)
    save_checkpoint(folder, made, ids)
