"""Knee of the step time: the time of a forward pass by its number of tokens, for five pairs of model and GPU.

Rows: the matrix products as published from aiconfigurator-core's tables, the matrix products as GoodSpeed reads them, a
whole step of one stream (with norms, attention to 1,000 tokens, sampling), and the roofline from the GPU's spec sheet.
Seconds; needs the extra gpu-tables.

    python -m runs.knee --plot knee.svg
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from goodspeed.errors import ConfigError
from goodspeed.simulator.latency.aiconfigurator import AiconfiguratorConfig, MeasuredGpu
from goodspeed.simulator.latency.latency_model import LatencyModel, StepShape
from goodspeed.simulator.latency.roofline import RooflineConfig

NUM_TOKENS = (1, 16, 64, 128, 256, 512)
CONTEXT = 1000


@dataclass(frozen=True, slots=True)
class KneeCase:
    """A model on a GPU, and its published times at NUM_TOKENS."""

    shape: str
    gpu: str
    published_ms: tuple[float, ...]

    @property
    def name(self) -> str:
        return f"{self.shape}, {self.gpu}"

    def measured(self) -> MeasuredGpu:
        return MeasuredGpu(AiconfiguratorConfig(shape=self.shape, gpu=self.gpu))

    def roofline(self) -> LatencyModel:
        return RooflineConfig(shape=self.shape, device=self.gpu).model()


CASES = (
    KneeCase("qwen3-0.6b", "l40s", (1.78, 1.50, 1.74, 1.69, 2.30, 3.66)),
    KneeCase("llama-3.1-8b", "a100_sxm", (10.8, 10.9, 10.9, 12.8, 20.3, 33.2)),
    KneeCase("llama-3.1-8b", "h100_sxm", (5.45, 6.02, 6.26, 6.10, 7.14, 9.58)),
    KneeCase("qwen3-32b", "h100_sxm", (22.4, 24.8, 25.6, 26.0, 27.8, 43.4)),
    KneeCase("qwen3-32b", "rtx_pro_6000_server", (44.6, 44.7, 47.3, 50.6, 58.7, 89.5)),
)


def step_ms(model: LatencyModel, num_tokens: int) -> float:
    """Milliseconds of a step of one stream that verifies a window."""
    return 1e3 * model.step_s(StepShape(1, num_tokens, 0, CONTEXT + num_tokens))


def knee_table() -> Table:
    """Four rows for each case."""
    table = Table("ms per pass, by tokens", "", *map(str, NUM_TOKENS))
    for case in CASES:
        measured, roofline = case.measured(), case.roofline()
        rows = {
            "products, published": case.published_ms,
            "products": [1e3 * measured.products_s(number) for number in NUM_TOKENS],
            "whole step": [step_ms(measured, number) for number in NUM_TOKENS],
            "whole step, roofline": [step_ms(roofline, number) for number in NUM_TOKENS],
        }
        for number, (kind, values) in enumerate(rows.items()):
            table.add_row("" if number else case.name, kind, *(f"{value:.2f}" for value in values))
        table.add_section()
    return table


def plot(path: Path) -> None:
    """Left: milliseconds per pass. Right: the time relative to a pass of one token."""
    from matplotlib.figure import Figure  # noqa: PLC0415  (an optional extra)

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    token_counts = range(1, NUM_TOKENS[-1] + 1)
    for number, case in enumerate(CASES):
        for model, style in ((case.measured(), "-"), (case.roofline(), ":")):
            steps_ms = [step_ms(model, num_tokens) for num_tokens in token_counts]
            label = case.name if style == "-" else None
            left.semilogy(token_counts, steps_ms, f"C{number}{style}", label=label)
            right.plot(token_counts, [step / steps_ms[0] for step in steps_ms], f"C{number}{style}")
    left.set(xlabel="tokens in the pass", ylabel="ms", title="Time of a pass (dotted: roofline)")
    right.set(xlabel="tokens in the pass", ylabel="relative to a pass of one token", title="The knee")
    left.legend(fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plot", type=Path, help="figure to write (.svg, .png)")
    args = parser.parse_args()
    try:
        Console(width=120).print(knee_table())
        if args.plot:
            plot(args.plot)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
