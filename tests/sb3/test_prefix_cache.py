import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from textgym.models.transformer import Transformer, TransformerConfig
from textgym.sb3.prefix_cache import PrefixCache

CONFIG = TransformerConfig(vocab_size=11, context=12, n_layer=2, n_head=2, n_embd=16)


@pytest.fixture(scope="module")
def transformer() -> Transformer:
    torch.manual_seed(0)
    return Transformer(CONFIG).eval()


def uncached(transformer: Transformer, tokens: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return torch.stack([transformer(row[None, :n])[0, -1] for row, n in zip(tokens, lengths, strict=True)])


def padded(rows: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    tokens = torch.full((len(rows), CONFIG.context), -1)
    for i, row in enumerate(rows):
        tokens[i, : len(row)] = torch.tensor(row)
    return tokens, torch.tensor([len(row) for row in rows])


# In each call every row goes on by a token, stays, falls back to an earlier prefix, or starts on another text.
moves = st.lists(
    st.lists(st.sampled_from(["on", "stay", "back", "new"]), min_size=3, max_size=3), min_size=1, max_size=8
)


@settings(max_examples=40, deadline=None)
@given(moves, st.randoms(use_true_random=False))
def test_hidden_states_equal_an_uncached_pass_whatever_the_rows_do(transformer, moves, random):
    cache = PrefixCache()
    rows = [[random.randrange(11) for _ in range(random.randrange(1, 6))] for _ in range(3)]
    for step in moves:
        for i, move in enumerate(step):
            if move == "on" and len(rows[i]) < CONFIG.context:
                rows[i] = [*rows[i], random.randrange(11)]
            elif move == "back":
                rows[i] = rows[i][: max(1, len(rows[i]) - random.randrange(3))]
            elif move == "new":
                rows[i] = [random.randrange(11) for _ in range(random.randrange(1, CONFIG.context + 1))]
        tokens, lengths = padded(rows)
        expected = uncached(transformer, tokens, lengths)
        torch.testing.assert_close(cache.hidden(transformer, tokens, lengths), expected, rtol=1e-4, atol=1e-5)


def test_going_on_by_a_token_prefills_nothing(transformer, monkeypatch):
    cache = PrefixCache()
    cache.hidden(transformer, *padded([[1, 2, 3], [4, 5]]))
    monkeypatch.setattr(Transformer, "prefill", lambda *_: pytest.fail("prefilled a known prefix"))
    cache.hidden(transformer, *padded([[1, 2, 3, 7], [4, 5, 6]]))


def test_only_restarted_rows_are_prefilled(transformer, monkeypatch):
    cache, filled = PrefixCache(), []
    prefill = Transformer.prefill
    cache.hidden(transformer, *padded([[1, 2, 3], [4, 5], [6]]))
    monkeypatch.setattr(
        Transformer, "prefill", lambda self, *args: (filled.append(args[3].tolist()), prefill(self, *args))
    )
    cache.hidden(transformer, *padded([[1, 2, 3, 4], [9, 8, 7], [6, 1]]))
    assert filled == [[1]]


def test_a_parameter_update_empties_the_cache():
    torch.manual_seed(1)
    transformer, cache = Transformer(CONFIG), PrefixCache()
    optimizer = torch.optim.SGD(transformer.parameters(), lr=1.0)
    rows = padded([[1, 2, 3], [4, 5]])
    before = cache.hidden(transformer, *rows).clone()
    transformer(rows[0].clamp(min=0)).square().sum().backward()
    optimizer.step()
    rows = padded([[1, 2, 3, 4], [4, 5, 6]])
    after = cache.hidden(transformer, *rows)
    torch.testing.assert_close(after, uncached(transformer, *rows), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(before, after)


def test_another_number_of_rows_starts_afresh(transformer):
    cache = PrefixCache()
    cache.hidden(transformer, *padded([[1, 2, 3], [4, 5]]))
    rows = padded([[1, 2, 3, 4]])
    torch.testing.assert_close(cache.hidden(transformer, *rows), uncached(transformer, *rows), rtol=1e-4, atol=1e-5)
