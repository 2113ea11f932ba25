"""A comparison as a text table with one column per arm."""

import math
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.table import Table

from goodspeed.bench.comparison import BASELINE
from goodspeed.bench.report import ArmMetrics, ArmReport, Latency
from goodspeed.stats.summary import Spread

TITLES = {
    "fixed": "fixed split",
    "random": "random split",
    "gradient": "per round",
    "time_aware": "GoodSpeed",
}
WIDTH = 120
CAPTION = (
    r"\[1] share of the streams' time: drafting, verifier's queue, verification, other (network, prefill, waiting for "
    r"a core)  \[2] of verifier, drafters, load generator  \[3] from the baseline's answer to the same prompt  "
    r"\[4] tokens per round, as in the paper: the optimum for the acceptance and budget of this run  "
    r"\[5] remote/co-located/target-only"
)

CellText = Callable[[ArmReport], str]


def comparison_table(arms: Sequence[ArmReport]) -> Table:
    """Medians over repetitions, followed by (min-max) if there are several."""
    repetitions = len(arms[0].total.goodput.values)
    title = f"{repetitions} repetitions: median (min-max)" if repetitions > 1 else "1 repetition"
    table = Table("", *(title_of(arm.name) for arm in arms), title=title, caption=CAPTION, caption_justify="left")
    for name, cell in _rows(arms):
        table.add_row(name, *(cell(arm) for arm in arms))
    return table


def wide_console(*, stderr: bool = False) -> Console:
    """A console wide enough for four arms; a terminal keeps its own width."""
    console = Console(stderr=stderr)
    return console if console.is_terminal else Console(stderr=stderr, width=WIDTH)


def title_of(arm: str) -> str:
    """The displayed name of an arm."""
    return TITLES.get(arm, arm)


def _rows(arms: Sequence[ArmReport]) -> list[tuple[str, CellText]]:
    clients = list(arms[0].clients)
    has_optima = any(arm.optimum for arm in arms)
    return [
        ("goodput, tokens/s", lambda arm: _spread(arm.total.goodput, 1)),
        ("  speed-up over target-only", _speed_up),
        ("  ... as verifiers estimate", _estimated_speed_up),
        *((f"  {client}", _client_goodput(client)) for client in clients),
        ("Jain's index", lambda arm: _spread(arm.jain_index, 3)),
        ("sum of log goodput", lambda arm: _spread(arm.sum_log_goodput, 2)),
        ("acceptance", lambda arm: _number(arm.total.acceptance_rate, 3)),
        *((f"  {client}", _client_acceptance(client)) for client in clients),
        (r"rounds by mode, % \[5]", lambda arm: _rounds_by_mode(arm.total)),
        *((f"  {client}", _client_rounds_by_mode(client)) for client in clients),
        ("co-located acceptance", lambda arm: _number(arm.total.co_located_acceptance_rate, 3)),
        ("tokens per round", lambda arm: _number(arm.total.mean_acceptance_length, 2)),
        *((rf"  {client}; optimum \[4]", _client_rounds(client)) for client in clients if has_optima),
        *(_OPTIMUM_ROWS if has_optima else ()),
        ("first token, ms, p50/p99", lambda arm: _milliseconds(arm.total.ttft_s)),
        ("per token, ms, p50/p99", lambda arm: _milliseconds(arm.total.time_per_token_s)),
        (r"time, % \[1]", _time_shares),
        (r"CPU ms per token \[2]", _cpu),
        ("bytes per token", lambda arm: _number(arm.total.bytes_per_token, 1)),
        (r"texts that differ \[3]", _differing),
    ]


def _utility_gap(arm: ArmReport) -> str:
    return _spread(arm.optimum.utility_gap, 3) if arm.optimum else "-"


def _distance(arm: ArmReport) -> str:
    return _spread(arm.optimum.distance, 2) if arm.optimum else "-"


_OPTIMUM_ROWS: tuple[tuple[str, CellText], ...] = (
    (r"  utility below the optimum \[4]", _utility_gap),
    (r"  distance from the optimum \[4]", _distance),
)


def _client_rounds(client: str) -> CellText:
    def cell(arm: ArmReport) -> str:
        if arm.optimum is None:
            return "-"
        return f"{_number(arm.optimum.goodput_per_round[client].median, 2)}; {_number(arm.optimum.best[client], 2)}"

    return cell


def _speed_up(arm: ArmReport) -> str:
    if arm.speed_up:
        return _spread(arm.speed_up, 2, "x")
    return "1" if arm.name == BASELINE else "-"


def _estimated_speed_up(arm: ArmReport) -> str:
    speed_up = arm.total.estimated_speed_up
    return f"{speed_up:.2f}x" if math.isfinite(speed_up) else "-"


def _client_goodput(client: str) -> CellText:
    return lambda arm: _spread(arm.clients[client].goodput, 1)


def _client_acceptance(client: str) -> CellText:
    return lambda arm: _number(arm.clients[client].acceptance_rate, 3)


def _rounds_by_mode(metrics: ArmMetrics) -> str:
    shares = metrics.rounds_by_mode
    return "/".join(_number(100.0 * share, 0) for share in (shares.remote, shares.co_located, shares.target_only))


def _client_rounds_by_mode(client: str) -> CellText:
    return lambda arm: _rounds_by_mode(arm.clients[client])


def _time_shares(arm: ArmReport) -> str:
    shares = arm.total.time_shares
    return "/".join(_number(100 * share, 0) for share in (shares.drafting, shares.queue, shares.verify, shares.other))


def _cpu(arm: ArmReport) -> str:
    cpu = arm.cpu_s_per_token
    return "/".join(_number(1e3 * seconds, 1) for seconds in (cpu.verifier, cpu.drafters, cpu.load))


def _differing(arm: ArmReport) -> str:
    if arm.num_differing_texts is None:
        return "-"
    colour = "red" if arm.num_differing_texts else "green"
    return f"[{colour}]{arm.num_differing_texts} of {arm.total.num_answers}[/{colour}]"


def _spread(metric: Spread, digits: int, unit: str = "") -> str:
    median = _number(metric.median, digits) + unit
    if len(metric.values) == 1:
        return median
    return f"{median} ({_number(metric.min, digits)}-{_number(metric.max, digits)})"


def _milliseconds(latency: Latency) -> str:
    return f"{_number(1e3 * latency.p50, 1)}/{_number(1e3 * latency.p99, 1)}"


def _number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else "-"
