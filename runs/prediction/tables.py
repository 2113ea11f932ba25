"""The results as Markdown tables."""

from collections.abc import Iterable, Sequence

from runs.prediction.calibration import CalibrationFit
from runs.prediction.outcome import PredictionOutcome, error, is_within
from runs.prediction.served_answer import ServedMetrics

HEAD = (
    "| drafters, links | acceptance of | tokens/s | error | time per token p50, ms | error | p99, ms | error "
    "| first token p50, ms | within |"
)


def comparison(outcomes: Sequence[PredictionOutcome]) -> str:
    """Live and simulated metrics, one line for each variant."""
    return "\n".join([HEAD, "|---" * 10 + "|", *(line for outcome in outcomes for line in _lines(outcome))])


def clients(outcomes: Sequence[PredictionOutcome]) -> str:
    """Goodput of every client."""
    lines = ["| drafters, links | tokens/s of each client, live | simulated | largest error |", "|---|---|---|---|"]
    for outcome in outcomes:
        live, simulated = outcome.live.client_goodputs, outcome.predicted[0].metrics.client_goodputs
        largest = max((error(*pair) for pair in zip(simulated, live, strict=True)), key=abs)
        lines.append(f"| {outcome.setup} | {_rates(live)} | {_rates(simulated)} | {largest:+.0%} |")
    return "\n".join(lines)


def causes(outcomes: Sequence[PredictionOutcome]) -> str:
    """The causes of the metrics: live, then simulated."""
    lines = [
        "| drafters, links | tokens per round | acceptance | streams per step | step, ms | verdict to proposal, ms |",
        "|---" * 6 + "|",
    ]
    for outcome in outcomes:
        simulated, live = outcome.predicted[0], outcome.live
        pairs = (
            (live.tokens_per_round, simulated.metrics.tokens_per_round, "{:.2f}"),
            (live.acceptance_rate, simulated.metrics.acceptance_rate, "{:.2f}"),
            (outcome.live_means.streams_per_step, simulated.means.streams_per_step, "{:.2f}"),
            (1e3 * outcome.live_means.step_s, 1e3 * simulated.means.step_s, "{:.1f}"),
            (1e3 * outcome.live_means.mean_network_s, 1e3 * simulated.means.mean_network_s, "{:.1f}"),
        )
        cells = [f"{form.format(measured)} / {form.format(simulated)}" for measured, simulated, form in pairs]
        lines.append(f"| {outcome.setup} | {' | '.join(cells)} |")
    return "\n".join(lines)


def fitted(fit: CalibrationFit) -> str:
    """The fitted machine and its means."""
    machine, live, simulated = fit.machine, fit.live, fit.simulated
    microseconds = ", ".join(
        f"{name} {1e6 * getattr(machine, name + '_s'):.0f} us"
        for name in ("batch", "receive", "send", "reply", "deliver", "link", "read", "request", "idle_penalty")
    )
    return (
        f"{machine.cores} cores, {machine.engine_threads} engine threads; {microseconds}. Calibration runs, "
        f"live / simulated: verdict to proposal {1e3 * live.mean_network_s:.2f} / "
        f"{1e3 * simulated.mean_network_s:.2f} ms, "
        f"first token {1e3 * live.ttft_s:.1f} / {1e3 * simulated.ttft_s:.1f} ms."
    )


def _lines(outcome: PredictionOutcome) -> Iterable[str]:
    live = outcome.live
    spread = f"{live.goodput:.1f} ({min(outcome.goodputs):.1f}-{max(outcome.goodputs):.1f})"
    yield (
        f"| {outcome.setup} | live | {spread} | | {_ms(live.tpot_p50_s)} | | {_ms(live.tpot_p99_s)} | "
        f"| {_ms(live.ttft_p50_s)} | n = {live.num_answers} |"
    )
    for predicted in outcome.predicted:
        yield f"| | {predicted.variant} | {_simulated(predicted.metrics, live)} |"


def _simulated(simulated: ServedMetrics, live: ServedMetrics) -> str:
    parts = [
        f"{simulated.goodput:.1f} | {error(simulated.goodput, live.goodput):+.1%}",
        f"{_ms(simulated.tpot_p50_s)} | {error(simulated.tpot_p50_s, live.tpot_p50_s):+.1%}",
        f"{_ms(simulated.tpot_p99_s)} | {error(simulated.tpot_p99_s, live.tpot_p99_s):+.1%}",
        _ms(simulated.ttft_p50_s),
        "yes" if is_within(simulated, live) else "no",
    ]
    return " | ".join(parts)


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.1f}"


def _rates(rates: Iterable[float]) -> str:
    return ", ".join(f"{rate:.1f}" for rate in rates)
