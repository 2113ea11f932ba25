"""The servers of a cluster: one verifier, and drafters that may differ in draft engine, domain and link."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from goodspeed.cluster.arms import co_located_flags, core_flags, draft_flags
from goodspeed.config import file_value, from_mapping, read_toml
from goodspeed.drafter.drafter_config import DrafterConfig
from goodspeed.engine.auto_target import AUTO
from goodspeed.engine.targets import TARGET_ENGINES
from goodspeed.errors import ConfigError
from goodspeed.protocol.grpc_config import (
    GrpcClientConfig,
    GrpcServerConfig,
    bearer_token,
    channel_credentials,
    server_credentials,
)
from goodspeed.registry import Registry
from goodspeed.verifier.verifier_config import VerifierConfig

UNCACHED = ("--core.prefix-cache-tokens", "0")
"""Flags of verifiers that are compared: arms answer the same prompts, and where two of them share a verifier the second
would find the prompts of the first in its cache."""


@dataclass(frozen=True, slots=True)
class PairFlags:
    """The flags of verifier and drafter for a target model and its draft."""

    verifier: tuple[str, ...]
    drafter: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Models:
    """Models and target engine that a user has chosen instead of a pair; empty: the default."""

    target: str = ""
    draft: str = ""
    engine: str = ""

    def flags(self) -> PairFlags:
        """Of verifier and drafter. Raises ConfigError for an unknown engine."""
        TARGET_ENGINES[self.engine or AUTO]
        target = ("--target.model", self.target) if self.target else ()
        tokenizer = ("--tokenizer", self.target) if self.target else ()
        draft = ("--draft.model", self.draft) if self.draft else ()
        verifier = ("--engine", self.engine or AUTO, *target)
        return PairFlags(verifier, ("--draft.engine", "hybrid", *tokenizer, *draft))


@dataclass(frozen=True, slots=True)
class DrafterSpec:
    """The configuration of one drafter."""

    name: str
    domain: str
    """The prompts of its user: a domain or a prompt file."""
    flags: tuple[str, ...]
    rtt_ms: float = 0.0
    jitter: float = 0.0

    def arguments(self, verifier_port: int) -> tuple[str, ...]:
        """Arguments of the `goodspeed` command."""
        link = ("--grpc.link.rtt-ms", str(self.rtt_ms), "--grpc.link.jitter", str(self.jitter))
        address = ("--verifiers", f"127.0.0.1:{verifier_port}", "--name", self.name)
        return ("drafter", *address, *(link if self.rtt_ms else ()), *self.flags)


@dataclass(frozen=True, slots=True)
class ClusterSpec:
    """One verifier with one scheduler, and its drafters."""

    name: str  # also the prefix of its log files
    verifier: tuple[str, ...]  # flags
    drafters: tuple[DrafterSpec, ...]
    grace_s: float = 3.0  # as of a drafter
    """Time that running answers have to finish at the end."""


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """The configuration that all servers of a comparison have in common."""

    pair: str
    acceptance_rate: float  # of pairs with a chosen acceptance rate
    verifier_config: str = ""  # TOML file
    drafter_config: str = ""  # TOML file
    defaults: frozenset[str] = frozenset()
    """Of "pair" and "scheduler", those that nobody has chosen: the files override them."""
    models: Models = Models()
    """Instead of the pair, if one is chosen."""

    def verifier_setting(self, *path: str) -> Any:
        """The value of a key in the verifier's file, or None. Raises ConfigError."""
        return file_value(_read(self.verifier_config), path)

    def drafter_setting(self, *path: str) -> Any:
        """The value of a key in the drafters' file, or None. Raises ConfigError."""
        return file_value(_read(self.drafter_config), path)

    def verifier_flags(self, arm: str, co_located: str = "") -> tuple[str, ...]:
        """Flags of a verifier, with its own draft engine as configured or of `co_located` (see arms.co_located_flags).

        Raises ConfigError for an unknown name or option, or a wrong configuration file.
        """
        file = _config(self.verifier_config, VerifierConfig)
        pair, core = self._pair().verifier, core_flags(arm)
        if "pair" in self.defaults:
            pair = _without_keys_of(_read(self.verifier_config), pair)
        if "scheduler" in self.defaults and self.verifier_setting("core", "scheduler"):
            core = ()
        return (*file, *pair, *core, *(co_located_flags(co_located) if co_located else ()))

    def drafter_flags(self, drafts: str = "") -> tuple[str, ...]:
        """Flags of a drafter, with the draft engine of the pair or of `drafts` (see arms.draft_flags).

        Raises ConfigError for an unknown name or a wrong configuration file.
        """
        file = _config(self.drafter_config, DrafterConfig)
        pair = self._pair().drafter
        if "pair" in self.defaults:
            pair = _without_keys_of(_read(self.drafter_config), pair)
        return (*file, *pair, *(draft_flags(drafts) if drafts else ()))

    def _pair(self) -> PairFlags:
        return PAIRS[self.pair](self.acceptance_rate) if self.models == Models() else self.models.flags()


def unchosen(given: frozenset[str]) -> frozenset[str]:
    """ServerOptions.defaults for the keys that a user has given: a model is chosen instead of a pair."""
    keys = frozenset({"pair", "scheduler"}) - given
    return keys - {"pair"} if {"model", "draft", "engine"} & given else keys


def uniform_drafters(
    flags: tuple[str, ...], domains: Sequence[str], rtts_ms: Sequence[float], num_drafters: int
) -> list[DrafterSpec]:
    """Drafters with the same flags; domains and round-trip times are assigned round-robin.

    Raises ConfigError for less than one drafter.
    """
    if num_drafters < 1:
        raise ConfigError(f"clients is {num_drafters}, expected at least 1")
    return [
        DrafterSpec(
            name=f"client{number}",
            domain=domains[number % len(domains)],
            flags=flags,
            rtt_ms=rtts_ms[number % len(rtts_ms)] if rtts_ms else 0.0,
        )
        for number in range(num_drafters)
    ]


def with_event_logs(spec: ClusterSpec, folder: Path) -> ClusterSpec:
    """The same cluster with an event log of every server in the folder; older logs are removed."""

    def flag(server: str) -> tuple[str, ...]:
        path = folder / f"{spec.name}-{server}.jsonl"
        path.unlink(missing_ok=True)  # a server appends
        return ("--event-log", str(path))

    drafters = tuple(replace(drafter, flags=(*drafter.flags, *flag(drafter.name))) for drafter in spec.drafters)
    return replace(spec, verifier=(*spec.verifier, *flag("verifier")), drafters=drafters)


def with_verifier_log(spec: ClusterSpec, folder: Path) -> ClusterSpec:
    """The same cluster with an event log of the verifier at verifier_log(); an older log is removed."""
    path = verifier_log(spec, folder)
    path.unlink(missing_ok=True)  # a server appends
    return replace(spec, verifier=(*spec.verifier, "--event-log", str(path)))


def verifier_log(spec: ClusterSpec, folder: Path) -> Path:
    """The event log of the verifier, for with_event_logs and with_verifier_log."""
    return folder / f"{spec.name}-verifier.jsonl"


def _config(path: str, config: type[VerifierConfig] | type[DrafterConfig]) -> tuple[str, ...]:
    """The flag for the file, which is validated here: a server would report an error only when it has started."""
    if not path:
        return ()
    try:
        _check_secrets(from_mapping(config, read_toml(Path(path))).grpc)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    return ("--config", path)


def _read(path: str) -> dict[str, Any]:
    return read_toml(Path(path)) if path else {}


def _without_keys_of(values: Mapping[str, Any], flags: Sequence[str]) -> tuple[str, ...]:
    """The pairs of flag and value whose key the file does not set."""
    pairs = zip(flags[::2], flags[1::2], strict=True)
    kept = [pair for pair in pairs if file_value(values, _key_of(pair[0])) is None]
    return tuple(word for pair in kept for word in pair)


def _key_of(flag: str) -> tuple[str, ...]:
    return tuple(flag.removeprefix("--").replace("-", "_").split("."))


def _check_secrets(config: GrpcServerConfig | GrpcClientConfig) -> None:
    """Raises ConfigError if the token or a file cannot be read."""
    bearer_token(config)
    if isinstance(config, GrpcServerConfig):
        server_credentials(config)
    else:
        channel_credentials(config)


def _smollm2(_acceptance_rate: float) -> PairFlags:
    return PairFlags(("--engine", AUTO), ("--draft.engine", "hybrid"))


def _shaped(acceptance_rate: float) -> PairFlags:
    rate = ("--draft.acceptance-rate", str(acceptance_rate))
    return PairFlags(("--engine", "shaped"), ("--draft.engine", "shaped", *rate))


def _shaped_large(acceptance_rate: float) -> PairFlags:
    small, shape = _shaped(acceptance_rate), "qwen3-0.6b"
    return PairFlags((*small.verifier, "--target.model", shape), (*small.drafter, "--draft.model", shape))


def _toy(acceptance_rate: float) -> PairFlags:
    rate = ("--draft.acceptance-rate", str(acceptance_rate))
    return PairFlags(("--engine", "toy"), ("--draft.engine", "toy", *rate))


PAIRS: Registry[Callable[[float], PairFlags]] = Registry(
    "pair",
    {
        "smollm2": _smollm2,
        "shaped": _shaped,
        "shaped_large": _shaped_large,
        "toy": _toy,
    },
)
"""The flags of each pair, as a function of the acceptance rate."""
