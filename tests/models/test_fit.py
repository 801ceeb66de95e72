import io
import json
import math

import numpy as np
import pytest
import torch
from rich.console import Console
from torch.nn import functional as F

from textgym.errors import CheckpointError, TaskError
from textgym.models import fit as fit_module
from textgym.models.checkpoint import new_model
from textgym.models.fit import FitConfig, batch_loss, fit, perplexity, progress_bar, training_batches
from textgym.models.layout import lay_out, similar_lengths
from textgym.models.sampling import Sampling, generate
from textgym.models.transformer import Transformer

SEP, EOS, V = 1, 2, 30
QUICK = {"batch_tokens": 256, "learning_rate": 1e-2, "evaluate_every": 1000, "patience": 0}


class Prompts:
    """What `textgym.text.prompts.PromptSet` offers to a fit."""

    def __init__(self, rows: list[tuple[list[int], list[int]]]) -> None:
        self.rows = [(np.array(p, dtype=np.int32), np.array(r, dtype=np.int32)) for p, r in rows]

    def __len__(self) -> int:
        return len(self.rows)

    def prompt(self, index: int) -> np.ndarray:
        return self.rows[index][0]

    def reference(self, index: int) -> np.ndarray:
        return self.rows[index][1]


def random_rows(count: int, seed: int = 0, *, vocab: int = V) -> Prompts:
    rng = np.random.default_rng(seed)
    texts = [rng.integers(3, vocab, rng.integers(6, 16)).tolist() for _ in range(count)]
    return Prompts([(text[:4], [*text[4:], EOS]) for text in texts])


def network(seed: int = 0, *, banned: tuple[int, ...] = (0, SEP), size: str = "tiny") -> Transformer:
    return new_model(size, vocab_size=V, context=24, banned=banned, seed=seed)


def weights(model: Transformer) -> bytes:
    return b"".join(tensor.numpy().tobytes() for tensor in model.state_dict().values())


def test_rows_are_laid_out_as_prompt_separator_completion():
    rows = Prompts([([5, 6], [7]), ([], [8, EOS])]).rows
    layout = lay_out([p for p, _ in rows], [r for _, r in rows], sep_id=SEP)
    assert layout.tokens.tolist() == [[5, 6, SEP, 7], [SEP, 8, EOS, 0]]
    assert layout.lengths.tolist() == [4, 3] and layout.starts.tolist() == [3, 1]
    assert layout.completions().tolist() == [[False, False, True], [True, True, False]]
    assert layout.texts().tolist() == [[True, False, True], [True, True, False]]


def test_the_loss_of_a_batch_equals_a_loop_over_rows_without_padding_separator_and_unknown():
    model = network()
    rows = Prompts(
        [([5, 6, 7], [8, 9, EOS]), ([10], [11, 0, 12, 13, 14, 15]), ([], [16]), ([0, 17, 18, 19, 20], [])]
    ).rows
    total, count = 0.0, 0
    for prompt, reference in rows:
        text = [*prompt, SEP, *reference]
        logits = model.logits(model(torch.tensor([text])))[0]
        for t in range(1, len(text)):
            if t != len(prompt) and text[t] != 0:  # neither the separator nor <unk>
                total -= logits[t - 1].log_softmax(-1)[text[t]].item()
                count += 1
    loss, tokens = batch_loss(model, lay_out([p for p, _ in rows], [r for _, r in rows], sep_id=SEP))
    assert tokens == count == (2 + 3) + (0 + 5) + (0 + 1) + (4 + 0)
    assert loss.item() == pytest.approx(total / count, abs=1e-5)


def test_perplexity_is_that_of_the_completions_given_their_prompts():
    model, rows = network(), Prompts([([5, 6], [7, EOS]), ([8, 9, 10, 11], [12, 13, 14, EOS])])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(5)
    losses = []
    for prompt, reference in rows.rows:
        text = torch.tensor([[*prompt.tolist(), SEP, *reference.tolist()]])
        every = F.cross_entropy(model.logits(model(text))[0, :-1], text[0, 1:], reduction="none")
        losses += every[len(prompt) :].tolist()
    assert len(losses) == 6
    assert perplexity(model, rows, sep_id=SEP) == pytest.approx(math.exp(np.mean(losses)), rel=1e-5)
    assert perplexity(model, rows, sep_id=SEP, batch_tokens=1) == pytest.approx(math.exp(np.mean(losses)), rel=1e-5)


def test_the_perplexity_of_an_untrained_model_is_near_the_vocabulary_it_can_give():
    assert perplexity(network(), random_rows(100), sep_id=SEP) == pytest.approx(V - 2, rel=0.1)


def test_perplexity_looks_at_the_same_rows_each_time_and_at_no_more_than_asked_for(monkeypatch):
    seen = []
    original = fit_module.negative_logprobs

    def spy(model, tokens, wanted):
        seen.append(int(wanted.sum()))
        return original(model, tokens, wanted)

    monkeypatch.setattr(fit_module, "negative_logprobs", spy)
    model, rows = network(), random_rows(100)
    values = {perplexity(model, rows, sep_id=SEP, max_tokens=50) for _ in range(3)}
    assert len(values) == 1 and all(35 <= count <= 50 for count in seen)


def test_a_model_learns_twenty_rows_by_heart():
    rng = np.random.default_rng(0)
    rows = Prompts([([3 + i, 4], [*rng.integers(3, V, 5 + i % 4).tolist(), EOS]) for i in range(20)])
    model = network()
    config = FitConfig(tokens=12_000, **{**QUICK, "batch_tokens": 128, "evaluate_every": 4000})
    report = fit(model, rows, rows, sep_id=SEP, config=config)
    assert report.perplexity < 1.3 and report.curve[0].perplexity > 20
    assert report.perplexity == pytest.approx(perplexity(model, rows, sep_id=SEP), rel=1e-6)
    prompts = [rows.prompt(i) for i in range(20)]
    greedy = Sampling(temperature=0.0)
    told = generate(model, prompts, sep_id=SEP, eos_id=EOS, max_new_tokens=12, sampling=greedy).ids
    assert sum(told[i].tolist() == rows.reference(i).tolist() for i in range(20)) >= 18


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others():
    def run(seed: int) -> tuple[bytes, list[dict[str, float | None]]]:
        model = network()
        report = fit(
            model, random_rows(60), random_rows(9, 1), sep_id=SEP, config=FitConfig(tokens=3000, seed=seed, **QUICK)
        )
        return weights(model), [{k: v for k, v in row.items() if k != "seconds"} for row in report.rows()[1:]]

    first = run(0)
    torch.rand(3)
    assert run(0) == first
    assert run(1)[0] != first[0]


def test_early_stopping_leaves_the_model_with_the_best_weights(monkeypatch):
    script = iter([50.0, 20.0, 10.0, 30.0, 40.0, 5.0])
    states = []

    def scripted(model, rows, **settings):
        states.append(weights(model))
        return next(script)

    monkeypatch.setattr(fit_module, "perplexity", scripted)
    model = network()
    config = FitConfig(tokens=9000, **{**QUICK, "patience": 2})
    report = fit(model, random_rows(60), random_rows(9, 1), sep_id=SEP, config=config)
    assert [row.perplexity for row in report.curve] == [50, 20, 10, 30, 40]  # the 5 is never seen
    assert report.perplexity == 10 and report.best == report.curve[2].tokens < report.tokens < 9000
    assert weights(model) == states[2] != states[-1]


def test_patience_zero_never_stops_early(monkeypatch):
    monkeypatch.setattr(fit_module, "perplexity", lambda model, rows, **settings: 7.0)
    model = network()
    report = fit(model, random_rows(30), random_rows(3, 1), sep_id=SEP, config=FitConfig(tokens=4000, **QUICK))
    assert report.tokens >= 4000 and report.best == 0
    assert weights(model) == weights(network())  # never better than at the start: the start is what is left


def test_ctrl_c_passes_through_and_leaves_a_model_that_works():
    model, rows = network(), random_rows(60)
    before = weights(model)

    def interrupt(done: int, total: int, message: str) -> None:
        if done > 1000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(model, rows, rows, sep_id=SEP, config=FitConfig(tokens=9000, **QUICK), progress=interrupt)
    assert weights(model) != before
    assert all(parameter.grad is None and torch.isfinite(parameter).all() for parameter in model.parameters())
    assert perplexity(model, rows, sep_id=SEP) < 40
    assert fit(model, rows, rows, sep_id=SEP, config=FitConfig(tokens=500, **QUICK)).tokens >= 500


def test_progress_counts_up_to_the_budget_and_names_the_perplexity():
    calls = []
    rows = random_rows(60)
    fit(network(), rows, rows, sep_id=SEP, config=FitConfig(tokens=2500, **QUICK), progress=lambda *a: calls.append(a))
    done = [call[0] for call in calls]
    assert done == sorted(set(done)) and done[-1] == 2500 and {call[1] for call in calls} == {2500}
    assert all("held-out perplexity" in call[2] for call in calls)


def test_a_curve_row_is_json_and_the_first_is_the_untrained_model():
    rows = random_rows(60)
    report = fit(network(), rows, rows, sep_id=SEP, config=FitConfig(tokens=2500, **QUICK))
    table = report.rows()
    assert [row["tokens"] // 1000 for row in table] == [0, 1, 2, 2] and table[-1]["tokens"] == report.tokens
    assert table[0]["loss"] is None
    json.loads(json.dumps(table, allow_nan=False))


def test_a_diverged_fit_says_so():
    rows = random_rows(60)
    model = network()
    with torch.no_grad():
        model.ln_f.weight[0] = float("inf")
    with pytest.raises(TaskError, match=r"the loss became nan at a learning rate of .*Lower learning_rate"):
        fit(model, rows, rows, sep_id=SEP, config=FitConfig(tokens=2500, **QUICK))


def test_every_row_is_seen_equally_often():
    rows = Prompts([([3 + i // 20, 3 + i % 20], [EOS] * (1 + i % 7)) for i in range(400)])
    config = FitConfig(batch_tokens=64)
    order: list[tuple[int, ...]] = []
    for batch in training_batches(rows, sep_id=SEP, config=config, context=24):
        order += [tuple(row) for row in batch.tokens[:, :2].tolist()]
        assert batch.tokens.numel() <= 64
        if len(order) >= 2000:
            break
    counts = [order.count(row) for row in set(order)]
    assert len(counts) == 400 and max(counts) - min(counts) <= 2


def test_batches_hold_little_padding_and_differ_in_order_between_seeds():
    rows = random_rows(300)
    layouts = {}
    for seed in (0, 1):
        stream = training_batches(rows, sep_id=SEP, config=FitConfig(batch_tokens=128, seed=seed), context=24)
        layouts[seed] = [next(stream) for _ in range(60)]
    padded = sum(layout.tokens.numel() for layout in layouts[0])
    real = sum(int(layout.lengths.sum()) for layout in layouts[0])
    assert real / padded > 0.95
    assert any(not torch.equal(a.lengths, b.lengths) for a, b in zip(layouts[0], layouts[1], strict=True))


def test_similar_lengths_cuts_at_the_padded_size():
    lengths = np.array([5, 2, 9, 2, 3], dtype=np.int64)
    assert [batch.tolist() for batch in similar_lengths(lengths, 9)] == [[1, 3, 4], [0], [2]]
    assert [batch.tolist() for batch in similar_lengths(lengths, 1)] == [[1], [3], [4], [0], [2]]
    assert list(similar_lengths(lengths[:0], 9)) == []


def test_the_learning_rate_warms_up_and_decays_along_a_cosine():
    config = FitConfig(tokens=1000, learning_rate=1.0, min_lr=0.2, warmup=0.2)
    assert [config.rate(t) for t in (0, 100, 200, 600, 1000, 1200)] == pytest.approx([0, 0.5, 1, 0.6, 0.2, 0.2])
    assert FitConfig(warmup=0.0, learning_rate=0.5).rate(0) == 0.5


def test_only_matrices_decay_and_each_weight_has_one_optimizer():
    model = network()
    muon, adamw = fit_module.new_optimizers(model, FitConfig(weight_decay=0.3))
    groups = [*muon.param_groups, *adamw.param_groups]
    decays = [(p, group["weight_decay"]) for group in groups for p in group["params"]]
    assert len(decays) == len({id(p) for p, _ in decays}) == len(list(model.parameters()))
    assert all(decay == (0.3 if p.ndim == 2 else 0.0) for p, decay in decays)


def test_muon_moves_the_matrices_inside_the_blocks_and_only_those():
    model = network()
    (group,) = fit_module.new_optimizers(model, FitConfig())[0].param_groups
    inner = {id(p) for name, p in model.named_parameters() if name.startswith("blocks.") and p.ndim == 2}
    assert {id(p) for p in group["params"]} == inner and id(model.wte.weight) not in inner


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tokens": 0}, "tokens=0 must be above 0"),
        ({"learning_rate": -1.0}, "learning_rate=-1.0 must be above 0"),
        ({"weight_decay": -0.1}, "weight_decay=-0.1 must be at least 0"),
        ({"warmup": 1.0}, "warmup=1.0 is a share"),
    ],
)
def test_impossible_settings_are_refused(given, message):
    with pytest.raises(TaskError, match=message):
        FitConfig(**given)


def test_no_rows_and_rows_beyond_the_context_are_refused():
    none, long = Prompts([]), Prompts([([3] * 20, [4] * 10)])
    with pytest.raises(TaskError, match="no training rows"):
        fit(network(), none, random_rows(3), sep_id=SEP)
    with pytest.raises(CheckpointError, match="row 0 has 31 tokens with its separator, the model's context is 24"):
        fit(network(), long, random_rows(3), sep_id=SEP)
    with pytest.raises(TaskError, match="none of 1 rows has a reference"):
        perplexity(network(), Prompts([([3], [])]), sep_id=SEP)


def test_the_settings_survive_json():
    config = FitConfig(tokens=7, learning_rate=0.5)
    assert FitConfig(**json.loads(json.dumps(config.to_dict()))) == config


def test_the_progress_bar_is_silent_where_stderr_is_no_terminal(capsys):
    with progress_bar("pretrain") as report:
        report(1, 2, "loss 3")
    assert capsys.readouterr() == ("", "")


def test_the_progress_bar_shows_count_speed_and_message_on_a_terminal(monkeypatch):
    terminal = io.StringIO()
    console = Console(file=terminal, force_terminal=True, width=120)
    monkeypatch.setattr(fit_module, "Console", lambda stderr: console)
    with progress_bar("pretrain") as report:
        report(1500, 3000, "held-out perplexity 41.2")
    assert "1,500/3,000 tokens" in terminal.getvalue() and "41.2" in terminal.getvalue()
    assert "tok/s" in terminal.getvalue()
