"""The language models: n-grams and LSA in numpy, networks in torch; each name is loaded when it is first used.

The registry resolves models by name, so that no caller needs to know which library one is written in.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from textgym.models.causal_network import CausalNetwork as CausalNetwork
    from textgym.models.checkpoint import load_checkpoint as load_checkpoint
    from textgym.models.checkpoint import new_model as new_model
    from textgym.models.checkpoint import save_checkpoint as save_checkpoint
    from textgym.models.lsa import LsaEmbedding as LsaEmbedding
    from textgym.models.lstm import LSTM as LSTM
    from textgym.models.lstm import LSTMConfig as LSTMConfig
    from textgym.models.network_lm import NetworkLM as NetworkLM
    from textgym.models.ngram import KneserNey as KneserNey
    from textgym.models.ngram import NGramStream as NGramStream
    from textgym.models.registry import embedding_from_arrays as embedding_from_arrays
    from textgym.models.registry import embedding_names as embedding_names
    from textgym.models.registry import fit_embedding as fit_embedding
    from textgym.models.registry import fit_language_model as fit_language_model
    from textgym.models.registry import is_checkpoint as is_checkpoint
    from textgym.models.registry import language_model_from_arrays as language_model_from_arrays
    from textgym.models.registry import language_model_names as language_model_names
    from textgym.models.registry import load_checkpoint_language_model as load_checkpoint_language_model
    from textgym.models.registry import register_embedding as register_embedding
    from textgym.models.registry import register_language_model as register_language_model
    from textgym.models.sampling import Sampling as Sampling
    from textgym.models.sampling import generate as generate
    from textgym.models.transformer import Transformer as Transformer
    from textgym.models.transformer import TransformerConfig as TransformerConfig

_HOMES = {
    "CausalNetwork": "causal_network",
    "KneserNey": "ngram",
    "LSTM": "lstm",
    "LSTMConfig": "lstm",
    "LsaEmbedding": "lsa",
    "NGramStream": "ngram",
    "NetworkLM": "network_lm",
    "Sampling": "sampling",
    "Transformer": "transformer",
    "TransformerConfig": "transformer",
    "embedding_from_arrays": "registry",
    "embedding_names": "registry",
    "fit_embedding": "registry",
    "fit_language_model": "registry",
    "generate": "sampling",
    "is_checkpoint": "registry",
    "language_model_from_arrays": "registry",
    "language_model_names": "registry",
    "load_checkpoint": "checkpoint",
    "load_checkpoint_language_model": "registry",
    "new_model": "checkpoint",
    "register_embedding": "registry",
    "register_language_model": "registry",
    "save_checkpoint": "checkpoint",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    """The public name from the file that defines it (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """The public names, loaded or not."""
    return sorted([*globals(), *_HOMES])
