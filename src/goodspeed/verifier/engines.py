"""Target engines by name. PyTorch is imported only by the engines that need it."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from goodspeed.engine.base import TargetEngine
from goodspeed.engine.torch_room import import_torch_room
from goodspeed.engine.toy import ToyTarget, toy_info, toy_tokenizer
from goodspeed.models.tokenizer import Tokenizer
from goodspeed.registry import Registry
from goodspeed.verifier.config import VerifierConfig


def target_engine(config: VerifierConfig) -> TargetEngine:
    """The engine, its model loaded. Raises ConfigError or CheckpointError."""
    return TARGETS[config.engine](config)


def _torch(config: VerifierConfig) -> TargetEngine:
    engine: TargetEngine = import_torch_room("goodspeed.engine.torch.loading").load_target(config.target)
    return engine


def _shaped(config: VerifierConfig) -> TargetEngine:
    engine: TargetEngine = import_torch_room("goodspeed.engine.torch.shaped_pair").shaped_target(
        config.target, config.seed
    )
    return engine


def _toy(config: VerifierConfig) -> TargetEngine:
    with tempfile.TemporaryDirectory() as folder:
        toy_tokenizer(Path(folder))
        fingerprint = Tokenizer.load(Path(folder)).fingerprint
    return ToyTarget(toy_info(fingerprint), config.seed)


TARGETS: Registry[Callable[[VerifierConfig], TargetEngine]] = Registry(
    "target engine", {"torch": _torch, "shaped": _shaped, "toy": _toy}
)
