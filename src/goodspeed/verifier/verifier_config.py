"""The configuration of a verification server."""

from dataclasses import dataclass

from goodspeed.config import option, table
from goodspeed.engine.target_config import TargetConfig
from goodspeed.protocol.grpc_config import GrpcServerConfig
from goodspeed.verifier.core.core_config import VerifierCoreConfig


@dataclass(frozen=True, slots=True)
class VerifierConfig:
    """Everything that `goodspeed verifier` can be told."""

    engine: str = option("torch", "target engine: torch, shaped (real cost, no weights) or toy (no model at all)")
    seed: int = option(0, "shaped and toy: seed of the pair; the drafters' must be the same")
    target: TargetConfig = table(TargetConfig)
    core: VerifierCoreConfig = table(VerifierCoreConfig)
    grpc: GrpcServerConfig = table(GrpcServerConfig)
    metrics_host: str = option("127.0.0.1", "address of the Prometheus metrics")
    metrics_port: int = option(7701, "port of the Prometheus metrics; 0 = any free one")
    event_log: str = option("", "JSONL file to which every fact and decision is appended; goodspeed replays it")
    log_level: str = option("INFO", "DEBUG, INFO, WARNING or ERROR")
