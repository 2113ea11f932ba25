"""Results of a capacity search as rows of text, and the HTML report of `goodspeed capacity`."""

import math
from collections.abc import Sequence

from goodspeed.experiment import html_page as page
from goodspeed.experiment.capacity_summary import ArmCapacity, BesideFirst
from goodspeed.experiment.chart import Chart, Series
from goodspeed.experiment.run_report import ReportHeader, settings_table
from goodspeed.experiment.slo import Slo
from goodspeed.experiment.tables import Rows, number

HEADERS = (
    *("arm", "clients", "beside first", "limited by", "tokens/s", "goodput, geometric mean", "Jain's index"),
    *("goodput beside first", "poorest tier beside first"),
)
CURVE_HEADERS = ("arm", "clients", "seeds", "good answers, %", "lowest", "highest", "tokens/s")
METHOD = (
    "Clients: the largest number of which the SLO is kept, mean over seeds with a 95% confidence interval. Under a "
    "seed all arms have the same clients, requests, acceptance and link delays. Tokens per second, goodput "
    "and Jain's index: with as many clients as the arm serves. Beside first: with as many clients as the first arm "
    "serves, then, for the poorest tier, each arm with its own number. Goodput is tokens per second of answer time."
)


def capacity_rows(arms: Sequence[ArmCapacity]) -> Rows:
    """One row per arm."""
    return [
        [
            arm.name,
            _clients(arm),
            _ratio(arm.beside_first) if arm is not arms[0] else "",
            _binding(arm),
            *(_loads(arm)),
            *(_beside(arm.beside_first) if arm is not arms[0] else ("", "")),
        ]
        for arm in arms
    ]


def curve_rows(arms: Sequence[ArmCapacity]) -> Rows:
    """One row per arm and number of clients."""
    return [
        [
            arm.name,
            str(point.num_clients),
            str(point.num_seeds),
            *(f"{100 * share:.1f}" for share in (point.good_share, point.lowest, point.highest)),
            number(point.tokens_per_s),
        ]
        for arm in arms
        for point in arm.curve
    ]


def remarks(arms: Sequence[ArmCapacity]) -> list[str]:
    """What a reader must know beside the table."""
    found = []
    for arm in arms:
        for seed, result in arm.by_seed.items():
            if result.met_beyond is not None:
                found.append(
                    f"{arm.name}, seed {seed}: not monotone: {result.first_failing} clients fail and "
                    f"{result.met_beyond} are served; simulate longer (--until-s) for less noise"
                )
        if arm.is_at_max:
            found.append(f"{arm.name}: the highest number that was tried is served; try more with --max-clients")
        if not arm.clients.mean:
            found.append(f"{arm.name}: even the lowest number of clients breaks the SLO, so load is not the cause")
    return found


def capacity_report(header: ReportHeader, slo: Slo, arms: Sequence[ArmCapacity]) -> str:
    """The report as HTML."""
    curve = Chart(
        title="Answers within the SLO",
        x_label="clients",
        y_label="%",
        series=tuple(
            Series(
                arm.name,
                [point.num_clients for point in arm.curve],
                [100 * point.good_share for point in arm.curve],
                [100 * point.lowest for point in arm.curve],
                [100 * point.highest for point in arm.curve],
            )
            for arm in arms
        ),
    )
    return page.page(
        f"Capacity of {header.name}",
        [
            page.paragraph(f"SLO: {slo.name}. Command: {header.command}"),
            page.section("Clients served", page.table(HEADERS, capacity_rows(arms)), page.paragraph(METHOD)),
            *map(page.paragraph, remarks(arms)),
            page.section("By number of clients", page.charts(curve), page.table(CURVE_HEADERS, curve_rows(arms))),
            page.section("Scenario", settings_table(header.settings)),
        ],
    )


def _clients(arm: ArmCapacity) -> str:
    at_least = "at least " if arm.is_at_max else ""
    half = arm.clients.high - arm.clients.mean
    return f"{at_least}{arm.clients.mean:.0f} {f'± {half:.0f}' if math.isfinite(half) else 'one seed'}"


def _ratio(beside: BesideFirst | None) -> str:
    if beside is None or beside.clients is None:
        return "-"
    clients = beside.clients
    spread = f" ({clients.low:.2f}-{clients.high:.2f})" if math.isfinite(clients.high) else ""
    return f"{clients.mean:.2f}{spread}"


def _binding(arm: ArmCapacity) -> str:
    binding = arm.binding
    if not binding.poorest_tier:
        return binding.constraint
    return f"{binding.constraint}: {binding.poorest_tier}{' alone' if binding.is_poorest_alone else ''}"


def _loads(arm: ArmCapacity) -> tuple[str, str, str]:
    found = arm.at_capacity
    if found is None:
        return "-", "-", "-"
    return number(found.tokens_per_s), number(found.geometric_mean), f"{found.jain_index:.3f}"


def _beside(beside: BesideFirst | None) -> tuple[str, str]:
    if beside is None:
        return "-", "-"
    own = "-" if beside.poorest_at_own is None else f"{beside.poorest_at_own:.2f}"
    return f"{beside.geometric_mean:.2f}", f"{beside.poorest:.2f} ({beside.poorest_tier}), {own}"
