import torch

from textgym.sb3.value_head import BIAS_SCALE, GRADIENT_SCALE, ValueHead


def a_head(width=4):
    head = ValueHead(width)
    with torch.no_grad():
        head.weight.copy_(torch.linspace(-1, 1, width))
        head.bias.fill_(0.01)
    return head


def test_a_value_is_linear_in_the_hidden_state_with_a_bias_that_is_300_times_its_parameter():
    head, hidden = a_head(), torch.randn(5, 4)
    expected = hidden @ head.weight[0] + BIAS_SCALE * 0.01
    assert torch.allclose(head(hidden)[:, 0], expected)


def test_a_new_head_says_zero():
    assert torch.equal(ValueHead(4)(torch.randn(3, 4)), torch.zeros(3, 1))


def test_the_critic_does_not_train_the_trunk():
    hidden = torch.randn(5, 4, requires_grad=True)
    a_head()(hidden).sum().backward()
    assert hidden.grad is None


def test_gradients_are_those_of_the_value_times_a_constant_that_adam_does_not_see():
    head, hidden = a_head(), torch.randn(5, 4)
    head(hidden).sum().backward()
    assert torch.allclose(head.weight.grad[0], GRADIENT_SCALE * hidden.sum(0))
    assert torch.allclose(head.bias.grad, torch.tensor([GRADIENT_SCALE * 5.0]))


def test_an_error_of_thirty_in_every_value_leaves_the_policy_half_of_a_norm_of_one():
    head, hidden = ValueHead(128), torch.nn.functional.layer_norm(torch.randn(4096, 128), (128,))
    (0.5 * (head(hidden)[:, 0] - 30).square().mean()).backward()
    norm = torch.cat([head.weight.grad.flatten(), head.bias.grad]).norm()
    assert norm < 0.5


def test_adam_finds_a_mean_return_in_as_few_steps_as_without_the_constant(monkeypatch):
    def found(steps=100):
        torch.manual_seed(0)
        head, hidden = ValueHead(8), torch.randn(256, 8)
        optimizer = torch.optim.Adam(head.parameters(), lr=1e-4, eps=1e-5)
        for _ in range(steps):
            optimizer.zero_grad()
            (0.5 * (head(hidden)[:, 0] + 4).square().mean()).backward()
            optimizer.step()
        return head(hidden).detach().mean().item()

    scaled = found()
    monkeypatch.setattr("textgym.sb3.value_head.GRADIENT_SCALE", 1.0)
    assert scaled < -2
    assert abs(scaled - found()) < 0.01
