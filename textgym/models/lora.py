"""LoRA (Hu et al. 2022) through peft: small matrices beside frozen ones are all that is trained.

W x becomes W x + (alpha / r) B A x with A of r rows and B = 0 at the start, so that a network begins as it was. With
the adapters switched off it is its own reference, at no cost in memory.
"""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from textgym.errors import CheckpointError, MissingExtraError
from textgym.models.hf_files import quiet


def add_adapters(model: nn.Module, settings: Mapping[str, Any]) -> None:
    """Puts adapters into a model of transformers and freezes all else.

    Args:
        model: is changed.
        settings: of `peft.LoraConfig`: r, lora_alpha, target_modules ... Where they name no modules, peft's choice for
            the architecture.

    Raises:
        MissingExtraError: peft is not installed.
        CheckpointError: settings that peft does not take, or that adapt the head, which is used without its module.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise MissingExtraError("peft", "lora", f"lora={dict(settings)}") from None
    try:
        with quiet():
            inject_adapter_in_model(LoraConfig(**settings), model)
    except (TypeError, ValueError, KeyError) as error:
        raise CheckpointError(f"lora={dict(settings)}: {str(error).strip().splitlines()[0]}") from error
    if hasattr(model.get_output_embeddings(), "base_layer"):  # type: ignore[operator]
        raise CheckpointError(f"lora={dict(settings)} adapts the head, which is not possible here: leave it out")


def adapters(model: nn.Module) -> list[Any]:
    """The layers that hold adapters."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    return [module for module in model.modules() if isinstance(module, BaseTunerLayer)]


@contextmanager
def without_adapters(model: nn.Module) -> Iterator[None]:
    """The model as it was before them."""
    layers = adapters(model)
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)


def change_nothing(model: nn.Module) -> bool:
    """Whether every adapter is still at its start, B = 0."""
    weights = (weight for name, weight in model.named_parameters() if ".lora_B." in name)
    return all(not bool(torch.any(weight)) for weight in weights)


def merged(model: nn.Module) -> Any:
    """A copy without adapters, in whose matrices they are."""
    whole: Any = copy.deepcopy(model)
    for name, layer in list(whole.named_modules()):
        if hasattr(layer, "merge") and hasattr(layer, "get_base_layer"):
            layer.merge(safe_merge=True)
            whole.set_submodule(name, layer.get_base_layer())
    return whole.requires_grad_(True)
