"""A single-server queue with the interface of the simulator, for tests against queueing theory."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from goodspeed.errors import CapacityError
from goodspeed.experiment.warm_up import WarmUp, WarmUpSource
from goodspeed.simulator.result import AnswerRecord, RunResult, VerifierRecord

FAILING_SEED = 13
FROM_START = WarmUp(0.0, WarmUpSource.GIVEN)
ANSWER = AnswerRecord(
    client="client 0",
    verifier="server",
    request=0,
    is_target_only=False,
    requested_s=0.0,
    first_token_s=0.5,
    finished_s=1.0,
    num_prompt_tokens=5,
    num_answer_tokens=2,
    num_rounds=1,
    num_proposed=4,
    num_accepted=1,
    drafting_s=0.0,
    network_s=0.0,
    queue_s=0.0,
    verify_s=1.0,
)


@dataclass(frozen=True, slots=True)
class SingleServerQueue:
    """M/M/1: `load` requests per second over all clients, a mean service time of one second, two tokens each."""

    load: float
    until_s: float = 4000.0
    num_clients: int = 2
    service_factor: float = 1.0
    """Factor of all service times."""


def simulate(queue: SingleServerQueue, seed: int) -> RunResult:
    """Simulate a queue that starts empty. Arrivals and service times depend only on the seed."""
    rng = np.random.default_rng(seed)
    answers, busy_s = [], 0.0
    for answer in _served(queue, rng):
        if answer.finished_s <= queue.until_s:
            answers.append(answer)
            busy_s += answer.verify_s
    return RunResult(
        seed=seed,
        simulated_s=queue.until_s,
        answers=tuple(answers),
        verifiers=(VerifierRecord("server", len(answers), 3 * len(answers), busy_s, 7),),
        num_unfinished=0,
        num_failed=0,
        num_rounds=len(answers),
        num_bytes_up=30 * len(answers),
        num_bytes_down=10 * len(answers),
    )


def simulate_or_fail(queue: SingleServerQueue, seed: int) -> RunResult:
    """Simulate, but raise CapacityError under FAILING_SEED."""
    if seed == FAILING_SEED:
        raise CapacityError(f"seed is {seed}")
    return simulate(queue, seed)


def _served(queue: SingleServerQueue, rng: np.random.Generator) -> Iterator[AnswerRecord]:
    num = int(1.5 * queue.load * queue.until_s) + 50
    arrivals = np.cumsum(rng.exponential(1 / queue.load, num)).tolist()
    services = (queue.service_factor * rng.exponential(1.0, num)).tolist()
    free_at = 0.0
    for i, (requested, service) in enumerate(zip(arrivals, services, strict=True)):
        start = max(requested, free_at)
        free_at = start + service
        yield replace(
            ANSWER,
            client=f"client {i % queue.num_clients}",
            request=i // queue.num_clients,
            requested_s=requested,
            first_token_s=0.5 * (start + free_at),
            finished_s=free_at,
            queue_s=start - requested,
            verify_s=service,
        )


def clients(queue: SingleServerQueue) -> list[str]:
    """The names of all clients."""
    return [f"client {i}" for i in range(queue.num_clients)]
