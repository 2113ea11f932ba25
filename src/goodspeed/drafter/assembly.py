"""Makes a draft server from its configuration."""

import secrets
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from goodspeed.drafter.core.core import DrafterCore
from goodspeed.drafter.draft_runner import DraftRunner
from goodspeed.drafter.drafter_config import TOY, DrafterConfig
from goodspeed.drafter.event_logging import LoggedDrafterCore
from goodspeed.drafter.server import DrafterServer
from goodspeed.drafter.uplink import VerifierEndpoint
from goodspeed.engine.toy_tokenizer import toy_tokenizer
from goodspeed.models.catalog import locate_tokenizer
from goodspeed.models.tokenizer import Tokenizer
from goodspeed.protocol.grpc_client import grpc_connect
from goodspeed.protocol.messages import PROTOCOL_VERSION, Hello
from goodspeed.records.event_log import EventSink


def load_tokenizer(model: str) -> Tokenizer:
    """The tokenizer of a model, by the model's name or folder. Raises CheckpointError."""
    if model != TOY:
        return Tokenizer.load(locate_tokenizer(model))
    with tempfile.TemporaryDirectory() as folder:
        toy_tokenizer(Path(folder))
        return Tokenizer.load(Path(folder))


def verifier_endpoints(config: DrafterConfig) -> list[VerifierEndpoint]:
    """The verifiers of the config. Raises ConfigError for a wrong address or token, or a file that cannot be read."""
    return [VerifierEndpoint(address, grpc_connect(address, config.grpc)) for address in config.verifiers]


def draft_server(
    config: DrafterConfig,
    tokenizer: Tokenizer,
    runner: DraftRunner,
    events: EventSink | None,
    verifiers: Sequence[VerifierEndpoint],
) -> DrafterServer:
    """The server that the config describes."""
    seed = secrets.randbits(32)  # for routing and jitter: drafters must not share it
    core = (
        DrafterCore(config.core, np.random.default_rng(seed))
        if events is None
        else LoggedDrafterCore(config.core, seed, events, time.monotonic())
    )
    hello = Hello(PROTOCOL_VERSION, config.drafter, tokenizer.fingerprint)
    return DrafterServer(core, runner, hello, verifiers)
