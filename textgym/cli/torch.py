"""What a command asks of torch before it computes."""

from textgym.errors import TaskError


def prepare_torch(device: str, threads: int | None) -> None:
    """Sets the number of threads, and makes sure that the device is there.

    Raises:
        TaskError: torch cannot use the device on this machine.
    """
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).partition("\n")[0]
        raise TaskError(f"--device {device} cannot be used here ({reason}). --device cpu always can") from error
