"""The acceptance models by name."""

from collections.abc import Callable

from goodspeed.config import config_dataclass, option, table
from goodspeed.registry import Registry
from goodspeed.simulator.acceptance.acceptance_model import AcceptanceModel
from goodspeed.simulator.acceptance.confidence import ConfidenceConfig
from goodspeed.simulator.acceptance.drifting import DriftingAcceptance, DriftingConfig
from goodspeed.simulator.acceptance.exact import ExactConfidence
from goodspeed.simulator.acceptance.fixed import FixedAcceptance, FixedConfig
from goodspeed.simulator.acceptance.markov import MarkovAcceptance, MarkovConfig
from goodspeed.simulator.acceptance.positional import PositionalAcceptance, PositionalConfig
from goodspeed.simulator.acceptance.renewal import RenewalAcceptance, RenewalConfig
from goodspeed.simulator.acceptance.replayed_trace import ReplayedTraceConfig, replayed_trace_acceptance


@config_dataclass
class AcceptanceConfig:
    """The acceptance model: which draft tokens are right. Only the table of the chosen model is used."""

    model: str = option("fixed", "acceptance model", choices=lambda: ACCEPTANCES, was_values={"recorded": "trace"})
    fixed: FixedConfig = table(FixedConfig)
    positional: PositionalConfig = table(PositionalConfig)
    drifting: DriftingConfig = table(DriftingConfig)
    markov: MarkovConfig = table(MarkovConfig)
    renewal: RenewalConfig = table(RenewalConfig)
    trace: ReplayedTraceConfig = table(ReplayedTraceConfig, was=("recorded",))
    confidence: ConfidenceConfig = table(ConfidenceConfig)


ACCEPTANCES: Registry[Callable[[AcceptanceConfig], AcceptanceModel]] = Registry(
    "acceptance model",
    {
        "fixed": lambda config: FixedAcceptance(config.fixed, config.confidence.concentration),
        "positional": lambda config: PositionalAcceptance(config.positional, config.confidence.concentration),
        "drifting": lambda config: DriftingAcceptance(config.drifting, config.confidence.concentration),
        "markov": lambda config: MarkovAcceptance(config.markov, config.confidence.concentration),
        "renewal": lambda config: RenewalAcceptance(config.renewal, config.confidence.concentration),
        "trace": lambda config: replayed_trace_acceptance(config.trace),
    },
)


def acceptance_model(config: AcceptanceConfig) -> AcceptanceModel:
    """The configured model. Raises ConfigError if it needs a file that cannot be read."""
    model = ACCEPTANCES[config.model](config)
    return ExactConfidence(model) if config.confidence.is_exact else model
