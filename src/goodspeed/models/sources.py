"""Where model files come from: a local folder, a GGUF file, the Hugging Face hub."""

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
"""Called with how much is done, of how much."""

CONVERSION = 1  # raise it when the conversion changes: folders of an older one are made anew
UNPACKING = 2  # likewise, of packed drafts
TOKENIZER_FILES = [
    "config.json",
    "generation_config.json",
    "tokenizer*.json",
    "special_tokens_map.json",
    "chat_template*",
]
MODEL_FILES = [*TOKENIZER_FILES, "model*.safetensors", "model.safetensors.index.json"]


class ModelSource(Protocol):
    """One model, wherever it is. All raise CheckpointError."""

    def cached(self) -> Path | None:
        """The complete model folder if it is on this machine."""

    def fetch(self, progress: Progress) -> Path:
        """Get it, newest if there is a choice, and return the complete model folder."""

    def fetch_tokenizer(self) -> Path:
        """A folder with the tokenizer's files at least; needs neither torch nor the weights."""


@dataclass(frozen=True, slots=True)
class LocalFolder:
    """A folder that somebody else looks after."""

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
    """A GGUF file, converted once into the cache, under a name that its content determines."""

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
    """A draft model that travels packed in this package, made an ordinary checkpoint once, in the cache."""

    draft: Path
    embedding: Path
    """The target's, which several drafts share."""
    target: ModelSource
    """Whose tokenizer it speaks with."""

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
    """A repository of the Hugging Face hub, in the hub's own cache."""

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
        except Exception as error:  # HTTP, name, disk: the library has a tree for each
            reason = " ".join(str(error).split())
            raise CheckpointError(
                f"there is no local folder {self.name!r}, and the Hugging Face hub does not give it: {reason}"
            ) from error


def _import_extra(module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise CheckpointError(missing_extra("reading this model file", "torch", error)) from error
