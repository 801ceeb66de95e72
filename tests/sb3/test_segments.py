import pytest
import torch

from textgym.models.checkpoint import new_model
from textgym.sb3 import segments as module
from textgym.sb3.segments import Segments, hidden_states


def made(steps, length=40):
    """Segments that begin behind a prefix of two tokens."""
    tokens = torch.arange(len(steps) * length).reshape(len(steps), length) % 19 + 1
    return Segments(tokens, torch.full((len(steps),), 2), torch.tensor(steps))


@pytest.mark.parametrize(
    ("lengths", "groups"),
    [
        ([32] * 64, 1),  # nothing is padding: every further pass only costs
        ([64] * 32 + [4] * 32, 2),
        (list(range(1, 65)) * 4, 4),
        ([7], 1),
    ],
)
def test_segments_are_parted_only_where_that_saves_more_padding_than_a_pass_costs(lengths, groups):
    parted = module._groups(torch.tensor(lengths))
    assert len(parted) == groups
    assert sorted(torch.cat(parted).tolist()) == list(range(len(lengths)))
    longest = [max(lengths[i] for i in group) for group in parted]
    assert longest == sorted(longest)


@pytest.mark.parametrize("steps", [[5, 5, 5], [1, 30, 2, 31, 3, 29], [12]])
@pytest.mark.parametrize("counts", [(1,), (2,), (4,)])
def test_however_they_are_parted_the_states_are_those_of_each_segment_alone(steps, counts, monkeypatch):
    transformer, segments = new_model("tiny", vocab_size=20, context=40), made(steps)
    alone = [
        hidden_states(
            transformer, Segments(segments.tokens[i : i + 1], segments.first[i : i + 1], segments.steps[i : i + 1])
        )
        for i in range(len(steps))
    ]
    monkeypatch.setattr(module, "GROUPS", counts)
    torch.testing.assert_close(hidden_states(transformer, segments), torch.cat(alone), rtol=1e-5, atol=1e-5)
