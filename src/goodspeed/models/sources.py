"""Sources of model files: a local folder, a GGUF file, a packed draft, the Hugging Face hub."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Protocol

import huggingface_hub

from goodspeed.errors import CheckpointError
from goodspeed.extras import missing_extra
from goodspeed.models.cache import cache_folder, file_digest, fill
from goodspeed.models.folder import check_folder, copy_tokenizer

Progress = Callable[[int, int], None]
"""Called with (done, total)."""

CONVERSION = 1  # version of the conversion; a new one creates new folders
UNPACKING = 2  # version of the unpacking of drafts
TOKENIZER_FILES = [
    "config.json",
    "generation_config.json",
    "tokenizer*.json",
    "special_tokens_map.json",
    "chat_template*",
]
MODEL_FILES = [*TOKENIZER_FILES, "model*.safetensors", "model.safetensors.index.json"]


class ModelSource(Protocol):
    """A model at some location. All methods raise CheckpointError."""

    def cached(self) -> Path | None:
        """The complete model folder, or None if it is not on this machine."""

    def fetch(self, progress: Progress) -> Path:
        """Fetch the latest version and return the complete model folder."""

    def fetch_tokenizer(self) -> Path:
        """A folder with at least the tokenizer's files; needs neither torch nor the weights."""


@dataclass(frozen=True, slots=True)
class LocalFolder:
    """A folder of the user."""

    path: Path

    def cached(self) -> Path:
        check_folder(self.path)
        return self.path

    def fetch(self, progress: Progress) -> Path:
        progress(1, 1)
        return self.cached()

    def fetch_tokenizer(self) -> Path:
        return self.path


@dataclass(frozen=True, slots=True)
class GgufModel:
    """A GGUF file, converted once into a cache folder whose name has the digest of its content."""

    path: Path

    def cached(self) -> Path | None:
        folder = self._folder("model")
        return folder if folder.is_dir() else None

    def fetch(self, progress: Progress) -> Path:
        folder = self._folder("model")
        if not folder.is_dir():
            _import_extra("goodspeed.models.conversion").convert(self.path, folder, progress)
        return folder

    def fetch_tokenizer(self) -> Path:
        if (model := self.cached()) is not None:
            return model
        folder = self._folder("tokenizer")
        if not folder.is_dir():
            _import_extra("goodspeed.models.gguf_tokenizer").convert_tokenizer(self.path, folder)
        return folder

    def _folder(self, what: str) -> Path:
        return cache_folder() / "gguf" / f"{self.path.stem}-{file_digest(self.path)[:12]}" / f"{what}-v{CONVERSION}"


@dataclass(frozen=True, slots=True)
class PackedDraft:
    """A packed draft model of the package goodspeed-drafts, unpacked once into the cache as an ordinary checkpoint."""

    draft: Path
    embedding: Path
    """The embedding of the target, which several drafts share."""
    target: ModelSource
    """The model whose tokenizer the draft uses."""

    def cached(self) -> Path | None:
        folder = self._folder()
        return folder if folder.is_dir() else None

    def fetch(self, progress: Progress) -> Path:
        folder = self._folder()
        if not folder.is_dir():
            tokenizer = self.fetch_tokenizer()
            unpack: Callable[[Path, Path, Path], None] = _import_extra("goodspeed.models.packing").unpack

            def write(empty: Path) -> None:
                unpack(self.draft, self.embedding, empty)
                copy_tokenizer(tokenizer, empty)

            fill(folder, write)
        progress(1, 1)
        return folder

    def fetch_tokenizer(self) -> Path:
        return self.target.fetch_tokenizer()

    def _folder(self) -> Path:
        digest = file_digest(self.draft)[:8] + file_digest(self.embedding)[:4]
        return cache_folder() / "drafts" / f"{self.draft.stem}-{digest}" / f"model-v{UNPACKING}"


@dataclass(frozen=True, slots=True)
class HubModel:
    """A repository on the Hugging Face hub, in the hub's own cache."""

    name: str  # "organisation/name"

    def cached(self) -> Path | None:
        try:
            folder = Path(
                huggingface_hub.snapshot_download(self.name, allow_patterns=MODEL_FILES, local_files_only=True)
            )
            check_folder(folder)
        except (OSError, ValueError, CheckpointError):
            return None
        return folder

    def fetch(self, progress: Progress) -> Path:
        folder = self._download(MODEL_FILES)
        check_folder(folder)
        progress(1, 1)
        return folder

    def fetch_tokenizer(self) -> Path:
        return self.cached() or self._download(TOKENIZER_FILES)

    def _download(self, patterns: list[str]) -> Path:
        try:
            return Path(huggingface_hub.snapshot_download(self.name, allow_patterns=patterns))
        except Exception as error:  # HTTP, name and disk errors have no common base class
            reason = " ".join(str(error).split())
            raise CheckpointError(
                f"{self.name!r} is not a local folder, and cannot be fetched from the Hugging Face hub: {reason}"
            ) from error


def _import_extra(module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise CheckpointError(missing_extra("reading this model file", "torch", error)) from error
