"""The outcomes as Markdown."""

from collections.abc import Iterable, Sequence

from runs.prediction.calibration import Fit
from runs.prediction.prediction import Outcome, error, is_within
from runs.prediction.served import Figures

HEAD = (
    "| drafters, links | acceptance of | tokens/s | error | time per token p50, ms | error | p99, ms | error "
    "| first token p50, ms | within |"
)


def comparison(outcomes: Sequence[Outcome]) -> str:
    """Live and simulated, a line for each variant."""
    return "\n".join([HEAD, "|---" * 10 + "|", *(line for one in outcomes for line in _lines(one))])


def clients(outcomes: Sequence[Outcome]) -> str:
    """Goodput of every client."""
    lines = ["| drafters, links | tokens/s of each client, live | simulated | largest error |", "|---|---|---|---|"]
    for one in outcomes:
        live, mine = one.live.client_goodputs, one.predicted[0].figures.client_goodputs
        largest = max((error(*pair) for pair in zip(mine, live, strict=True)), key=abs)
        lines.append(f"| {one.setup} | {_rates(live)} | {_rates(mine)} | {largest:+.0%} |")
    return "\n".join(lines)


def causes(outcomes: Sequence[Outcome]) -> str:
    """What went into the figures: live, then simulated."""
    lines = [
        "| drafters, links | tokens per round | acceptance | streams a step | step, ms | verdict to proposal, ms |",
        "|---" * 6 + "|",
    ]
    for one in outcomes:
        mine, live = one.predicted[0], one.live
        pairs = (
            (live.tokens_per_round, mine.figures.tokens_per_round, "{:.2f}"),
            (live.acceptance_rate, mine.figures.acceptance_rate, "{:.2f}"),
            (one.live_means.streams_per_step, mine.means.streams_per_step, "{:.2f}"),
            (1e3 * one.live_means.step_s, 1e3 * mine.means.step_s, "{:.1f}"),
            (1e3 * one.live_means.gap_s, 1e3 * mine.means.gap_s, "{:.1f}"),
        )
        cells = [f"{form.format(seen)} / {form.format(simulated)}" for seen, simulated, form in pairs]
        lines.append(f"| {one.setup} | {' | '.join(cells)} |")
    return "\n".join(lines)


def fitted(fit: Fit) -> str:
    """The machine."""
    machine, live, mine = fit.machine, fit.live, fit.simulated
    microseconds = ", ".join(
        f"{name} {1e6 * getattr(machine, name + '_s'):.0f} us"
        for name in ("batch", "receive", "send", "answer", "tell", "link", "read", "ask", "wake")
    )
    return (
        f"{machine.cores} cores, {machine.engine_threads} engine threads; {microseconds}. Calibration runs, "
        f"live / simulated: verdict to proposal {1e3 * live.gap_s:.2f} / {1e3 * mine.gap_s:.2f} ms, "
        f"first token {1e3 * live.ttft_s:.1f} / {1e3 * mine.ttft_s:.1f} ms."
    )


def _lines(one: Outcome) -> Iterable[str]:
    live = one.live
    spread = f"{live.goodput:.1f} ({min(one.goodputs):.1f}-{max(one.goodputs):.1f})"
    yield (
        f"| {one.setup} | live | {spread} | | {_ms(live.tpot_p50_s)} | | {_ms(live.tpot_p99_s)} | "
        f"| {_ms(live.ttft_p50_s)} | n = {live.num_answers} |"
    )
    for predicted in one.predicted:
        yield f"| | {predicted.variant} | {_simulated(predicted.figures, live)} |"


def _simulated(mine: Figures, live: Figures) -> str:
    parts = [
        f"{mine.goodput:.1f} | {error(mine.goodput, live.goodput):+.1%}",
        f"{_ms(mine.tpot_p50_s)} | {error(mine.tpot_p50_s, live.tpot_p50_s):+.1%}",
        f"{_ms(mine.tpot_p99_s)} | {error(mine.tpot_p99_s, live.tpot_p99_s):+.1%}",
        _ms(mine.ttft_p50_s),
        "yes" if is_within(mine, live) else "no",
    ]
    return " | ".join(parts)


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.1f}"


def _rates(rates: Iterable[float]) -> str:
    return ", ".join(f"{rate:.1f}" for rate in rates)
