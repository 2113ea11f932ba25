"""The configuration of a verification server."""

from goodspeed.config import config_dataclass, option, table
from goodspeed.engine.auto_target import AUTO
from goodspeed.engine.co_located import CoLocatedConfig
from goodspeed.engine.target_config import TargetConfig
from goodspeed.engine.targets import TARGET_ENGINES
from goodspeed.logs import LOG_LEVELS
from goodspeed.protocol.grpc_config import GrpcServerConfig
from goodspeed.verifier.core.core_config import VerifierCoreConfig


@config_dataclass
class VerifierConfig:
    """The configuration of `goodspeed verifier`."""

    engine: str = option(
        AUTO,
        "target engine; auto: llama_cpp for a .gguf file where it is faster than torch; shaped has a model's cost "
        "without its weights, toy has no model",
        choices=TARGET_ENGINES,
    )
    seed: int = option(0, "shaped and toy engines: seed of the pair; the drafters need the same", ge=0)
    target: TargetConfig = table(TargetConfig)
    co_located: CoLocatedConfig = table(CoLocatedConfig)
    core: VerifierCoreConfig = table(VerifierCoreConfig)
    grpc: GrpcServerConfig = table(GrpcServerConfig)
    metrics_host: str = option("127.0.0.1", "address of the Prometheus metrics")
    metrics_port: int = option(7701, "port of the Prometheus metrics; 0: any free port", ge=0, le=65535)
    event_log: str = option("", "JSONL file to append every input and decision to; `goodspeed replay` reads it")
    log_level: str = option("INFO", "lowest severity that is logged", choices=LOG_LEVELS)
