import io

import numpy as np
import pytest
import torch
from gymnasium import spaces

from textgym.errors import CheckpointError, SpaceError
from textgym.models.likelihood import kl_divergence, logprob_and_entropy
from textgym.sb3.policies import TransformerPolicy
from textgym.sb3.segments import Segments

V, L = 13, 10
SHAPE = {"n_layer": 2, "n_head": 2, "n_embd": 16}


def make_policy(seed: int = 0, **kwargs) -> TransformerPolicy:
    torch.manual_seed(seed)
    observations = spaces.Box(-1, V - 1, (L,), np.int32)
    policy = TransformerPolicy(observations, spaces.Discrete(V), lambda _: 1e-2, **{"model": SHAPE, **kwargs})
    for parameter in policy.parameters():  # the value head starts at zero, where every test would pass
        torch.nn.init.normal_(parameter, std=0.3)
    return policy


def observe(*rows: list[int]) -> torch.Tensor:
    tokens = np.full((len(rows), L), -1, np.int32)
    for i, row in enumerate(rows):
        tokens[i, : len(row)] = row
    return torch.as_tensor(tokens)


def test_logprob_and_entropy_equal_torchs_categorical_with_their_gradients():
    torch.manual_seed(0)
    logits = torch.randn(7, V, dtype=torch.double, requires_grad=True)
    actions = torch.randint(0, V, (7,))
    assert torch.autograd.gradcheck(lambda z: logprob_and_entropy(z, actions), (logits,))
    reference = torch.distributions.Categorical(logits=logits)
    logp, entropy = logprob_and_entropy(logits, actions)
    torch.testing.assert_close(logp, reference.log_prob(actions))
    torch.testing.assert_close(entropy, reference.entropy())


def test_kl_divergence_equals_torchs():
    p, q = torch.randn(5, V), torch.randn(5, V)
    categorical = torch.distributions.Categorical
    expected = torch.distributions.kl_divergence(categorical(logits=p), categorical(logits=q))
    torch.testing.assert_close(kl_divergence(p, q), expected)


def test_the_log_probability_of_a_rollout_is_that_of_the_sampled_distribution():
    policy = make_policy()
    policy.set_training_mode(False)
    obs = observe([4, 1], [5, 6, 7, 1], [8, 1, 9])
    with torch.no_grad():
        actions, values, logp = policy(obs)
        again_values, again_logp, _ = policy.evaluate_actions(obs, actions)
    torch.testing.assert_close(logp, again_logp, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(values, again_values, rtol=1e-4, atol=1e-5)
    assert actions.shape == (3,) and values.shape == (3, 1)


def test_the_separator_and_unknown_are_never_chosen():
    policy = make_policy()
    with torch.no_grad():
        probabilities = policy.get_distribution(observe([4, 1])).distribution.probs
        actions = policy(observe(*[[4, 1]] * 500))[0]
    assert probabilities[0, :2].tolist() == [0.0, 0.0]
    assert actions.min() >= 2


def test_one_pass_over_segments_equals_scoring_each_step_alone():
    policy = make_policy()
    rows = [([4, 5, 1], [6, 7, 8]), ([9, 1], [10]), ([3, 1, 3, 3], [3, 4, 5, 6, 7])]
    tokens = torch.zeros(3, L, dtype=torch.long)
    for i, (prefix, actions) in enumerate(rows):
        tokens[i, : len(prefix) + len(actions)] = torch.tensor(prefix + actions)
    segments = Segments(tokens, torch.tensor([3, 2, 4]), torch.tensor([3, 1, 5]))
    prefixes = [prefix + actions[:t] for prefix, actions in rows for t in range(len(actions))]
    chosen = torch.tensor([action for _, actions in rows for action in actions])
    assert segments.actions.tolist() == chosen.tolist()
    for whole, single in zip(
        policy.evaluate_actions(segments, chosen), policy.evaluate_actions(observe(*prefixes), chosen), strict=True
    ):
        torch.testing.assert_close(whole, single, rtol=1e-4, atol=1e-5)


def test_a_prediction_in_mid_rollout_changes_nothing():
    policy, undisturbed = make_policy(), make_policy()
    rows = [[4, 1], [5, 6, 1]]
    for step in range(5):
        for other in (policy, undisturbed):
            other.set_training_mode(False)
        policy.predict(np.full((3, L), 2, np.int32), deterministic=True)
        policy.predict(observe([7, 1])[0].numpy(), deterministic=True)
        with torch.no_grad():
            torch.testing.assert_close(policy(observe(*rows), True), undisturbed(observe(*rows), True))
        rows = [[*row, 3 + step] for row in rows]


def test_parameters_moved_behind_autograds_back_are_noticed_at_the_mode_switch():
    policy = make_policy()
    policy.set_training_mode(False)
    with torch.no_grad():
        policy(observe([4, 1], [5, 1]))
    policy.set_training_mode(True)
    for parameter in policy.parameters():  # as TRPO's line search does
        parameter.data.mul_(0.5)
    policy.set_training_mode(False)
    obs = observe([4, 1, 6], [5, 1, 7])
    with torch.no_grad():
        actions, _, logp = policy(obs)
    fresh = policy.evaluate_actions(obs, actions)[1]
    torch.testing.assert_close(logp, fresh, rtol=1e-4, atol=1e-5)


def test_the_cache_is_not_used_while_training_or_with_gradients():
    policy = make_policy()
    policy.set_training_mode(True)
    obs = observe([4, 1], [5, 1])
    with torch.no_grad():
        before = policy.predict_values(obs).clone()
        for parameter in policy.parameters():
            parameter.data.mul_(0.5)
        assert not torch.allclose(before, policy.predict_values(obs))
    policy.set_training_mode(False)
    assert policy.predict_values(obs).requires_grad


def test_the_distribution_can_be_differentiated_twice():
    policy = make_policy()
    logits = policy.get_distribution(observe([4, 1, 5])).distribution.logits
    (first,) = torch.autograd.grad(logits.square().sum(), [policy.transformer.blocks[0].qkv.weight], create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), [policy.transformer.blocks[0].qkv.weight])
    assert second.abs().sum() > 0


def test_a_saved_policy_loads_without_its_model_folder(tmp_path):
    policy = make_policy()
    policy.save(str(tmp_path / "policy.pt"))
    loaded = TransformerPolicy.load(str(tmp_path / "policy.pt"))
    obs = observe([4, 1], [5, 1])
    torch.testing.assert_close(loaded.predict_values(obs), policy.predict_values(obs))


def test_weights_bring_the_shape_of_their_network():
    policy, other = make_policy(), make_policy(seed=1, model={"n_layer": 1, "n_head": 1, "n_embd": 8})
    saved = io.BytesIO()
    torch.save(policy.state_dict(), saved)
    saved.seek(0)
    other.load_state_dict(torch.load(saved, weights_only=True))
    assert other.transformer.config == policy.transformer.config
    obs = observe([4, 1], [5, 1])
    torch.testing.assert_close(other.predict_values(obs), policy.predict_values(obs))
    other.optimizer.load_state_dict(policy.optimizer.state_dict())


def test_a_missing_model_is_an_error_when_the_policy_is_first_used(tmp_path):
    policy = make_policy(model=str(tmp_path / "nowhere"))
    with pytest.raises(CheckpointError, match="nowhere"):
        policy.predict(observe([4, 1]).numpy())


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"n_layer": 1, "n_head": 3, "n_embd": 8}, "n_head=3"),
        ({**SHAPE, "vocab_size": 12}, "vocabulary of 12 .*environment has 13"),
        ({**SHAPE, "context": 9}, "context of 9 .*observations have 10"),
        ({**SHAPE, "depth": 3}, "depth"),
    ],
)
def test_an_architecture_that_does_not_fit_says_both_numbers(model, said):
    with pytest.raises(CheckpointError, match=said):
        make_policy(model=model)


@pytest.mark.parametrize("space", [spaces.Box(0.0, 1.0, (4,)), spaces.Discrete(5), spaces.Box(-1, 4, (2, 3), np.int32)])
def test_spaces_that_hold_no_tokens_are_refused(space):
    with pytest.raises(SpaceError, match="token prefixes"):
        TransformerPolicy(space, spaces.Discrete(V), lambda _: 1e-3, model=SHAPE)


def test_an_observation_without_tokens_is_refused():
    with pytest.raises(SpaceError, match="without a single token"):
        make_policy().predict(observe([]).numpy())
