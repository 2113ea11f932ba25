"""The configuration of a draft server."""

import os
import socket

from goodspeed.config import config_dataclass, option, table
from goodspeed.drafter.core.core_config import DrafterCoreConfig, RetryConfig
from goodspeed.drafter.core.run_ahead import AUTO, MODES
from goodspeed.drafter.http.tool_calls.formats import AUTO as TOOL_FORMAT_AUTO
from goodspeed.drafter.http.tool_calls.formats import FORMATS
from goodspeed.engine.drafts import DraftConfig
from goodspeed.errors import ConfigError
from goodspeed.logs import LOG_LEVELS
from goodspeed.protocol.address import parse_address
from goodspeed.protocol.grpc_config import GrpcClientConfig
from goodspeed.routing.policies import ROUTINGS
from goodspeed.windows.policies import WindowConfig

TOY = "toy"
DEFAULT_MODEL = "smollm2-135m-instruct"


@config_dataclass
class DrafterConfig:
    """The configuration of `goodspeed drafter`."""

    name: str = option(
        "",
        "client name, by which verifiers share their budget; of two drafters with one name the later replaces the "
        "earlier; empty: host-pid",
    )
    verifiers: tuple[str, ...] = option(("127.0.0.1:7700",), "verifiers, as host:port or [IPv6]:port", is_required=True)
    routing: str = option("failover", "policy that chooses the verifier of a new answer", choices=ROUTINGS)
    host: str = option("127.0.0.1", "address of the HTTP API; 0.0.0.0 for every interface (then use API keys)")
    port: int = option(8000, "port of the HTTP API; 0: any free port", ge=0, le=65535)
    api_key: str = option("", "OpenAI API key that requests must carry, the operator's; empty: none", is_secret=True)
    api_key_file: str = option("", "file that holds the operator's API key")
    api_credentials: str = option(
        "",
        "file of names and hashed API keys (`goodspeed credentials add`), which can be revoked while the drafter runs",
    )
    keep_alive_s: float = option(75.0, "time after which an idle HTTP connection is closed", gt=0.0, le=86400.0)
    comment_s: float = option(
        15.0, "time without an event after which a streamed answer has a comment, so that proxies keep it", gt=0.0
    )
    cors_origins: tuple[str, ...] = option(
        (), "origins of web pages that may use the API, such as https://example.com; *: every page"
    )
    tokenizer: str = option(
        "",
        f"tokenizer of the target: a model's name or folder, or {TOY}; empty: that of {DEFAULT_MODEL}, or {TOY} for "
        "a toy draft",
    )
    tool_parser: str = option(
        TOOL_FORMAT_AUTO,
        "format in which the target writes tool calls; auto: the one that its chat template shows",
        choices=(TOOL_FORMAT_AUTO, *FORMATS),
    )
    max_tokens: int = option(
        1024, "maximum length of a chat answer whose request sets none; memory is reserved for it", ge=1
    )
    grace_s: float = option(3.0, "time that running answers have to finish when the drafter is stopped", ge=0.0)
    run_ahead: str = option(
        AUTO,
        "drafting past a proposal that is under way, as if it were accepted. auto: where it saves time; never: saves "
        "energy",
        choices=MODES,
    )
    window: WindowConfig = table(WindowConfig)
    draft: DraftConfig = table(DraftConfig)
    retry: RetryConfig = table(RetryConfig)
    grpc: GrpcClientConfig = table(GrpcClientConfig)
    traffic_log: str = option(
        "",
        "JSONL file to append prompts, answers and rejected draft tokens to, for `goodspeed tune`; it holds what users "
        "wrote",
        was=("record",),
    )
    event_log: str = option("", "JSONL file to append every input and decision to")
    acceptance_trace: str = option(
        "",
        "JSONL file to append an acceptance trace to: which draft tokens of every answer were right",
        was=("acceptance_log",),
    )
    log_level: str = option("INFO", "lowest severity that is logged", choices=LOG_LEVELS)

    def __post_init__(self) -> None:
        if self.api_key and self.api_key_file:
            raise ConfigError("api_key and api_key_file are both given, expected one of them")
        for address in self.verifiers:
            try:
                parse_address(address)
            except ConfigError as error:
                raise ConfigError(f"verifiers: {error}") from error

    @property
    def core(self) -> DrafterCoreConfig:
        """The configuration of the core."""
        return DrafterCoreConfig(len(self.verifiers), self.window, self.retry, self.routing, self.run_ahead)

    @property
    def drafter(self) -> str:
        """The client name; by default one that no other drafter is likely to have."""
        return self.name or f"{socket.gethostname()}-{os.getpid()}"

    @property
    def tokenizer_model(self) -> str:
        """The tokenizer; by default that of the draft engine's usual target."""
        return self.tokenizer or (TOY if self.draft.engine == TOY else DEFAULT_MODEL)
