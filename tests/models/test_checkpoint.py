import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from textgym.errors import CheckpointError, UnknownNameError
from textgym.models.checkpoint import (
    SIZES,
    load_checkpoint,
    load_language_model,
    new_model,
    peek,
    require_fit,
    save_checkpoint,
)
from textgym.models.network_lm import LOWEST_LOGPROB, NetworkLM
from textgym.testing.models import check_language_model
from textgym.text.tokenizers import train_tokenizer
from textgym.types import LanguageModel

TEXT = "the cat sat on the mat and the dog sat on the log; the end."
TOKENIZER = train_tokenizer("char", [TEXT], 64)
V = TOKENIZER.vocab_size
BANNED = (TOKENIZER.unk_id, TOKENIZER.sep_id)


def network(seed: int = 0, context: int = 40):
    return new_model("tiny", vocab_size=V, context=context, banned=BANNED, seed=seed)


def ids(*texts: str) -> list[np.ndarray]:
    return [TOKENIZER.encode(text) for text in texts]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "model", network(), TOKENIZER, {"perplexity": 12.5, "corpus": "故事"})
    return tmp_path / "model"


def edit(path: Path, **changes) -> None:
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, **changes}))


def test_a_model_comes_back_as_it_was(folder):
    checkpoint, model = load_checkpoint(folder), network()
    assert checkpoint.model.config == model.config
    for name, tensor in model.state_dict().items():
        assert torch.equal(checkpoint.model.state_dict()[name], tensor)
    tokens = torch.tensor([[3, 4, 5]])
    assert torch.equal(checkpoint.model.logits(checkpoint.model(tokens)), model.logits(model(tokens)))
    assert checkpoint.tokenizer.signature == TOKENIZER.signature
    assert checkpoint.metadata == {"perplexity": 12.5, "corpus": "故事"}
    assert (checkpoint.sep_id, checkpoint.eos_id) == (1, 2)


def test_new_models_have_the_exact_gelu_and_a_folder_that_does_not_say_has_the_approximation(folder):
    assert load_checkpoint(folder).model.config.activation == "gelu"
    shape = json.loads((folder / "config.json").read_text())["config"]
    edit(folder / "config.json", config={name: value for name, value in shape.items() if name != "activation"})
    earlier = load_checkpoint(folder).model
    assert earlier.config.activation == "gelu_tanh"
    tokens = torch.tensor([[3, 4, 5]])
    assert 0 < (earlier(tokens) - network()(tokens)).abs().max() < 0.01


def test_equal_models_give_equal_bytes(folder, tmp_path):
    save_checkpoint(tmp_path / "again", network(), TOKENIZER, {"perplexity": 12.5, "corpus": "故事"})
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        assert (folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_saving_again_replaces_and_leaves_nothing_else_behind(folder):
    save_checkpoint(folder, network(seed=1), TOKENIZER)
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors", "tokenizer.json"]
    checkpoint = load_checkpoint(folder)
    assert checkpoint.metadata == {} and torch.equal(checkpoint.model.wte.weight, network(seed=1).wte.weight)


def test_a_save_that_fails_leaves_the_old_model_whole(folder, monkeypatch):
    def full(self, mode="r", **_):
        if mode == "wb" and self.name == "config.json":
            raise OSError("no space left on device")
        return open(self, mode)  # noqa: PTH123

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(CheckpointError, match=r"cannot be saved in .*no space left"):
        save_checkpoint(folder, network(seed=1), TOKENIZER)
    monkeypatch.undo()
    assert torch.equal(load_checkpoint(folder).model.wte.weight, network().wte.weight)
    assert len(list(folder.iterdir())) == 3


def test_peek_reads_the_configuration_without_torch(folder):
    code = (
        "import sys; from textgym.models.folder import peek; config = peek(sys.argv[1]); "
        "print(config['config']['n_embd'], config['metadata']['perplexity'], 'torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["64", "12.5", "False"]
    assert peek(folder)["tokenizer"] == TOKENIZER.signature


def test_a_missing_folder_offers_its_nearest_sibling(folder, tmp_path):
    with pytest.raises(CheckpointError, match=r"no model folder .*modle\. Did you mean 'model'\?"):
        load_checkpoint(tmp_path / "modle")
    with pytest.raises(CheckpointError, match="no model folder"):
        load_checkpoint(tmp_path / "nowhere" / "model")
    with pytest.raises(
        CheckpointError, match=rf"holds no model: config.json is missing. Did you mean .*{folder.name}\?"
    ):
        load_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match="is a file; a model is a folder"):
        load_checkpoint(folder / "config.json")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
@pytest.mark.parametrize("size", [None, 0, 40, -30])
def test_a_missing_or_truncated_file_is_named(folder, name, size):
    path = folder / name
    content = path.read_bytes()
    path.unlink()
    if size is not None:
        path.write_bytes(content[:size])
    with pytest.raises(CheckpointError, match=name):
        load_checkpoint(folder)


def test_flipped_bits_in_the_weights_are_noticed(folder):
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"is not what config.json speaks of"):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 2}, "has version 2 of the folder's layout, this TextGym reads version 1"),
        ({"textgym": "diffusion"}, "it says \"textgym\": 'diffusion'"),
        ({"sep_id": "1"}, "'sep_id' is '1', it should be of type int"),
        ({"config": {"n_layer": 2}}, "'config' has the keys"),
        ({"tokenizer": "char:9:00000000"}, "is not the tokenizer of this model: .*names char:9:00000000"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(folder, changes, message):
    edit(folder / "config.json", **changes)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_embd": 32}, r"tensor .* is torch.float32 \(.*64.*\), config.json asks for torch.float32 \(.*32.*\)"),
        ({"n_layer": 3}, "does not hold this model: lacking .'blocks.2"),
        ({"n_layer": 1}, r"unknown \['blocks.1"),
        ({"n_head": 0}, "'config' is damaged .*n_head=0 must be a positive integer"),
        ({"n_head": "two"}, "'config' is damaged"),
        ({"banned": 3}, "'config' is damaged"),
    ],
)
def test_tensors_that_do_not_fit_the_configuration_are_refused(folder, change, message):
    config = peek(folder)
    edit(folder / "config.json", config={**config["config"], **change})
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(folder, value):
    tensors = load_file(folder / "model.safetensors")
    tensors["ln_f.weight"][3] = value
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"'ln_f.weight' holds NaN or infinity"):
        load_checkpoint(folder)


def test_a_pickle_is_never_read(folder):
    torch.save(network().state_dict(), folder / "model.safetensors")
    with pytest.raises(CheckpointError, match="cut off or damaged"):
        load_checkpoint(folder)


def test_a_tokenizer_of_another_size_is_not_saved(tmp_path):
    model = new_model("tiny", vocab_size=V + 1, context=8)
    with pytest.raises(CheckpointError, match=rf"tokenizer has {V} tokens, the model {V + 1}"):
        save_checkpoint(tmp_path / "model", model, TOKENIZER)
    assert not (tmp_path / "model").exists()


def test_a_model_of_another_vocabulary_is_refused_with_both_sizes_and_the_way_out(folder):
    checkpoint, other = load_checkpoint(folder), train_tokenizer("word", [TEXT], 64)
    own, task = TOKENIZER.signature.split(":"), other.signature.split(":")
    with pytest.raises(CheckpointError) as error:
        require_fit(checkpoint, other, 20, "runs/a/model")
    assert str(error.value) == (
        f"runs/a/model was made with a vocabulary of {own[1]} tokens (sha {own[2][:4]}...), "
        f"this task has {task[1]} (sha {task[2][:4]}...).\n"
        "    Use its own tokenizer: --tokenizer runs/a/model/tokenizer.json"
    )


def test_a_context_shorter_than_the_observation_is_refused_with_both_numbers(folder):
    checkpoint = load_checkpoint(folder)
    require_fit(checkpoint, TOKENIZER, 40, "m")
    with pytest.raises(CheckpointError, match="m has a context of 40 tokens, this task's observations have 41"):
        require_fit(checkpoint, TOKENIZER, 41, "m")


@pytest.mark.parametrize("size", SIZES)
def test_sizes_are_architectures_that_can_be_built(size):
    if size in ("base", "large"):
        assert SIZES[size]["n_embd"] % SIZES[size]["n_head"] == 0
        return
    model = new_model(size, vocab_size=50, context=8)
    of_layer = 8 if size.startswith("lstm") else 12
    body = sum(matrix.numel() for matrix in model.matrices())
    assert body == of_layer * SIZES[size]["n_layer"] * SIZES[size]["n_embd"] ** 2


def test_an_unknown_size_offers_the_nearest():
    with pytest.raises(UnknownNameError, match=r"unknown model size 'smal'\. Did you mean 'small'\?"):
        new_model("smal", vocab_size=9, context=8)


def test_the_seed_alone_decides_the_weights_and_the_global_random_state_is_left_alone(folder):
    torch.manual_seed(7)
    state = torch.get_rng_state()
    first = network(seed=3).wte.weight
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(5)
    assert torch.equal(network(seed=3).wte.weight, first) and not torch.equal(network(seed=4).wte.weight, first)
    state = torch.get_rng_state()
    load_checkpoint(folder)
    assert torch.equal(torch.get_rng_state(), state)


def sharp() -> NetworkLM:
    model = network()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return NetworkLM(model, sep_id=TOKENIZER.sep_id, batch_tokens=64)


def test_the_language_model_keeps_the_contract():
    check_language_model(sharp(), tolerance=NetworkLM.tolerance)


def test_the_language_model_equals_a_loop_over_rows():
    lm, prompts = sharp(), ids("the cat", "", "the dog sat on", "a")
    completions = [*ids(" sat on", "the"), np.zeros(0, np.int32), np.array([5, 2], np.int32)]
    result = lm.logprobs(prompts, completions)
    assert result.shape == (4, 7) and result.dtype == np.float64
    for row, prompt, completion in zip(result, prompts, completions, strict=True):
        text = torch.tensor([[*prompt.tolist(), TOKENIZER.sep_id, *completion.tolist()]])
        logp = lm.model.logits(lm.model(text))[0].log_softmax(-1)
        expected = [logp[len(prompt) + t, token].item() for t, token in enumerate(completion)]
        np.testing.assert_allclose(row[: len(completion)], expected, atol=lm.tolerance)
        assert (row[len(completion) :] == 0).all()


def test_next_logprobs_agree_with_logprobs_and_sum_to_one():
    lm, prompts, completions = sharp(), ids("the cat", "", "the"), ids(" sat", "the", "")
    following = lm.next_logprobs(prompts, completions)
    assert following.shape == (3, V) and following.dtype == np.float64
    np.testing.assert_allclose(np.exp(following).sum(-1), 1, atol=1e-9)
    for token in range(3, V):
        longer = [np.append(row, token).astype(np.int32) for row in completions]
        last = [row[len(c)] for row, c in zip(lm.logprobs(prompts, longer), completions, strict=True)]
        np.testing.assert_allclose(following[:, token], last, atol=lm.tolerance)


def test_a_row_does_not_depend_on_the_batch_beyond_the_stated_tolerance():
    lm = sharp()
    prompts, completions = ids("the cat", "", "the dog sat on", "a"), ids(" sat on", "the", "x", " log; the end.")
    together = lm.logprobs(prompts, completions)
    for i in range(4):
        alone = lm.logprobs(prompts[i : i + 1], completions[i : i + 1])[0]
        np.testing.assert_allclose(together[i, : len(alone)], alone, atol=lm.tolerance)


def test_tokens_that_never_come_out_have_the_lowest_logprob_and_not_minus_a_billion():
    lm = sharp()
    result = lm.logprobs(ids("the"), [np.array([3, TOKENIZER.unk_id, 4], np.int32)])[0]
    assert result[1] == LOWEST_LOGPROB and (result[[0, 2]] > LOWEST_LOGPROB).all()
    assert (lm.next_logprobs(ids("the"), ids(""))[0, list(BANNED)] == LOWEST_LOGPROB).all()


def test_no_rows_and_empty_completions_are_fine():
    lm = sharp()
    assert lm.logprobs([], []).shape == (0, 0) and lm.next_logprobs([], []).shape == (0, V)
    assert lm.logprobs(ids("the"), ids("")).shape == (1, 0)


def test_a_text_beyond_the_context_is_refused():
    with pytest.raises(CheckpointError, match="does not fit a context of 40"):
        sharp().next_logprobs(ids(TEXT), ids(""))


def test_a_loaded_language_model_has_the_signature_of_its_weights(folder, tmp_path):
    lm = load_language_model(folder)
    assert isinstance(lm, LanguageModel) and lm.vocab_size == V
    assert lm.signature == NetworkLM(network(), sep_id=TOKENIZER.sep_id).signature
    assert lm.signature != NetworkLM(network(seed=1), sep_id=TOKENIZER.sep_id).signature
    assert lm.signature.startswith(f"transformer:{V}:")
