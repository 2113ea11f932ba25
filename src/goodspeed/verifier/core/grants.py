"""Allocates the budget to clients by the scheduler, and the grant of a client to its streams; and shadow drafts."""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from goodspeed.decoding.draft import StreamKey
from goodspeed.scheduling.exploration import SHADOW_TOKENS
from goodspeed.scheduling.marginals import log_survival
from goodspeed.scheduling.policies import COUNTS_TIME, PER_BATCH, SCHEDULERS
from goodspeed.scheduling.proportional_shares import ProportionalShare, fill
from goodspeed.scheduling.scheduler import Budget, ClientView
from goodspeed.scheduling.time_aware import num_useful
from goodspeed.verifier.core.client import Client
from goodspeed.verifier.core.core_config import VerifierCoreConfig
from goodspeed.verifier.core.draft_budget import DraftBudget
from goodspeed.verifier.core.served_streams import ServedStream
from goodspeed.verifier.core.timing.step_time import StepTimeModel


class LocalTimes(NamedTuple):
    """What local rounds take."""

    num_streams: int = 0
    """Streams of all clients that a step verifies if none is waited for; at least those that draft count."""
    round_s: float | None = None
    """As Budget.local_round_s."""
    co_located_token_s: float = 0.0
    """As Budget.co_located_token_s."""
    least_value: float = 0.0
    """As Budget.least_value."""


class GrantAllocator:
    """Owns the scheduler and its random generator."""

    def __init__(self, config: VerifierCoreConfig, budget: DraftBudget) -> None:
        self._budget = budget
        self._overcommit = config.overcommit
        self.is_per_batch = config.scheduler in PER_BATCH
        """True if the scheduler allocates to the recipients of the present verdicts only."""
        self._is_barrier = config.batching == "barrier"
        self.counts_time = config.scheduler in COUNTS_TIME
        """True if the scheduler divides time, and can tell what a token costs others."""
        self._scheduler = SCHEDULERS[config.scheduler]()
        self._views: dict[Client, ClientView] = {}  # of the latest allocation, as are the limits
        self._limits = Budget(0)
        self._rng = np.random.default_rng(config.seed)

    def allocate(
        self,
        active: Mapping[Client, Sequence[ServedStream]],  # streams that draft, by client; per batch: of recipients
        recipients: Collection[Client],  # the clients whose verdicts are made now
        step_time: StepTimeModel,
        local: LocalTimes | None = None,  # None: not known
    ) -> dict[StreamKey, int]:
        """The grants of the clients' streams. Sets the clients' grants, whose sum is at most budget * overcommit."""
        clients = [client for client in active if client in recipients or not self.is_per_batch]
        caps = [
            min(client.config.cap, sum([stream.protocol.max_grant for stream in active[client]])) for client in clients
        ]
        num_streams, local = sum(len(active[client]) for client in clients), local or LocalTimes()
        num_served = max(num_streams, local.num_streams)
        num_tokens = int(self._budget.granted(num_streams, step_time) * self._overcommit)
        views = [view_client(client, len(active[client]), cap) for client, cap in zip(clients, caps, strict=True)]
        self._views = dict(zip(clients, views, strict=True))
        self._limits = Budget(
            tokens=num_tokens,
            step_s=step_time.predict(num_served, num_served),  # without drafts, every stream has one token
            token_s=step_time.token_s,
            local_round_s=local.round_s,
            co_located_token_s=local.co_located_token_s,
            least_value=local.least_value,
            is_barrier=self._is_barrier,
        )
        client_grants = self._scheduler.grants(views, self._limits, self._rng)
        grants: dict[StreamKey, int] = {}
        for client, grant in zip(clients, client_grants, strict=True):
            client.grant = grant
            if client in recipients:
                client.shadow_schedule.on_round(grant)
            grants.update(_split(client, active[client]))
        return grants

    def shadow_tokens(self, stream: ServedStream) -> int:
        """Length of the shadow draft that the verdict of a stream shall ask for; 0: none.

        Must be called after `allocate`, for streams with a grant of 0 whose verdicts are made now.
        """
        client, view = stream.client, self._views.get(stream.client)
        if view is None or not view.max_grant or client.grant:
            return 0
        if stream.protocol.never_proposes or stream.shadows.is_awaited or not client.shadow_schedule.is_due:
            return 0
        num_streams = view.num_streams
        needed = num_useful(view, self._limits) if self.counts_time else num_streams
        chance = 0.0 if needed is None else math.exp(log_survival(view, needed))
        is_asked = client.shadow_schedule.ask(needed and -(-needed // num_streams), chance)
        return SHADOW_TOKENS if is_asked else 0


def view_client(client: Client, num_streams: int, cap: int) -> ClientView:
    """What the scheduler sees of a client with n streams that can use `cap` tokens.

    The client's j-th token is the j/n-th token of each stream: its survival curve repeats each value n times, and its
    acceptance rate is a^(1/n). Its goodput is the sum over its streams. A token delays each stream by the n-th part of
    the drafting time of a token.
    """
    estimator, timing, config = client.estimator, client.timing, client.config
    return ClientView(
        acceptance_rate=estimator.acceptance_rate ** (1.0 / num_streams),
        goodput=estimator.goodput * num_streams,
        weight=client.weight,
        max_grant=cap,
        min_grant=min(config.floor, cap),
        survival=_interleaved(estimator.survival, num_streams),
        network_s=timing.network_s,
        drafting_s=timing.drafting_s / num_streams,
        verify_s=timing.verify_s,
        grant_utilisation=timing.grant_utilisation,
        num_streams=num_streams,
        co_batched_weight=timing.co_batched_weight,
        co_located_survival=client.co_located.survival,
        co_located_drafted=client.co_located.drafted,
    )


def _interleaved(survival: Sequence[float], num_streams: int) -> Sequence[float]:
    """The survival curve of n streams that take turns."""
    return survival if num_streams == 1 else [chance for chance in survival for _ in range(num_streams)]


def _split(client: Client, streams: Sequence[ServedStream]) -> dict[StreamKey, int]:
    """Equal parts, cut to what each stream can use; the remainder goes to different streams in every round."""
    if len(streams) == 1:
        return {streams[0].key: client.grant}
    shares = [ProportionalShare(rate=1.0, floor=0, cap=stream.protocol.max_grant) for stream in streams]
    grants = fill(shares, client.grant, first=client.num_rounds % len(streams))
    return {stream.key: grant for stream, grant in zip(streams, grants, strict=True)}
