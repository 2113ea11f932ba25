"""Requests of a production trace, at their recorded times."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from goodspeed.config import config_dataclass, option
from goodspeed.errors import ConfigError
from goodspeed.registry import Registry
from goodspeed.simulator.workload.workload import WorkloadRequest


@config_dataclass
class ArrivalTraceConfig:
    """Requests of a production trace, at their own times."""

    file: str = option("", "trace file, one request per line")
    format: str = option(
        "azure",
        "format of the file: azure (CSV), mooncake (JSONL) or vllm (JSONL of its benchmark's requests)",
        choices=lambda: TRACE_FORMATS,
    )
    speed: float = option(1.0, "factor of the arrival rate", gt=0.0)
    start_s: float = option(0.0, "requests before this time of the trace are left out", ge=0.0)
    max_prompt: int = option(0, "longer prompts are cut to this number of tokens; 0: never", ge=0)
    max_answer: int = option(0, "longer answers are cut to this number of tokens; 0: never", ge=0)
    split_seed: int = option(0, "seed of the random assignment of requests to clients", ge=0)


@dataclass(frozen=True, slots=True)
class TraceArrival:
    """One request of a trace."""

    at_s: float
    num_prompt_tokens: int
    num_answer_tokens: int
    blocks: tuple[int, ...] = ()
    """As WorkloadRequest.blocks."""


class ArrivalTraceWorkload:
    """Assigns every request to a random client at its recorded time: all clients together reproduce the trace.

    With random assignment a Poisson stream stays Poisson for each client; with a round robin it would become more even.
    The assignment does not depend on the order in which clients are read. Raises ConfigError for an unreadable file.
    """

    def __init__(self, config: ArrivalTraceConfig, num_clients: int) -> None:
        arrivals = _prepared(read_arrivals(Path(config.file), config.format), config)
        owners = np.random.default_rng(config.split_seed).integers(num_clients, size=len(arrivals)).tolist()
        self._arrivals: list[list[TraceArrival]] = [[] for _ in range(num_clients)]
        for owner, arrival in zip(owners, arrivals, strict=True):
            self._arrivals[owner].append(arrival)

    def requests(self, client: int, rng: np.random.Generator) -> Iterator[WorkloadRequest]:  # noqa: ARG002
        now = 0.0
        for arrival in self._arrivals[client]:
            num_prompt, num_answer = arrival.num_prompt_tokens, arrival.num_answer_tokens
            yield WorkloadRequest(arrival.at_s - now, False, num_prompt, num_answer, blocks=arrival.blocks)
            now = arrival.at_s


def read_arrivals(path: Path, trace_format: str) -> list[TraceArrival]:
    """The arrivals in order of time, relative to the first one. Raises ConfigError."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file) if path.suffix == ".csv" else map(json.loads, file)
            arrivals = [TRACE_FORMATS[trace_format](row) for row in rows]
    except KeyError as error:
        raise ConfigError(f"{path} is not a trace in {trace_format} format: it has no {error}") from error
    except (OSError, UnicodeDecodeError, ValueError, TypeError) as error:
        raise ConfigError(f"cannot read the {trace_format} trace {str(path)!r}: {error}") from error
    if not arrivals:
        raise ConfigError(f"the trace {path} is empty")
    arrivals.sort(key=lambda arrival: arrival.at_s)
    return [replace(arrival, at_s=arrival.at_s - arrivals[0].at_s) for arrival in arrivals]


def _prepared(arrivals: list[TraceArrival], config: ArrivalTraceConfig) -> list[TraceArrival]:
    return [
        TraceArrival(
            (arrival.at_s - config.start_s) / config.speed,
            _clamp(arrival.num_prompt_tokens, config.max_prompt),
            _clamp(arrival.num_answer_tokens, config.max_answer),
            arrival.blocks,
        )
        for arrival in arrivals
        if arrival.at_s >= config.start_s
    ]


def _clamp(length: int, max_length: int) -> int:
    """Limit a length. Some traces have empty prompts or answers; a request has at least one token of each."""
    return max(1, min(length, max_length) if max_length else length)


def _azure(row: Mapping[str, Any]) -> TraceArrival:
    at_s = (np.datetime64(row["TIMESTAMP"]) - np.datetime64(0, "s")) / np.timedelta64(1, "s")
    return TraceArrival(float(at_s), int(row["ContextTokens"]), int(row["GeneratedTokens"]))


def _mooncake(row: Mapping[str, Any]) -> TraceArrival:
    blocks = tuple(map(int, row["hash_ids"])) if "hash_ids" in row else ()
    return TraceArrival(row["timestamp"] / 1e3, row["input_length"], row["output_length"], blocks)


def _vllm(row: Mapping[str, Any]) -> TraceArrival:
    return TraceArrival(row["arrival_time"], row["input_toks"], row["output_toks"])


TRACE_FORMATS: Registry[Callable[[Mapping[str, Any]], TraceArrival]] = Registry(
    "trace format", {"azure": _azure, "mooncake": _mooncake, "vllm": _vllm}
)
