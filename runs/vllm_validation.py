"""Validation of the simulator against a recorded server: vLLM 0.19 with Llama-3.1-8B on an RTX PRO 6000.

The recorded run is public (casys-kaist/LLMServingSim, MIT): 300 ShareGPT requests at ten per second, without
speculation. The simulator runs the real verifier core in target-only mode. Arrivals and lengths come from
requests.jsonl, limits on sequences and tokens per step from meta.json, and step times from aiconfigurator-core's kernel
measurements on this GPU (vLLM 0.24). One number is fitted, the host's time per step, to the mean time per token of the
first half of the requests. Half a minute; needs the recorded run and the extra gpu-tables.

    python -m runs.vllm_validation --data FOLDER --plot FILE --json FILE
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.console import Console
from rich.table import Table

from goodspeed.drafter.core.core_config import RetryConfig
from goodspeed.errors import ConfigError
from goodspeed.simulator.latency.aiconfigurator import AiconfiguratorConfig
from goodspeed.simulator.latency.models import LatencyConfig
from goodspeed.simulator.scenario import DrafterTier, Scenario, VerifierTier
from goodspeed.simulator.workload.arrival_trace import ArrivalTraceConfig
from goodspeed.simulator.workload.workloads import WorkloadConfig
from goodspeed.simulator.world import simulate
from goodspeed.stats.summary import quantile
from goodspeed.verifier.core.core_config import VerifierCoreConfig

DATA = "../shared/data/validation/vllm_sharegpt/rtxpro6000_llama31_8b"
TABLES = AiconfiguratorConfig(shape="llama-3.1-8b", gpu="rtx_pro_6000_server")
KV_TOKENS = 550_000
"""vLLM's default of 90% of 96 GB, minus 16 GB of weights, at 128 KiB per token. The run needs 202,000."""
MAX_HOST_S = 0.010


@dataclass(frozen=True, slots=True)
class Timing:
    """One request; all times are of one clock."""

    requested_s: float
    first_token_s: float
    finished_s: float
    num_prompt_tokens: int
    num_answer_tokens: int

    @property
    def ttft_s(self) -> float:
        return self.first_token_s - self.requested_s

    @property
    def token_s(self) -> float:
        """Mean time per token after the first (TPOT)."""
        return (self.finished_s - self.first_token_s) / (self.num_answer_tokens - 1)


def check_data(folder: Path) -> None:
    """Raises ConfigError if the recorded run is missing."""
    missing = [name for name in ("meta.json", "requests.jsonl") if not (folder / name).is_file()]
    if missing:
        raise ConfigError(
            f"{folder} has no {' and no '.join(missing)}; give the folder of the recorded run with --data"
        )


def measured(folder: Path) -> list[Timing]:
    """The recorded run. Arrivals are of the client's clock, tokens of the server's.

    The offset between them is the minimum delay from arrival to queue over all requests.
    """
    rows = [json.loads(line) for line in (folder / "requests.jsonl").read_text().splitlines()]
    offset = min(row["queued_ts"] - row["arrival_time"] for row in rows)
    return [
        Timing(
            row["arrival_time"] + offset,
            row["first_token_ts"],
            row["last_token_ts"],
            row["input_toks"],
            row["output_toks"],
        )
        for row in rows
    ]


def simulated(folder: Path, settings: dict[str, Any], latency: LatencyConfig) -> list[Timing]:
    """The same requests at a simulated server with these step times."""
    limits = VerifierCoreConfig(
        max_admitted=settings["max_num_seqs"],
        max_step_tokens=settings["max_num_batched_tokens"],
        prefill_chunk=settings["max_num_batched_tokens"],
        max_streams=100_000,
        max_queued=100_000,
    )
    scenario = Scenario(
        duration_s=600.0,
        mode="target_only",
        verifiers=(VerifierTier(kv_capacity=KV_TOKENS, latency=latency, core=limits),),
        drafters=(
            DrafterTier(
                workload=WorkloadConfig("trace", trace=ArrivalTraceConfig(str(folder / "requests.jsonl"), "vllm")),
                retry=RetryConfig(give_up_s=600.0, first_token_s=600.0, verdict_s=600.0),
            ),
        ),
    )
    answers = sorted(simulate(scenario).answers, key=lambda answer: answer.request)
    return [
        Timing(
            timing.requested_s,
            timing.first_token_s,
            timing.finished_s,
            timing.num_prompt_tokens,
            timing.num_answer_tokens,
        )
        for timing in answers
    ]


def fit_host_s(real: Sequence[Timing], run: Callable[[float], list[Timing]], num_fitted: int) -> float:
    """The host's time per step at which the simulated mean time per token of the first requests is the real one."""
    target_s = fmean(timing.token_s for timing in real[:num_fitted])
    low, high = 0.0, MAX_HOST_S
    for _ in range(8):
        host_s = (low + high) / 2
        if fmean(timing.token_s for timing in run(host_s)[:num_fitted]) < target_s:
            low = host_s
        else:
            high = host_s
    return (low + high) / 2


def metrics(timings: Sequence[Timing]) -> dict[str, float]:
    """The metrics that are compared."""
    tokens_s, ttfts_s = [timing.token_s for timing in timings], [timing.ttft_s for timing in timings]
    span_s = max(timing.finished_s for timing in timings) - min(timing.requested_s for timing in timings)
    return {
        "time per token, mean, ms": 1e3 * fmean(tokens_s),
        "time per token, p50, ms": 1e3 * quantile(tokens_s, 0.5),
        "time per token, p99, ms": 1e3 * quantile(tokens_s, 0.99),
        "TTFT, mean, s": fmean(ttfts_s),
        "TTFT, p50, s": quantile(ttfts_s, 0.5),
        "TTFT, p90, s": quantile(ttfts_s, 0.9),
        "TTFT, p99, s": quantile(ttfts_s, 0.99),
        "tokens per second": sum(timing.num_answer_tokens for timing in timings) / span_s,
    }


def comparison(title: str, real: Sequence[Timing], simulation: Sequence[Timing]) -> Table:
    """A table of measured, simulated and error."""
    table = Table("", "measured", "simulated", "error", title=title)
    simulated_metrics = metrics(simulation)
    for name, value in metrics(real).items():
        table.add_row(
            name,
            f"{value:.4g}",
            f"{simulated_metrics[name]:.4g}",
            f"{100 * (simulated_metrics[name] / value - 1):+.1f}%",
        )
    return table


def plot(real: Sequence[Timing], simulation: Sequence[Timing], path: Path) -> None:
    """Plot time to first token and time per token of every request by arrival."""
    from matplotlib.figure import Figure  # noqa: PLC0415  (an optional extra)

    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for timings, name, style in ((real, "vLLM 0.19, measured", "k."), (simulation, "simulated", "C1.")):
        times = [timing.requested_s - timings[0].requested_s for timing in timings]
        left.plot(times, [timing.ttft_s for timing in timings], style, label=name)
        right.plot(times, [1e3 * timing.token_s for timing in timings], style, label=name)
    left.set(xlabel="arrival, s", ylabel="time to first token, s")
    right.set(xlabel="arrival, s", ylabel="time per token, ms")
    left.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(DATA), help="folder of the recorded run")
    parser.add_argument("--plot", type=Path, help="figure to write (.svg, .png)")
    parser.add_argument("--json", type=Path, help="file for the timings")
    args = parser.parse_args()
    try:
        check_data(args.data)
        compare(args.data, args.plot, args.json)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def compare(folder: Path, plot_to: Path | None, json_to: Path | None) -> None:
    settings = json.loads((folder / "meta.json").read_text())["engine_kwargs"]
    real = measured(folder)
    half = len(real) // 2

    def run(host_s: float) -> list[Timing]:
        latency = LatencyConfig(kind="aiconfigurator", host_s=host_s, aiconfigurator=TABLES)
        return simulated(folder, settings, latency)

    host_s = fit_host_s(real, run, half)
    unfitted, fitted = run(0.0), run(host_s)
    console = Console()
    console.print(comparison("nothing fitted (host time 0), all requests", real, unfitted))
    console.print(f"fitted to the first {half} requests' mean time per token: host time {1e3 * host_s:.2f} ms per step")
    console.print(comparison(f"first {half} requests (the time per token was fitted)", real[:half], fitted[:half]))
    console.print(
        comparison(f"last {len(real) - half} requests (nothing was fitted to them)", real[half:], fitted[half:])
    )
    console.print(comparison("all requests", real, fitted))
    if json_to:
        runs = {"measured": real, "unfitted": unfitted, "fitted": fitted}
        timings = {name: [asdict(timing) for timing in timings] for name, timings in runs.items()}
        json_to.write_text(json.dumps({"host_s": host_s, **timings}))
    if plot_to:
        plot(real, fitted, plot_to)


if __name__ == "__main__":
    sys.exit(main())
