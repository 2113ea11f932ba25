"""What `goodspeed tune evaluate` finds of a draft: for JSON, and as a model card for people."""

from dataclasses import dataclass

from goodspeed.cluster.machine import MachineInfo
from goodspeed.engine.drafts import DraftConfig
from goodspeed.stats.ratio_estimate import RatioEstimate
from goodspeed.tuning.evaluate.goodput import Goodput
from goodspeed.tuning.evaluate.quality import WINDOW, WINDOWS, Quality
from goodspeed.tuning.evaluate.reliability import ReliabilityDiagram

UNSEEN = "all that it never learned from"


@dataclass(frozen=True, slots=True)
class ReplayMetrics:
    """Drafting round by round, stopping where confidence ends a draft, as a drafter does."""

    window: int
    min_survival: float
    accepted_per_round: RatioEstimate
    proposed_per_round: RatioEstimate
    drafting_ms_per_token: float
    reliability: ReliabilityDiagram


@dataclass(frozen=True, slots=True)
class DraftReport:
    """One draft on one data set."""

    draft: str
    config: DraftConfig
    target: str
    target_fingerprint: str
    data: str
    """The data set's purpose and size."""
    qualities: list[Quality]
    live: ReplayMetrics | None
    goodput: Goodput | None


@dataclass(frozen=True, slots=True)
class EvaluationReport:
    """What the JSON holds; see docs/evaluate.md."""

    schema: int
    command: list[str]
    machine: MachineInfo
    drafts: list[DraftReport]


def model_card(report: DraftReport, machine: MachineInfo) -> str:
    """In Markdown."""
    parts = [
        f"# Draft `{report.draft}` for {report.target}\n",
        f"Target fingerprint `{report.target_fingerprint}`. Judged on {report.data}. ± is one standard error over "
        "prompts. Accepted per round does not count the target's own token.\n",
        *(_quality(one) for one in report.qualities),
    ]
    if report.live:
        parts.append(_live(report.live))
    if report.goodput:
        parts.append(_goodput(report.goodput, machine))
    parts.append(
        "The text is the target's own, whatever this draft proposes; what it decides is speed. It was judged on "
        "the target's answers to the prompts of this data set, and says nothing of other targets.\n"
    )
    return "\n".join(parts)


def _quality(one: Quality) -> str:
    accepted = [str(one.accepted_per_round[window]) for window in WINDOWS]
    acceptance = [f"{place.value:.2f}" for place in one.acceptance]
    categories = [
        f"| {name} | {part.num_answers} | {part.agreement} | {part.accepted_per_round} |"
        for name, part in [*one.categories.items(), *([(UNSEEN, one.unseen)] if one.unseen else [])]
    ]
    return "\n".join(
        [
            f"## Temperature {one.temperature:g}, {one.rule}\n",
            f"{one.num_answers} answers, {one.num_tokens} tokens. Agreement {one.agreement}; it drafts for "
            f"{one.drafted:.0%} of tokens; calibration error {one.reliability.error:.3f} "
            f"(bias {one.reliability.bias:+.3f}).\n",
            "| window | " + " | ".join(map(str, WINDOWS)) + " |",
            "|---" * (1 + len(WINDOWS)) + "|",
            "| accepted per round | " + " | ".join(accepted) + " |",
            "| accepted at this place | " + " | ".join(acceptance) + " |",
            "",
            f"| category | answers | agreement | accepted per round, window {WINDOW} |",
            "|---|---|---|---|",
            *categories,
            "",
        ]
    )


def _live(live: ReplayMetrics) -> str:
    return (
        "## ReplayedRound by round\n\n"
        f"Window {live.window}, stopped where survival falls below {live.min_survival:g}: "
        f"{live.proposed_per_round} proposed and {live.accepted_per_round} accepted per round, "
        f"{live.drafting_ms_per_token:.3f} ms a draft token, "
        f"calibration error {live.reliability.error:.3f} (bias {live.reliability.bias:+.3f}).\n"
    )


def _goodput(one: Goodput, machine: MachineInfo) -> str:
    return (
        "## Cost and goodput\n\n"
        f"{machine.cpu}, {machine.num_cores} cores; {one.streams} streams in lockstep, window {one.window}, one "
        "process.\n\n"
        f"- A draft token takes {one.draft_ms_per_token:.3f} ms, the target's {one.target_ms_per_token:.2f} ms: "
        f"{one.cost_share:.3f} of it.\n"
        f"- Goodput predicted from step times and acceptance: {one.predicted:.1f} tokens/s, "
        f"{one.predicted_speedup:.2f} times the target alone; measured: {one.measured:.1f} tokens/s, "
        f"{one.speedup:.2f} times.\n"
    )
