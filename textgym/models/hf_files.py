"""Models of Hugging Face from a folder or a name on the hub: weights as safetensors only, no code of theirs is run.

A folder as `save_pretrained` writes it holds config.json, *.safetensors and the tokenizer's files. A name is looked up
among what was downloaded before, then on the hub.
"""

import hashlib
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from textgym.errors import CheckpointError, MissingExtraError

FILES = ("*.json", "*.safetensors", "*.txt", "*.model")
"""What is downloaded: weights in one format, configurations, vocabularies. No code."""

DEVICE = "TEXTGYM_DEVICE"
"""The environment variable that says where models run, e.g. ``cpu`` or ``cuda:1``."""


@dataclass(frozen=True)
class Saved:
    """A folder of a model.

    Attributes:
        name: as it was given, for messages.
        folder: where its files lie.
    """

    name: str
    folder: Path

    @cached_property
    def hash(self) -> str:
        """Of configuration, tokenizer and weights, 16 hexadecimal digits; equal on every machine."""
        kinds = ("config.json", "tokenizer.json", "vocab*.*", "*.model", "*/config.json", "*.safetensors")
        paths = sorted({path for kind in kinds for path in self.folder.glob(kind)})
        digest = hashlib.sha256()
        for path in paths:
            state = path.stat()
            inside = path.relative_to(self.folder).as_posix()
            digest.update(f"{inside} {_file_hash(path, state.st_mtime_ns, state.st_size)}\n".encode())
        return digest.hexdigest()[:16]

    @cached_property
    def config(self) -> Any:
        """Its configuration.

        Raises:
            CheckpointError: there is none, or transformers does not know the architecture.
        """
        from transformers import AutoConfig

        return self.load(AutoConfig)

    def load(self, auto: Any, **settings: Any) -> Any:
        """What one of the Auto classes of transformers makes of the folder.

        Raises:
            CheckpointError: it cannot be read.
        """
        try:
            with quiet():
                return auto.from_pretrained(self.folder, local_files_only=True, trust_remote_code=False, **settings)
        except Exception as error:  # the libraries' own, of damaged files, have no common base
            raise CheckpointError(f"cannot load the model {self.name!r}: {_first_line(error)}") from error

    def network(self, auto: Any, use: str) -> Any:
        """The network in float32, for inference, on its device.

        Args:
            auto: the Auto class.
            use: what it is to do, for messages.

        Raises:
            CheckpointError: it cannot be read, or its weights do not hold all that is needed.
        """
        self.check_weights()
        network, report = self.load(auto, use_safetensors=True, output_loading_info=True)
        lacking = sorted({*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])})
        if lacking:
            raise CheckpointError(
                f"the model {self.name!r} has no weights to {use}: {', '.join(lacking[:3])} "
                f"{'are' if len(lacking) > 1 else 'is'} missing, so that it would answer at random"
            )
        return network.float().eval().requires_grad_(False).to(device())

    def check_weights(self) -> None:
        """Raises CheckpointError where there are no weights in a format that runs no code."""
        if not any(self.folder.glob("*.safetensors")):
            raise CheckpointError(
                f"the model {self.name!r} has no *.safetensors in {self.folder}; other formats may run code when they "
                "are read, and are not. Load and save it once: AutoModel...from_pretrained(...).save_pretrained(folder)"
            )


def open_saved(name: str, *, extra: str = "hf", package: str = "transformers") -> Saved:
    """The folder that a name means: a folder, or a name on the hub.

    Raises:
        MissingExtraError: the package is not installed.
        CheckpointError: there is no such folder, and nothing could be downloaded.
    """
    try:
        with quiet(loaded=False):
            __import__(package)
    except ImportError:
        raise MissingExtraError(package, extra, f"the model {name!r}") from None
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise CheckpointError(f"{name} holds no model of Hugging Face: config.json is missing")
        return Saved(name, folder.resolve())
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name) or folder.exists():
        raise CheckpointError(f"no model folder {name}, and no name on the hub is written so: hf:OWNER/NAME")
    return Saved(name, _from_hub(name))


def _from_hub(name: str) -> Path:
    import huggingface_hub

    with quiet():
        try:
            kept = Path(huggingface_hub.snapshot_download(name, allow_patterns=list(FILES), local_files_only=True))
            if (kept / "config.json").is_file() and any(kept.glob("*.safetensors")):
                return kept
        except Exception:  # not here yet; which class says so differs between versions
            pass
        try:
            return Path(huggingface_hub.snapshot_download(name, allow_patterns=list(FILES)))
        except Exception as error:
            raise CheckpointError(
                f"there is no folder {name}, and it could not be downloaded from the hub ({_first_line(error)}). "
                "Check the name; without a connection, give a folder that was downloaded before: hf:FOLDER"
            ) from error


def is_bidirectional(config: Any) -> bool:
    """Whether a configuration is of a masked or a permutation model, which reads both sides of a token."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

    masked = config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES and not getattr(config, "is_decoder", False)
    return masked or config.model_type == "xlnet"


def device() -> Any:
    """Where models run: what TEXTGYM_DEVICE says, else the first GPU, else the CPU.

    Raises:
        CheckpointError: TEXTGYM_DEVICE names nothing that torch knows.
    """
    import torch

    wanted = os.environ.get(DEVICE) or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.device(wanted)
    except RuntimeError as error:
        raise CheckpointError(f"{DEVICE}={wanted!r} is no device: e.g. cpu, cuda, cuda:1, mps") from error


@contextmanager
def quiet(loaded: bool = True) -> Iterator[None]:
    """Without the notes, warnings and progress bars of transformers.

    Args:
        loaded: whether transformers is there to be told.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not loaded:
            yield
            return
        from transformers import utils

        logging: Any = utils.logging
        level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        try:
            yield
        finally:
            logging.set_verbosity(level)
            if bars:
                logging.enable_progress_bar()


@lru_cache(maxsize=256)
def _file_hash(path: Path, modified: int, size: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
