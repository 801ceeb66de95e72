"""What the machine can do: the rate of matrix products, and the time that attention takes by itself.

The formula that sets tokens a second against this rate stands in the package's docstring.
"""

import torch
from textgym.benchmarks.speed.measure import clock_of
from textgym.benchmarks.speed.setting import Setting
from torch.nn import functional as F

BLOCKS = 5
"""How often each rate is taken; the best counts, since nothing makes arithmetic faster than it is."""


def matrix_products(
    setting: Setting,
    square: int,
    seconds: float = 0.05,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> dict[str, float]:
    """Best rates of x W^T in 1e9 FLOP a second: at each shape the network uses, the best of those, a large square.

    Args:
        setting: the shapes. Training passes hold a minibatch and its prompts, rollouts one position a row.
        square: side of the large square.
        seconds: how long each of `BLOCKS` takes lasts, about.
        device: where.
        dtype: of the matrices.
    """
    rates = {
        f"gflops_{m}x{k}x{n}": _rate(m, k, n, seconds, device, dtype)
        for m, k, n in (*network_shapes(setting), (square, square, square))
    }
    large = rates.pop(f"gflops_{square}x{square}x{square}")
    return {**rates, "gflops_network": max(rates.values()), "gflops_square": large}


def network_shapes(setting: Setting) -> list[tuple[int, int, int]]:
    """(m, k, n) of each kind of product: qkv, output of attention, both of the MLP, the head; training and rollout."""
    width, shapes = setting.n_embd, []
    segments = max(1, setting.batch_size // setting.max_new_tokens)
    for positions, chosen in (
        (segments * setting.positions, segments * setting.max_new_tokens),
        (setting.rows, setting.rows),
    ):
        shapes += [(positions, width, n * width) for n in (3, 1, 4)]
        shapes += [(positions, 4 * width, width), (chosen, width, setting.vocab_size)]
    return shapes


def _rate(m: int, k: int, n: int, seconds: float, device: str, dtype: torch.dtype) -> float:
    x, weight = torch.randn(m, k, device=device, dtype=dtype), torch.randn(n, k, device=device, dtype=dtype)
    now, flop = clock_of(device), 2 * m * k * n
    best, count = 0.0, 1
    with torch.inference_mode():
        F.linear(x, weight)
        done = 0
        while done < BLOCKS:
            began = now()
            for _ in range(count):
                F.linear(x, weight)
            took = now() - began
            if took < seconds:  # too short to be told from the clock
                count *= 2
                continue
            best, done = max(best, count * flop / took), done + 1
    return best / 1e9


def attention_alone(setting: Setting) -> dict[str, float]:
    """Seconds of scaled dot-product attention for one PPO iteration of this setting, nothing else around it.

    The rollout attends from one token a row to all before it, training from every position, forward and backward.
    """
    heads, size = setting.n_head, setting.n_embd // setting.n_head
    now = clock_of("cpu")
    keys, values = torch.randn(2, setting.rows, heads, setting.positions + 1, size)
    query = keys[:, :, :1]
    began = now()
    with torch.inference_mode():
        for length in range(setting.prompt, setting.positions + 1):
            mask = torch.zeros(setting.rows, 1, 1, length)
            for _ in range(setting.n_layer):
                F.scaled_dot_product_attention(query, keys[:, :, :length], values[:, :, :length], attn_mask=mask)
    rollout = now() - began
    segments = min(max(1, setting.batch_size // setting.max_new_tokens), setting.rows)
    shape = (segments, heads, setting.positions, size)
    q, k, v = (torch.randn(shape, requires_grad=True) for _ in range(3))
    gradient = torch.randn(shape)
    passes = setting.epochs * max(1, setting.rows // segments) * setting.n_layer
    began = now()
    for _ in range(passes):
        torch.autograd.grad(F.scaled_dot_product_attention(q, k, v, is_causal=True), (q, k, v), gradient)
    return {"rollout_seconds": rollout, "training_seconds": now() - began, "tokens": setting.tokens}
