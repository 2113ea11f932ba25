"""The figures of the page, and the changes that it lists, from what servers report."""

from dataclasses import dataclass, field

import pytest

from goodspeed.dashboard.happenings import happenings
from goodspeed.dashboard.overview import Overview, overview
from goodspeed.dashboard.samples import History, Sample

VERIFIER = "http://verifier:7701"


def verifier(at_s: float, committed: int, **more: float) -> Sample:
    values = {
        "goodspeed_rounds_total": committed / 2,
        "goodspeed_committed_tokens_total": committed,
        "goodspeed_verified_tokens_total": committed / 2,
        "goodspeed_accepted_tokens_total": committed / 4,
        "goodspeed_sent_bytes_total": 10 * committed,
        "goodspeed_received_bytes_total": 20 * committed,
        "goodspeed_baseline_seconds_total": 3 * at_s,
        "goodspeed_answer_seconds_total": 2 * at_s,
        "goodspeed_grant": 4,
    }
    lines = [f'{name}{{client="laptop"}} {value}' for name, value in values.items()]
    lines += [f'goodspeed_rounds_by_mode_total{{client="laptop",mode="remote"}} {committed / 4}']
    lines += [f'goodspeed_batches_total{{closed_by="{reason}"}} {committed}' for reason in ("at_once", "arrived")]
    lines += [f"{name} {value}" for name, value in more.items()]
    return Sample.parse("\n".join(lines) + "\n", at_s)


def drafter(at_s: float, is_up: int = 1, draft: str = "hybrid") -> Sample:
    return Sample.parse(
        f'goodspeed_drafter_verifier_up{{verifier="v:7700"}} {is_up}\n'
        'goodspeed_drafter_verifier_rtt_seconds{verifier="v:7700"} 0.02\n'
        'goodspeed_drafter_verifier_rtt_jitter_seconds{verifier="v:7700"} 0.003\n'
        f'goodspeed_drafter_draft{{draft="{draft}"}} 1\n',
        at_s,
    )


@dataclass
class Seen:
    """The histories of one verifier and one drafter."""

    verifier: History = field(default_factory=History)
    drafter: History = field(default_factory=History)

    def overview(self, at_s: float) -> Overview:
        return overview(at_s, {VERIFIER: self.verifier}, {"laptop": self.drafter})


def test_figures_of_a_client_are_those_of_the_last_minute() -> None:
    seen = Seen()
    seen.drafter.add(drafter(10.0))
    for at_s, committed in ((0.0, 100), (8.0, 180), (10.0, 220)):
        seen.verifier.add(verifier(at_s, committed))
    (client,) = seen.overview(10.0).clients
    assert (client.name, client.goodput, client.tokens_per_s) == ("laptop", 12.0, 20.0)
    assert (client.acceptance, client.bytes_per_token, client.speedup, client.grant) == (0.5, 30.0, 1.5, 4)
    assert client.modes == {"remote": 30, "co_located": 0, "target_only": 0}
    assert client.drafter is not None
    assert (client.drafter.rtt_s, client.drafter.jitter_s) == (0.02, 0.003)
    assert (client.drafter.draft, client.drafter.is_linked) == ("hybrid", True)


def test_figures_of_a_verifier() -> None:
    seen = Seen()
    for at_s in (0.0, 4.0):
        steps = {"goodspeed_verify_seconds_count": 10 * at_s, "goodspeed_verify_seconds_sum": 0.5 * at_s}
        steps |= {"goodspeed_queue_seconds_count": 5 * at_s, "goodspeed_queue_seconds_sum": 0.1 * at_s}
        seen.verifier.add(
            verifier(at_s, int(at_s), **steps, goodspeed_kv_used_tokens=30, goodspeed_kv_capacity_tokens=40)
        )
    (figures,) = seen.overview(4.0).verifiers
    assert (figures.steps_per_s, figures.step_s, figures.busy) == (10.0, 0.05, 0.5)
    assert (figures.kv_used, figures.kv_capacity, figures.is_up) == (30, 40, True)
    assert figures.queue_s == pytest.approx(0.02)
    assert figures.closed_by == {"at_once": 4, "arrived": 4}


def test_idle_client_has_no_ratios() -> None:
    seen = Seen()
    for at_s in (0.0, 1.0):
        seen.verifier.add(verifier(at_s, 100))
    (client,) = seen.overview(1.0).clients
    assert (client.goodput, client.acceptance, client.bytes_per_token, client.drafter) == (0.0, None, None, None)
    assert seen.overview(1.0).fairness is None


def test_server_that_does_not_answer_is_down() -> None:
    assert [(figures.url, figures.is_up) for figures in Seen().overview(0.0).verifiers] == [(VERIFIER, False)]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (None, drafter(1.0), "the drafter of laptop answers"),
        (drafter(0.0), None, "the drafter of laptop does not answer"),
        (drafter(0.0), drafter(1.0, is_up=0), "laptop has lost its link"),
        (drafter(0.0, is_up=0), drafter(1.0), "laptop has a link again"),
        (drafter(0.0), drafter(1.0, draft="lookup"), "laptop drafts with lookup, before with hybrid"),
    ],
)
def test_changes_of_a_drafter_are_listed(before: Sample | None, after: Sample | None, expected: str) -> None:
    seen, overviews = Seen(), []
    for at_s, sample in enumerate((before, after)):
        seen.verifier.add(verifier(at_s, 10))
        seen.drafter.clear()
        if sample:
            seen.drafter.add(sample)
        overviews.append(seen.overview(at_s))
    assert [happening.text for happening in happenings(*overviews)] == [expected]


def test_joining_and_waiting_are_listed_and_nothing_else() -> None:
    seen = Seen()
    nothing = seen.overview(0.0)
    seen.verifier.add(verifier(1.0, 10))
    first = seen.overview(1.0)
    seen.verifier.add(verifier(2.0, 10, goodspeed_queued_streams=2))
    waiting = seen.overview(2.0)
    assert [each.text for each in happenings(nothing, first)] == [
        f"verifier {VERIFIER} answers",
        f"laptop joined {VERIFIER}",
    ]
    assert [each.text for each in happenings(first, waiting)] == [f"streams wait for memory of {VERIFIER}"]
    assert happenings(waiting, waiting) == []
