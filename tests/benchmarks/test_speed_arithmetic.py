import pytest
import torch
from textgym.benchmarks.speed.arithmetic import attention_alone, matrix_products, network_shapes
from textgym.benchmarks.speed.setting import Setting
from torch.utils.flop_counter import FlopCounterMode

from textgym.models.transformer import Transformer, TransformerConfig


def test_setting_a_costs_26_flop_for_each_weight_and_position():
    setting = Setting()
    assert setting.weights == 4 * 12 * 128 * 128 + 512 * 128
    assert setting.flop_per_token == 26 * setting.weights * (8 + 64 - 1) / 64


def test_the_formula_counts_what_torch_counts_for_one_pass(tiny):
    shape = TransformerConfig(tiny.vocab_size, tiny.positions, **tiny.architecture)
    model = Transformer(shape)
    tokens = torch.zeros(3, tiny.positions, dtype=torch.long)
    with FlopCounterMode(display=False) as counter:
        model.logits(model(tokens)).sum().backward()
    counted = counter.get_flop_counts()["Global"]
    products = sum(n for operator, n in counted.items() if "mm" in str(operator))
    # Forward 2N and backward 4N a position, but for the gradient of the first inputs, which nobody needs.
    assert products == 6 * tiny.weights * 3 * tiny.positions


def test_rates_cover_every_product_of_the_network_and_a_large_square(tiny):
    rates = matrix_products(tiny, square=96, seconds=1e-4)
    assert (32, 16, 64) in network_shapes(tiny)  # the head: 4 texts of 8 tokens, width 16, 64 tokens
    assert (44, 64, 16) in network_shapes(tiny)  # the MLP: 4 texts of 11 positions
    single = [rates[f"gflops_{m}x{k}x{n}"] for m, k, n in network_shapes(tiny)]
    assert rates["gflops_network"] == max(single) and min(single) > 0 and rates["gflops_square"] > 0


def test_attention_is_timed_for_one_iteration(tiny):
    alone = attention_alone(tiny)
    assert alone["tokens"] == 64 and alone["rollout_seconds"] > 0 and alone["training_seconds"] > 0


@pytest.mark.parametrize("epochs", [1, 4])
def test_more_epochs_cost_more_training_and_no_more_rollout(epochs):
    a, b = Setting(epochs=epochs), Setting(epochs=epochs + 1)
    assert b.flop_per_token - a.flop_per_token == pytest.approx(6 * a.weights * 71 / 64)
