"""The results of `goodspeed tune evaluate`: their JSON form, and a model card in Markdown."""

from dataclasses import dataclass

from goodspeed.cluster.machine import MachineInfo
from goodspeed.engine.drafts import DraftConfig
from goodspeed.stats.ratio_estimate import RatioEstimate
from goodspeed.tuning.evaluate.goodput import Goodput
from goodspeed.tuning.evaluate.quality import WINDOW, WINDOWS, Quality
from goodspeed.tuning.evaluate.reliability import ReliabilityDiagram

UNSEEN = "categories outside the training data"


@dataclass(frozen=True, slots=True)
class ReplayMetrics:
    """Results of a replay round by round, in which low confidence ends a draft, as in a drafter."""

    window: int
    min_survival: float
    accepted_per_round: RatioEstimate
    proposed_per_round: RatioEstimate
    drafting_ms_per_token: float
    reliability: ReliabilityDiagram


@dataclass(frozen=True, slots=True)
class DraftReport:
    """The results of one draft on one data set."""

    draft: str
    config: DraftConfig
    target: str
    target_fingerprint: str
    data: str
    """Split and size of the data set."""
    qualities: list[Quality]
    replay: ReplayMetrics | None
    goodput: Goodput | None


@dataclass(frozen=True, slots=True)
class EvaluationReport:
    """The JSON document; see docs/reference/reports.md."""

    schema: int
    command: list[str]
    machine: MachineInfo
    drafts: list[DraftReport]


def model_card(report: DraftReport, machine: MachineInfo) -> str:
    """The model card of a draft, in Markdown."""
    parts = [
        f"# Draft `{report.draft}` for {report.target}\n",
        f"Target fingerprint `{report.target_fingerprint}`. Evaluated on {report.data}. ± is one standard error over "
        "prompts. Accepted per round does not count the target's own token.\n",
        *(_quality(quality) for quality in report.qualities),
    ]
    if report.replay:
        parts.append(_replay(report.replay))
    if report.goodput:
        parts.append(_goodput(report.goodput, machine))
    parts.append(
        "The generated text is the target's own, whatever this draft proposes: the draft affects speed only. These "
        "results hold for this target and the prompts of this data set.\n"
    )
    return "\n".join(parts)


def _quality(quality: Quality) -> str:
    accepted = [str(quality.accepted_per_round[window]) for window in WINDOWS]
    acceptance = [f"{rate.value:.2f}" for rate in quality.acceptance]
    categories = [
        f"| {name} | {part.num_answers} | {part.agreement} | {part.accepted_per_round} |"
        for name, part in [*quality.categories.items(), *([(UNSEEN, quality.unseen)] if quality.unseen else [])]
    ]
    return "\n".join(
        [
            f"## Temperature {quality.temperature:g}, {quality.rule}\n",
            f"{quality.num_answers} answers, {quality.num_tokens} tokens. Agreement {quality.agreement}; drafted "
            f"{quality.drafted:.0%} of tokens; calibration error {quality.reliability.error:.3f} "
            f"(bias {quality.reliability.bias:+.3f}).\n",
            "| window | " + " | ".join(map(str, WINDOWS)) + " |",
            "|---" * (1 + len(WINDOWS)) + "|",
            "| accepted per round | " + " | ".join(accepted) + " |",
            "| acceptance at this position | " + " | ".join(acceptance) + " |",
            "",
            f"| category | answers | agreement | accepted per round, window {WINDOW} |",
            "|---|---|---|---|",
            *categories,
            "",
        ]
    )


def _replay(replay: ReplayMetrics) -> str:
    return (
        "## Round by round\n\n"
        f"Window {replay.window}, drafts end where survival falls below {replay.min_survival:g}: "
        f"{replay.proposed_per_round} proposed and {replay.accepted_per_round} accepted per round, "
        f"{replay.drafting_ms_per_token:.3f} ms a draft token, "
        f"calibration error {replay.reliability.error:.3f} (bias {replay.reliability.bias:+.3f}).\n"
    )


def _goodput(goodput: Goodput, machine: MachineInfo) -> str:
    return (
        "## Cost and goodput\n\n"
        f"{machine.cpu}, {machine.num_cores} cores; {goodput.streams} streams in lockstep, window {goodput.window}, "
        "one process.\n\n"
        f"- A draft token takes {goodput.draft_ms_per_token:.3f} ms, a token of the target "
        f"{goodput.target_ms_per_token:.2f} ms: "
        f"{goodput.cost_share:.3f} of it.\n"
        f"- Goodput predicted from step times and acceptance: {goodput.predicted:.1f} tokens/s, "
        f"{goodput.predicted_speedup:.2f} times the target-only baseline; measured: {goodput.measured:.1f} tokens/s, "
        f"{goodput.speedup:.2f} times.\n"
    )
