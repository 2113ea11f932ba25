"""Moments of a request trace, as the workload generators take them: rate, dispersion of arrivals, lengths.

Seconds; needs a trace file.

    python -m runs.workload_moments azure_llm_2023_conv.csv --format azure
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from goodspeed.errors import ConfigError
from goodspeed.simulator.workload.arrival_trace import TRACE_FORMATS, read_arrivals

WINDOWS_S = (1.0, 10.0, 60.0, 300.0)


def main() -> int:
    args = _parser().parse_args()
    try:
        arrivals = read_arrivals(args.trace, args.format)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    times = np.array([arrival.at_s for arrival in arrivals])
    print(f"{len(times)} requests in {times[-1]:.0f} s: {(len(times) - 1) / times[-1]:.3f} per second")
    interarrival_s = np.diff(times)
    print(f"interarrival times: cv {interarrival_s.std() / interarrival_s.mean():.2f}")
    for window_s in (window_s for window_s in WINDOWS_S if window_s < times[-1] / 5):
        counts = np.histogram(times, bins=np.arange(0.0, times[-1], window_s))[0]
        print(f"counts in {window_s:g} s: variance / mean {counts.var() / counts.mean():.1f}")
    prompts = np.array([arrival.num_prompt_tokens for arrival in arrivals])
    answers = np.array([arrival.num_answer_tokens for arrival in arrivals])
    print(f"prompts: {_lengths(prompts)}\nanswers: {_lengths(answers)}")
    print(f"correlation of their logs: {np.corrcoef(np.log1p(prompts), np.log1p(answers))[0, 1]:.2f}")
    return 0


def _lengths(lengths: NDArray[np.int64]) -> str:
    quantiles = "/".join(f"{value:.0f}" for value in np.quantile(lengths, (0.05, 0.5, 0.95, 1.0)))
    return f"mean {lengths.mean():.0f}, cv {lengths.std() / lengths.mean():.2f}, 5/50/95/100% {quantiles}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trace", type=Path)
    parser.add_argument("--format", default="azure", choices=list(TRACE_FORMATS))
    return parser


if __name__ == "__main__":
    sys.exit(main())
