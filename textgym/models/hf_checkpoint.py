"""Networks of Hugging Face as folders: read as `save_pretrained` left them, and saved so that transformers reads them.

What is saved is a folder of theirs: config.json, model.safetensors, tokenizer.json and tokenizer_config.json; a file
`textgym.json` beside them holds what only we ask for.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

from textgym.errors import CheckpointError, TokenizerError
from textgym.models.folder import CONFIG_FILE, FACTS_FILE, TOKENIZER_FILE, VERSION, facts_of
from textgym.models.hf_files import Saved, is_bidirectional, quiet
from textgym.models.hf_logits import longest_input
from textgym.models.hf_network import HuggingFaceConfig, HuggingFaceNetwork, require_decodable
from textgym.models.hf_tokens import ModelTokens
from textgym.text.hugging_face import HuggingFaceTokenizer, open_hugging_face
from textgym.types import Tokenizer

UNLIMITED = 2**15
"""The context of a model that reads any number of tokens."""

WINDOWS = ("sliding_window", "window_size")
"""How configurations call the number of tokens that a layer looks back at."""


def load_network(saved: Saved) -> tuple[HuggingFaceNetwork, HuggingFaceTokenizer]:
    """The causal network of a folder and its tokenizer.

    Its context is what model and tokenizer say they read, and no more than a window that its layers look back at, since
    a cache here forgets nothing.

    Raises:
        CheckpointError: it is no causal model, or one that cannot be decoded here; it or its tokenizer cannot be read.
    """
    from transformers import AutoModelForCausalLM

    if is_bidirectional(saved.config):
        raise CheckpointError(
            f"{saved.name} is a {saved.config.model_type} model, which reads both sides of a token: it can score texts "
            "(pseudo_fluency), but not write them. Give a causal model, such as GPT-2"
        )
    tokenizer = _tokenizer(saved)
    network = saved.network(AutoModelForCausalLM, "predict the next token").requires_grad_(True)
    tokens = ModelTokens(saved)
    window = min((w for w in (getattr(network.config, name, None) for name in WINDOWS) if w), default=UNLIMITED)
    size = len(network.get_output_embeddings().weight)
    bos_id = tokens.known.get("bos", size)
    config = HuggingFaceConfig(
        vocab_size=tokenizer.vocab_size,
        context=min(longest_input(network, tokens.longest) or UNLIMITED, window),
        definition=json.loads(network.config.to_json_string(use_diff=False)),
        bos_id=bos_id if bos_id < size else tokenizer.eos_id,
        eos_id=tokenizer.eos_id,
        sep_id=tokenizer.sep_id,
        banned=sorted({tokenizer.unk_id, tokenizer.sep_id, *tokenizer.special_ids} - {tokenizer.eos_id}),
    )
    try:
        made = HuggingFaceNetwork(config, network)
    except CheckpointError as error:
        raise CheckpointError(f"{saved.name}: {error}") from error
    require_decodable(made, saved.name)
    return made, tokenizer


def save_network(
    folder: Path, network: HuggingFaceNetwork, tokenizer: Tokenizer, metadata: dict[str, Any], *, half: bool = False
) -> None:
    """Saves a network and its tokenizer so that `AutoModelForCausalLM` and `AutoTokenizer` load them.

    The tokenizer puts the token that begins a text before each one, as the network was trained to read it.

    Raises:
        CheckpointError: the tokenizer is not one of Hugging Face.
        OSError: the folder cannot be written.
    """
    if not isinstance(tokenizer, HuggingFaceTokenizer):
        raise CheckpointError(
            f"a network of Hugging Face is saved with a tokenizer of theirs, not with a {type(tokenizer).__name__}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".saving-") as name:
        temporary, theirs = Path(name), network.merged()
        state = {key: value.half() for key, value in theirs.state_dict().items()} if half else None
        with quiet():
            theirs.save_pretrained(temporary, state_dict=state)
        facts = {
            "version": VERSION,
            "tokenizer": tokenizer.signature,
            "sep_id": tokenizer.sep_id,
            "eos_id": tokenizer.eos_id,
            "metadata": metadata,
        }
        for file, content in {**_tokenizer_files(tokenizer, network.config.bos_id), FACTS_FILE: facts}.items():
            (temporary / file).write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        made = sorted(path.name for path in temporary.iterdir())
        for old in folder.glob("*.safetensors"):
            if old.name not in made:
                old.unlink()
        for file in sorted(made, key=lambda file: file == CONFIG_FILE):  # last: a folder that has it is complete
            (temporary / file).replace(folder / file)


def _tokenizer(saved: Saved) -> HuggingFaceTokenizer:
    try:
        tokenizer = open_hugging_face(saved.folder)
    except TokenizerError as error:
        raise CheckpointError(f"{saved.name}: {error}") from error
    wanted = facts_of(saved.folder).get("tokenizer", tokenizer.signature)
    if tokenizer.signature != wanted:
        raise CheckpointError(
            f"{saved.folder / TOKENIZER_FILE} is not the tokenizer of this model: it is {tokenizer.signature}, "
            f"{FACTS_FILE} names {wanted}"
        )
    return tokenizer


def _tokenizer_files(tokenizer: HuggingFaceTokenizer, bos_id: int) -> dict[str, dict[str, Any]]:
    """What `AutoTokenizer` reads. Reserved ids behind the vocabulary have no name; they are found again without."""
    from tokenizers import Tokenizer as Library

    definition = json.loads(tokenizer.definition)
    library = Library.from_str(tokenizer.definition)
    roles = {"unk": tokenizer.unk_id, "sep": tokenizer.sep_id, "eos": tokenizer.eos_id, "bos": bos_id}
    names = {f"{role}_token": library.id_to_token(index) for role, index in roles.items()}
    bos = names["bos_token"]
    parts = [{"SpecialToken": {"id": bos, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    definition["post_processor"] = {
        "type": "TemplateProcessing",
        "single": parts,
        "pair": [*parts, {"Sequence": {"id": "B", "type_id": 0}}],
        "special_tokens": {bos: {"id": bos, "ids": [bos_id], "tokens": [bos]}},
    }
    settings = {name: token for name, token in names.items() if token is not None}
    return {
        TOKENIZER_FILE: definition,
        "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast", **settings},
    }
