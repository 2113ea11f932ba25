"""The configuration of a draft server."""

import os
import socket
from dataclasses import dataclass

from goodspeed.config import option, table
from goodspeed.drafter.core.core_config import CoreConfig, RetryConfig
from goodspeed.engine.drafts import DraftConfig
from goodspeed.errors import ConfigError
from goodspeed.protocol.grpc_config import GrpcClientConfig
from goodspeed.routing.policies import ROUTINGS
from goodspeed.windows.policies import WindowConfig

TOY = "toy"
DEFAULT_MODEL = "smollm2-135m-instruct"


@dataclass(frozen=True, slots=True)
class DrafterConfig:
    """Everything that `goodspeed drafter` can be told."""

    name: str = option(
        "", "what verifiers share their budget by; of two with one name the later wins (default: host-pid)"
    )
    verifiers: tuple[str, ...] = option(("127.0.0.1:7700",), "verifiers, host:port")
    routing: str = option("failover", f"which verifier a new answer goes to: {', '.join(ROUTINGS)}")
    host: str = option("127.0.0.1", "address of the HTTP API; 0.0.0.0 for every interface (then use an API key)")
    port: int = option(8000, "port of the HTTP API; 0 = any free one")
    api_key: str = option("", "what users must bring as their OpenAI API key; empty: everybody may ask")
    tokenizer: str = option(
        "", f"the target's tokenizer: a model's name or folder, or {TOY} (default: {DEFAULT_MODEL})"
    )
    max_tokens: int = option(1024, "length of a chat answer whose request does not say; memory is reserved for it")
    grace_s: float = option(3.0, "time that answers have to end when the drafter is stopped")
    window: WindowConfig = table(WindowConfig)
    draft: DraftConfig = table(DraftConfig)
    retry: RetryConfig = table(RetryConfig)
    grpc: GrpcClientConfig = table(GrpcClientConfig)
    record: str = option(
        "", "JSONL file to which prompts, answers and rejected proposals go, for `goodspeed tune`: what users wrote"
    )
    event_log: str = option("", "JSONL file to which every fact and decision is appended")
    acceptance_log: str = option("", "JSONL file to which is appended, for every answer, which draft tokens were right")
    log_level: str = option("INFO", "DEBUG, INFO, WARNING or ERROR")

    def __post_init__(self) -> None:
        if not self.verifiers:
            raise ConfigError("verifiers is empty, expected at least one host:port")
        for address in self.verifiers:
            host, _, port = address.rpartition(":")
            if not host or not port.isdecimal():
                raise ConfigError(f"verifiers has {address!r}, expected host:port")
        ROUTINGS[self.routing]
        if self.max_tokens < 1:
            raise ConfigError(f"max_tokens is {self.max_tokens}, expected 1 or more")
        if self.grace_s < 0.0:
            raise ConfigError(f"grace_s is {self.grace_s}, expected 0 or more")

    @property
    def core(self) -> CoreConfig:
        """The core's part."""
        return CoreConfig(len(self.verifiers), self.window, self.retry, self.routing)

    @property
    def drafter(self) -> str:
        """The name, or one that no other drafter is likely to have."""
        return self.name or f"{socket.gethostname()}-{os.getpid()}"

    @property
    def tokenizer_model(self) -> str:
        """The tokenizer, or the one that goes with the draft engine."""
        return self.tokenizer or (TOY if self.draft.engine == TOY else DEFAULT_MODEL)
