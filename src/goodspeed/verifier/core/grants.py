"""Shares the budget among clients by the scheduler, and a client's grant among its streams."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from goodspeed.engine.base import StreamKey
from goodspeed.scheduling.base import Budget, ClientView
from goodspeed.scheduling.exploration import exploration_grants
from goodspeed.scheduling.policies import SCHEDULERS
from goodspeed.verifier.core.client import Client
from goodspeed.verifier.core.config import CoreConfig
from goodspeed.verifier.core.stream import Stream


class GrantSharing:
    """Owns the scheduler and its randomness."""

    def __init__(self, config: CoreConfig) -> None:
        self._budget = config.budget
        self._max_proposal = config.max_proposal
        self._scheduler = SCHEDULERS[config.scheduler]()
        self._rng = np.random.default_rng(config.seed)

    def share(
        self,
        active: Mapping[Client, Sequence[Stream]],  # every client with streams that draft
        heard: Collection[Client],  # those who will hear their grant now
    ) -> dict[StreamKey, int]:
        """The grant of every stream; sets the clients' grants, together at most the budget."""
        clients = list(active)
        reserved = exploration_grants([client.starved_rounds * (client in heard) for client in clients], self._budget)
        views = [
            self._view(client, len(active[client]), extra) for client, extra in zip(clients, reserved, strict=True)
        ]
        shared = self._scheduler.grants(views, Budget(self._budget - sum(reserved)), self._rng)
        grants: dict[StreamKey, int] = {}
        for client, extra, grant in zip(clients, reserved, shared, strict=True):
            client.grant = grant + extra
            if client in heard:
                client.starved_rounds = 0 if client.grant else client.starved_rounds + 1
            grants.update(_split(client, active[client]))
        return grants

    def _view(self, client: Client, num_streams: int, reserved: int) -> ClientView:
        """A client with n streams: its j-th token is the j/n-th of each, and its goodput is theirs together."""
        estimator = client.estimator
        return ClientView(
            acceptance_rate=estimator.acceptance_rate ** (1.0 / num_streams),
            goodput=estimator.goodput * num_streams,
            max_grant=num_streams * self._max_proposal - reserved,
        )


def _split(client: Client, streams: Sequence[Stream]) -> dict[StreamKey, int]:
    """Evenly; the remainder goes to other streams with every round."""
    num_streams = len(streams)
    grant, remainder = divmod(client.grant, num_streams)
    first = client.num_rounds
    return {stream.key: grant + ((i - first) % num_streams < remainder) for i, stream in enumerate(streams)}
