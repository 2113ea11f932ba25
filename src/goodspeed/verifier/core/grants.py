"""Allocates the budget to clients by the scheduler, and the grant of a client to its streams."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from goodspeed.decoding.draft import StreamKey
from goodspeed.scheduling.exploration import clients_to_explore, exploration_interval
from goodspeed.scheduling.policies import PER_BATCH, SCHEDULERS
from goodspeed.scheduling.proportional_shares import ProportionalShare, fill
from goodspeed.scheduling.scheduler import Budget, ClientView
from goodspeed.verifier.core.client import Client
from goodspeed.verifier.core.core_config import VerifierCoreConfig
from goodspeed.verifier.core.draft_budget import DraftBudget
from goodspeed.verifier.core.served_streams import ServedStream
from goodspeed.verifier.core.timing.step_time import StepTimeModel


class GrantAllocator:
    """Owns the scheduler and its random generator."""

    def __init__(self, config: VerifierCoreConfig) -> None:
        self._budget = DraftBudget(config.budget)
        self._overcommit = config.overcommit
        self.is_per_batch = config.scheduler in PER_BATCH
        """True if the scheduler allocates to the recipients of the present verdicts only."""
        self._is_barrier = config.batching == "barrier"
        self._scheduler = SCHEDULERS[config.scheduler]()
        self._rng = np.random.default_rng(config.seed)

    def allocate(
        self,
        active: Mapping[Client, Sequence[ServedStream]],  # streams that draft, by client; per batch: of recipients
        recipients: Collection[Client],  # the clients whose verdicts are made now
        step_time: StepTimeModel,
        local_round_s: float | None = None,  # as Budget.local_round_s
        co_located_token_s: float = 0.0,  # as Budget.co_located_token_s
    ) -> dict[StreamKey, int]:
        """The grants of the clients' streams. Sets the clients' grants, whose sum is at most budget * overcommit."""
        clients = [client for client in active if client in recipients or not self.is_per_batch]
        caps = [
            min(client.config.cap, sum([stream.protocol.max_grant for stream in active[client]])) for client in clients
        ]
        starved = [
            _starved(client, local_round_s) if client in recipients and cap > 0 else 0.0
            for client, cap in zip(clients, caps, strict=True)
        ]
        num_streams = sum(len(active[client]) for client in clients)
        num_tokens = int(self._budget.tokens(num_streams, step_time) * self._overcommit)
        views = [
            view_client(client, len(active[client]), cap, int(explores))
            for client, cap, explores in zip(clients, caps, clients_to_explore(starved, num_tokens), strict=True)
        ]
        budget = Budget(
            tokens=num_tokens,
            step_s=step_time.predict(num_streams, num_streams),  # without drafts, every stream has one token
            token_s=step_time.token_s,
            local_round_s=local_round_s,
            co_located_token_s=co_located_token_s,
            is_barrier=self._is_barrier,
        )
        client_grants = self._scheduler.grants(views, budget, self._rng)
        grants: dict[StreamKey, int] = {}
        for client, grant in zip(clients, client_grants, strict=True):
            client.grant = grant
            if client in recipients:
                client.starved_rounds = 0 if client.grant else client.starved_rounds + 1
            grants.update(_split(client, active[client]))
        return grants


def _starved(client: Client, local_round_s: float | None) -> float:
    """Rounds at grant 0, in units of the client's exploration interval."""
    round_s = client.timing.network_s + client.timing.verify_s
    return client.starved_rounds / exploration_interval(round_s, local_round_s)


def view_client(client: Client, num_streams: int, cap: int, min_grant: int = 0) -> ClientView:
    """What the scheduler sees of a client with n streams that can use `cap` tokens; it gets at least `min_grant`.

    The client's j-th token is the j/n-th token of each stream: its survival curve repeats each value n times, and its
    acceptance rate is a^(1/n). Its goodput is the sum over its streams. A token delays each stream by the n-th part of
    the drafting time of a token.
    """
    estimator, timing, config = client.estimator, client.timing, client.config
    return ClientView(
        acceptance_rate=estimator.acceptance_rate ** (1.0 / num_streams),
        goodput=estimator.goodput * num_streams,
        weight=config.weight,
        max_grant=cap,
        min_grant=min(max(config.floor, min_grant), cap),
        survival=_interleaved(estimator.survival, num_streams),
        network_s=timing.network_s,
        drafting_s=timing.drafting_s / num_streams,
        verify_s=timing.verify_s,
        grant_utilisation=timing.grant_utilisation,
        num_streams=num_streams,
        co_batched_weight=timing.co_batched_weight,
        co_located_survival=client.co_located.survival,
        co_located_utilisation=client.co_located.utilisation,
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
