"""The figures of the live page: what each verifier and each client did in the last minute.

Times are in seconds and rates per second unless a name says otherwise; the page formats them.
"""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from goodspeed.dashboard.samples import History, Sample
from goodspeed.stats.summary import jain_index

RECENT_S = 5.0
"""Span of the figures that the charts show."""
MODES = ("remote", "co_located", "target_only")
VERIFIED = ("goodspeed_verified_tokens_total", "goodspeed_co_located_tokens_total")
LINK_IS_UP = "goodspeed_drafter_verifier_up"
LINK_RTT = "goodspeed_drafter_verifier_rtt_seconds"
LINK_JITTER = "goodspeed_drafter_verifier_rtt_jitter_seconds"
DRAFT = "goodspeed_drafter_draft"
DRAFTER_METRICS = (LINK_IS_UP, LINK_RTT, LINK_JITTER, DRAFT)
"""All that the page needs of a drafter's metrics."""


class VerifierFigures(Struct, frozen=True):
    """One verifier."""

    url: str
    is_up: bool
    num_open: int = 0
    num_queued: int = 0
    kv_used: int = 0  # tokens
    kv_capacity: int = 0
    steps_per_s: float = 0.0
    step_s: float | None = None
    streams_per_step: float | None = None
    tokens_per_step: float | None = None
    queue_s: float | None = None
    """Mean time that a stream waited for its step."""
    closed_by: dict[str, int] = {}
    """Batches of the last minute, by why they closed."""
    busy: float = 0.0
    """Share of the time in which a step ran."""
    cached: float | None = None
    """Share of the tokens of opened streams that the prefix cache had."""


class DrafterFigures(Struct, frozen=True):
    """What only the drafter of a client knows."""

    is_linked: bool
    """Whether it has a link to a verifier."""
    rtt_s: float | None
    jitter_s: float | None
    draft: str
    """Its draft engine."""


class ClientFigures(Struct, frozen=True):
    """One client at one verifier."""

    name: str
    verifier: str
    tokens_per_s: float  # in the last seconds
    goodput: float  # in the last minute
    verified_per_s: float
    """Draft tokens of this client, proposed or the verifier's own, that steps have verified in the last seconds."""
    modes: dict[str, int]
    """Rounds of the last minute."""
    grant: int
    acceptance: float | None = None
    proposed_per_round: float | None = None
    bytes_per_token: float | None = None
    speedup: float | None = None
    """Estimated target-only time of the answers that ended in the last minute, by their time."""
    drafter: DrafterFigures | None = None
    """None: the page does not read this drafter, or cannot reach it."""


class Overview(Struct, frozen=True):
    """One refresh of the page."""

    at_s: float
    verifiers: Sequence[VerifierFigures]
    clients: Sequence[ClientFigures]
    tokens_per_s: float
    fairness: float | None
    """Jain's index of the goodputs of clients that had any."""


def overview(at_s: float, verifiers: Mapping[str, History], drafters: Mapping[str, History]) -> Overview:
    """The figures at this time. `verifiers` are by URL, `drafters` by client name; one that is down has no samples."""
    clients = [
        _client(name, url, history, drafters.get(name))
        for url, history in verifiers.items()
        if history.latest
        for name in history.latest.label_values("goodspeed_rounds_total", "client")
    ]
    goodputs = [client.goodput for client in clients if client.goodput > 0]
    return Overview(
        at_s,
        [_verifier(url, history) for url, history in verifiers.items()],
        clients,
        sum(client.tokens_per_s for client in clients),
        jain_index(goodputs) if goodputs else None,
    )


def _verifier(url: str, history: History) -> VerifierFigures:
    latest = history.latest
    if latest is None:
        return VerifierFigures(url, is_up=False)
    return VerifierFigures(
        url,
        is_up=True,
        num_open=int(latest.get("goodspeed_open_streams")),
        num_queued=int(latest.get("goodspeed_queued_streams")),
        kv_used=int(latest.get("goodspeed_kv_used_tokens")),
        kv_capacity=int(latest.get("goodspeed_kv_capacity_tokens")),
        steps_per_s=history.rate("goodspeed_verify_seconds_count", RECENT_S),
        step_s=history.ratio("goodspeed_verify_seconds_sum", "goodspeed_verify_seconds_count", RECENT_S),
        streams_per_step=history.ratio("goodspeed_batch_streams_sum", "goodspeed_batch_streams_count", RECENT_S),
        tokens_per_step=history.ratio("goodspeed_batch_tokens_sum", "goodspeed_batch_tokens_count", RECENT_S),
        queue_s=history.ratio("goodspeed_queue_seconds_sum", "goodspeed_queue_seconds_count", RECENT_S),
        closed_by={
            reason: int(history.growth("goodspeed_batches_total", closed_by=reason))
            for reason in latest.label_values("goodspeed_batches_total", "closed_by")
        },
        busy=min(1.0, history.rate("goodspeed_verify_seconds_sum", RECENT_S)),
        cached=history.ratio("goodspeed_prefix_cache_hit_tokens_total", "goodspeed_prefix_cache_queried_tokens_total"),
    )


def _client(name: str, url: str, history: History, drafter: History | None) -> ClientFigures:
    assert history.latest is not None
    committed = "goodspeed_committed_tokens_total"
    num_tokens = history.growth(committed, client=name)
    traffic = sum(history.growth(f"goodspeed_{way}_bytes_total", client=name) for way in ("received", "sent"))
    verified = sum(history.growth(counter, client=name) for counter in VERIFIED)
    accepted = sum(
        history.growth(f"goodspeed_{kind}accepted_tokens_total", client=name) for kind in ("", "co_located_")
    )
    modes = {mode: int(history.growth("goodspeed_rounds_by_mode_total", client=name, mode=mode)) for mode in MODES}
    proposed = history.growth("goodspeed_proposed_tokens_total", client=name)
    return ClientFigures(
        name,
        url,
        tokens_per_s=history.rate(committed, RECENT_S, client=name),
        goodput=history.rate(committed, client=name),
        verified_per_s=sum(history.rate(counter, RECENT_S, client=name) for counter in VERIFIED),
        modes=modes,
        grant=int(history.latest.get("goodspeed_grant", client=name)),
        acceptance=accepted / verified if verified > 0 else None,
        proposed_per_round=proposed / modes["remote"] if modes["remote"] else None,
        bytes_per_token=traffic / num_tokens if num_tokens > 0 else None,
        speedup=history.ratio("goodspeed_baseline_seconds_total", "goodspeed_answer_seconds_total", client=name),
        drafter=_drafter(drafter.latest) if drafter and drafter.latest else None,
    )


def _drafter(latest: Sample) -> DrafterFigures:
    verifiers = latest.label_values(LINK_IS_UP, "verifier")
    linked = [verifier for verifier in verifiers if latest.get(LINK_IS_UP, verifier=verifier)]
    rtt_s, jitter_s = max(
        (
            (
                latest.get(LINK_RTT, verifier=verifier),
                latest.get(LINK_JITTER, verifier=verifier),
            )
            for verifier in linked
        ),
        default=(0.0, 0.0),
    )
    drafts = latest.label_values(DRAFT, "draft")
    return DrafterFigures(bool(linked), rtt_s or None, jitter_s or None, drafts[0] if drafts else "")
