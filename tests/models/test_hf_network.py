"""Causal models of Hugging Face as networks: equal to transformers' own forward, whatever the rows do."""

import json
import shutil
import subprocess
import sys

import hf_samples
import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BloomConfig,
    CohereConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    PhiConfig,
    Qwen2Config,
)

from textgym.envs.tasks import make_task
from textgym.errors import CheckpointError, MissingExtraError
from textgym.models.checkpoint import load_checkpoint, load_language_model, peek, require_fit, save_checkpoint
from textgym.models.fit import FitConfig, fit, perplexity
from textgym.models.hf_network import HuggingFaceConfig, HuggingFaceNetwork, require_decodable
from textgym.models.kinds import config_of, network_of
from textgym.models.likelihood import action_likelihood
from textgym.models.registry import load_checkpoint_language_model
from textgym.models.sampling import generate
from textgym.testing.models import check_language_model
from textgym.testing.networks import check_network
from textgym.text.hugging_face import open_hugging_face
from textgym.text.tokenizers import train_tokenizer

V, N = 42, 40
"""Of the tokenizer and of the model: ids 40 and 41 are <unk> and the separator, which the model lacks."""
WIDTH = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "vocab_size": N,
    "max_position_embeddings": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
CONFIGS = {
    "gpt2": GPT2Config(vocab_size=N, n_positions=64, n_embd=32, n_layer=2, n_head=2, bos_token_id=1, eos_token_id=2),
    "llama": LlamaConfig(**WIDTH, num_key_value_heads=2),
    "qwen2": Qwen2Config(**WIDTH, num_key_value_heads=2),
    "gpt_neox": GPTNeoXConfig(**WIDTH),
    "phi": PhiConfig(**WIDTH),  # its head has a bias
}


def network(kind="gpt2", *, size=V, context=64) -> HuggingFaceNetwork:
    definition = json.loads(CONFIGS[kind].to_json_string(use_diff=False))
    torch.manual_seed(0)
    banned = [i for i in (N, N + 1) if i < size]
    made = HuggingFaceNetwork(HuggingFaceConfig(size, context, definition, 1, 2, size - 1, banned))
    for name, weight in made.named_parameters():
        if weight.ndim > 1 or name.endswith("lm_head.bias"):
            torch.nn.init.normal_(weight, std=0.3)
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return hf_samples.gpt2(tmp_path_factory.mktemp("hf") / "gpt2")


@pytest.fixture(scope="module")
def loaded(folder):
    return load_checkpoint(f"hf:{folder}")


@pytest.mark.parametrize("kind", CONFIGS)
def test_it_keeps_the_contract_of_a_network(kind):
    made = network(kind)
    check_network(made, sep_id=V - 1, tolerance=1e-3)
    require_decodable(made, kind)


@pytest.mark.parametrize("kind", CONFIGS)
def test_log_probabilities_are_those_of_transformers_behind_the_token_that_begins_a_text(kind):
    made, theirs = network(kind), network(kind).network
    prompt, completion = [5, 9, 12], [7, 8, 20, 2]
    states = made(torch.tensor([[*prompt, V - 1, *completion[:-1]]]))[0, len(prompt) :]
    found = made.logits(states).log_softmax(-1)
    expected = theirs(torch.tensor([[1, *prompt, *completion[:-1]]])).logits[0, len(prompt) :].log_softmax(-1)
    torch.testing.assert_close(found[:, :N], expected, rtol=1e-4, atol=1e-4)
    assert (found[:, N:].exp() == 0).all()


def test_the_separator_is_read_as_the_beginning_and_moves_the_prompt_one_place():
    made = network()
    rows = torch.tensor([[5, 6, V - 1, 7, 8], [V - 1, 5, 6, 7, 0], [5, 6, 7, 8, 9], [5, N, V - 1, N, 7]])
    expected = [[1, 5, 6, 7, 8], [1, 5, 6, 7, 0], [1, 5, 6, 7, 8], [1, 5, 2, 2, 7]]
    assert made._read(rows).tolist() == expected


def test_a_table_that_is_longer_than_the_vocabulary_is_cut():
    made = network(size=30)
    states = made(torch.tensor([[5, 29, 7]]))
    assert made.logits(states).shape == (1, 3, 30) and made.head.shape == (30, 32)
    torch.testing.assert_close(made.logits(states), states @ made.network.lm_head.weight[:30].T)


@pytest.mark.parametrize("kind", ["gpt2", "phi"])
def test_the_chunked_likelihood_has_the_value_and_the_gradient_of_the_plain_one(kind, monkeypatch):
    actions = torch.randint(0, N, (150,), generator=torch.Generator().manual_seed(0))
    results = []
    for whole in (2**22, 0):
        monkeypatch.setattr("textgym.models.likelihood.WHOLE", whole)
        made = network(kind)
        hidden = torch.randn(150, 32, generator=torch.Generator().manual_seed(1), requires_grad=True)
        logp, entropy = action_likelihood(made, hidden, actions)
        (logp.sum() + (entropy * logp.detach()).sum()).backward()
        head = made.network.get_output_embeddings()
        results.append([logp, entropy, hidden.grad, *(weight.grad for weight in head.parameters())])
    for plain, chunked in zip(*results, strict=True):
        torch.testing.assert_close(plain, chunked, rtol=1e-4, atol=1e-4)


def test_dropout_is_off_in_training_mode():
    definition = json.loads(GPT2Config(**{**CONFIGS["gpt2"].to_dict(), "resid_pdrop": 0.5}).to_json_string())
    made = HuggingFaceNetwork(HuggingFaceConfig(V, 64, definition, 1, 2, V - 1, (N, N + 1))).train()
    tokens = torch.tensor([[5, V - 1, 6, 7]])
    assert made.training and torch.equal(made(tokens), made(tokens))


def test_a_cache_grows_with_its_texts_and_not_with_what_the_model_could_read():
    made = network()
    cache = made.new_cache(2, 64)
    made.prefill(torch.tensor([[5, V - 1], [6, V - 1]]), torch.tensor([2, 2]), cache, torch.arange(2))
    cache.slots, before = 200, cache._layers[0][0].shape[2]
    cache.tokens = torch.full((2, 200), -1)
    assert before == 64
    cache._filling, cache._seen = None, 65
    assert cache._widened(cache._layers[0][0]).shape[2] == 128


def test_the_shape_makes_the_network_again_and_survives_json():
    made = network("llama")
    shape = json.loads(json.dumps(made.config.to_dict()))
    assert shape["kind"] == "hf" and config_of(shape) == made.config
    again = network_of(config_of(shape))
    again.load_state_dict(made.state_dict())
    tokens = torch.tensor([[5, V - 1, 6, 7]])
    assert torch.equal(again(tokens), made(tokens))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (CohereConfig(**WIDTH), "scaled or capped"),
        (BloomConfig(vocab_size=N, hidden_size=32, n_layer=2, n_head=4), "cannot be decoded with rows at positions"),
        (MistralConfig(**WIDTH, num_key_value_heads=2, sliding_window=4), "other states with a cache than without"),
    ],
)
def test_an_architecture_that_would_be_wrong_here_is_refused(config, message):
    torch.manual_seed(0)
    definition = json.loads(config.to_json_string(use_diff=False))
    made = HuggingFaceNetwork(HuggingFaceConfig(V, 64, definition, 1, 2, V - 1, (N, N + 1)))
    for weight in made.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    with pytest.raises(CheckpointError, match=message):
        require_decodable(made, "x")


# --- folders --------------------------------------------------------------------------------------------------------


def test_a_folder_of_transformers_opens_by_its_name_alone_too(folder, loaded):
    assert load_checkpoint(folder).model.config == loaded.model.config
    own = loaded.tokenizer
    assert own.signature == open_hugging_face(folder).signature
    assert loaded.model.config.vocab_size == own.vocab_size == 322 and loaded.model.known == 320
    assert loaded.model.config.context == 64 and (loaded.sep_id, loaded.eos_id) == (own.sep_id, 0)
    assert peek(folder)["config"]["model_type"] == "gpt2" and len(peek(folder)["weights"]) == 64


@pytest.mark.parametrize("half", [False, True])
def test_what_is_saved_is_loaded_by_transformers_and_by_us(loaded, tmp_path, half):
    save_checkpoint(tmp_path / "m", loaded.model, loaded.tokenizer, {"tokens": 7}, half=half)
    again = load_checkpoint(tmp_path / "m")
    assert again.metadata == {"tokens": 7} == peek(tmp_path / "m")["metadata"]
    assert again.tokenizer.signature == loaded.tokenizer.signature == peek(tmp_path / "m")["tokenizer"]
    assert again.model.config.bos_id == loaded.model.config.bos_id
    theirs, tokenizer = (auto.from_pretrained(tmp_path / "m") for auto in (AutoModelForCausalLM, AutoTokenizer))
    assert (tokenizer.eos_token_id, tokenizer.bos_token_id) == (0, 0)
    ids = tokenizer("The cat sat", return_tensors="pt").input_ids
    assert ids[0].tolist() == [0, *loaded.tokenizer.encode("The cat sat")]
    row = torch.tensor([[*ids[0, 1:].tolist(), loaded.sep_id]])
    found = loaded.model.logits(loaded.model(row)[:, -1])[:, :320]
    torch.testing.assert_close(theirs.float()(ids).logits[:, -1], found, rtol=1e-2 if half else 1e-4, atol=1e-2)
    require_fit(again, loaded.tokenizer, 64, "m")


def test_saving_again_replaces_what_stood_there(loaded, tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "model-00001-of-00002.safetensors").write_bytes(b"old")
    save_checkpoint(tmp_path / "m", loaded.model, loaded.tokenizer)
    files = {path.name for path in (tmp_path / "m").iterdir()}
    assert files == {
        *("config.json", "generation_config.json", "model.safetensors", "textgym.json"),
        *("tokenizer.json", "tokenizer_config.json"),
    }


def test_a_foreign_tokenizer_is_neither_saved_with_it_nor_loaded(loaded, tmp_path):
    other = train_tokenizer("char", ["".join(map(chr, range(40, 359)))], 400)
    with pytest.raises(CheckpointError, match="322"):
        require_fit(loaded, other, 64, "m")
    with pytest.raises(CheckpointError, match="tokenizer of theirs"):
        save_checkpoint(tmp_path / "m", loaded.model, train_tokenizer("char", ["".join(map(chr, range(40, 359)))], 322))
    save_checkpoint(tmp_path / "m", loaded.model, loaded.tokenizer)
    strange = hf_samples.gpt2(tmp_path / "strange", ["quite other words, these are"])
    shutil.copy(strange / "tokenizer.json", tmp_path / "m" / "tokenizer.json")
    with pytest.raises(CheckpointError, match="is not the tokenizer of this model"):
        load_checkpoint(tmp_path / "m")


def test_what_cannot_write_is_refused(folder, tmp_path, monkeypatch):
    with pytest.raises(CheckpointError, match="reads both sides of a token"):
        load_checkpoint(hf_samples.bert(tmp_path / "bert"))
    with pytest.raises(CheckpointError, match="no model folder"):
        load_checkpoint("hf:/no/such/folder")
    damaged = shutil.copytree(folder, tmp_path / "damaged")
    (damaged / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="cannot load the model"):
        load_checkpoint(damaged)
    without = shutil.copytree(folder, tmp_path / "without")
    (without / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError):
        load_checkpoint(without)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match=r"textgym\[hf\]"):
        load_checkpoint(f"hf:{folder}")


def test_peek_loads_neither_torch_nor_transformers(folder):
    code = (
        "import sys; from textgym.models.folder import peek, tokenizer_of\n"
        "peek(sys.argv[1]); tokenizer_of(sys.argv[1])\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True)


# --- its uses -------------------------------------------------------------------------------------------------------


def test_generated_log_probabilities_are_those_of_the_scorer_of_the_same_name(folder, loaded):
    prompts = [loaded.tokenizer.encode(text) for text in ("The cat", "", "A dog ran and")]
    made = generate(loaded.model, prompts, sep_id=loaded.sep_id, eos_id=loaded.eos_id, max_new_tokens=12, seed=1)
    lm = load_language_model(folder)
    check_language_model(lm, prompts, tolerance=1e-4)
    scored = lm.logprobs(prompts, made.ids)
    from textgym.models.text_models import load_text_model
    from textgym.types import TextLanguageModel

    over = load_text_model(TextLanguageModel, f"hf:{folder}").over(loaded.tokenizer)
    assert over is not None
    for row, (ids, logprobs) in enumerate(zip(made.ids, made.logprobs, strict=True)):
        np.testing.assert_allclose(logprobs, scored[row, : len(ids)], atol=1e-4)
        np.testing.assert_allclose(logprobs, over.logprobs(prompts, made.ids)[row, : len(ids)], atol=1e-4)


def test_a_text_that_grows_token_by_token_has_the_log_probabilities_of_the_whole(folder, loaded):
    lm = load_language_model(folder)
    prompts = [loaded.tokenizer.encode(text) for text in ("The cat", "", "A dog ran and")]
    rows = [loaded.tokenizer.encode(text) for text in (" sat on", " slept. It", " ran")]
    stream = lm.stream(prompts)
    found = np.array(
        [stream.advance(np.array([row[t] if t < len(row) else -1 for row in rows], np.int64)) for t in range(3)]
    ).T
    expected = lm.logprobs(prompts, [row[:3] for row in rows])
    np.testing.assert_allclose(found[:, : expected.shape[1]], expected, atol=1e-4)
    stream.restart(np.array([1]), prompts[:1])
    again = stream.advance(np.array([-1, rows[0][0], -1], np.int64))
    np.testing.assert_allclose(again, [0, expected[0, 0], 0], atol=1e-4)


def test_a_folder_is_a_language_model_of_a_task_with_its_tokenizer(folder, tmp_path):
    rows = [json.dumps({"prompt": f"The cat {i}", "reference": " sat."}) for i in range(40)]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows))
    task = make_task(prompts=str(tmp_path / "rows.jsonl"), tokenizer=str(folder), max_new_tokens=8)
    assert task.context.language_model(str(folder)).vocab_size == task.tokenizer.vocab_size
    assert load_checkpoint_language_model(folder).signature.startswith("hf:322:")


class Rows:
    def __init__(self, tokenizer):
        self.tokenizer = tokenizer

    def __len__(self):
        return 16

    def prompt(self, index):
        return self.tokenizer.encode(["The cat", "A dog"][index % 2])

    def reference(self, index):
        return np.array([*self.tokenizer.encode(" sat on the mat."), self.tokenizer.eos_id], np.int32)


def test_maximum_likelihood_learns_completions_and_is_told_nothing_of_prompts(folder):
    checkpoint = load_checkpoint(folder)
    rows = Rows(checkpoint.tokenizer)
    fit(
        checkpoint.model,
        rows,
        rows,
        sep_id=checkpoint.sep_id,
        config=FitConfig(tokens=4_000, batch_tokens=128, evaluate_every=2_000, learning_rate=1e-2),
    )
    assert perplexity(checkpoint.model, rows, sep_id=checkpoint.sep_id) < 2.5
