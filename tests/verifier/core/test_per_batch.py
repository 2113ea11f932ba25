"""Per-batch schedulers allocate the whole budget to the recipients of the present verdicts."""

from typing import Any

import pytest

from goodspeed.protocol.messages import PROTOCOL_VERSION, Welcome
from goodspeed.protocol.session import VerifierStream
from goodspeed.scheduling.policies import ESTIMATORS
from goodspeed.testing.virtual_verifier import open_request
from goodspeed.verifier.core.client import Client
from goodspeed.verifier.core.core_config import VerifierCoreConfig
from goodspeed.verifier.core.draft_budget import DraftBudget
from goodspeed.verifier.core.grants import GrantAllocator
from goodspeed.verifier.core.served_streams import ServedStream
from goodspeed.verifier.core.timing.step_time import StepTimeModel

WELCOME = Welcome(PROTOCOL_VERSION, "verifier", "toy", "toy", 259, 4096, 64, 16, ())


def make_allocator(**options: Any) -> GrantAllocator:
    config = VerifierCoreConfig(**options)
    return GrantAllocator(config, DraftBudget(config.budget))


def clients_with_a_stream(num_clients: int) -> dict[Client, list[ServedStream]]:
    active = {}
    for key in range(num_clients):
        client = Client(f"client {key}", ESTIMATORS["censored"](0.1, 0.05), conn=1)
        active[client] = [ServedStream(key, client, 1, VerifierStream(open_request(1), WELCOME), 23, 0, 0.0)]
    return active


@pytest.mark.parametrize(("scheduler", "for_each"), [("gradient", 2), ("price", 8)])
def test_two_recipients_of_eight_clients_get_the_whole_budget_of_a_per_batch_scheduler(
    scheduler: str, for_each: int
) -> None:
    active = clients_with_a_stream(8)
    recipients = list(active)[2:4]
    grants = make_allocator(budget=16, scheduler=scheduler).allocate(active, recipients, StepTimeModel())
    assert [grants[active[client][0].key] for client in recipients] == [for_each] * 2


def test_a_client_keeps_its_grant_until_it_receives_another() -> None:
    active = clients_with_a_stream(4)
    first, second = list(active)[:2], list(active)[2:]
    allocator = make_allocator(budget=16, scheduler="price")
    allocator.allocate(active, first, StepTimeModel())
    grants = [client.grant for client in first]
    allocator.allocate(active, second, StepTimeModel())
    assert [client.grant for client in first] == grants
    assert all(grants)
