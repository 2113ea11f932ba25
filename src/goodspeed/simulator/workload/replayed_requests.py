"""The requests of a recorded run, replayed: each client sends the next one as soon as an answer ends."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from goodspeed.config import config_dataclass, option
from goodspeed.records.acceptance_trace import read_acceptance_trace
from goodspeed.simulator.workload.workload import WorkloadRequest


@config_dataclass
class ReplayedRequestsConfig:
    """Requests of an acceptance trace, replayed."""

    file: str = option("", "acceptance trace: JSONL file written by `goodspeed drafter --acceptance-trace`")
    num_warm_up: int = option(
        0, "first requests of each client, which start at once; the others start together at start_s", ge=0
    )
    start_s: float = option(0.0, "time at which the requests after the warm-up start", ge=0.0, was=("begin_s",))


class ReplayedWorkload:
    """Replays the recorded clients in the order of their names, cyclically. Raises ConfigError for a bad file."""

    def __init__(self, config: ReplayedRequestsConfig) -> None:
        self._config = config
        sizes_by_client: dict[str, list[tuple[int, int]]] = {}
        for answer in read_acceptance_trace(Path(config.file)):
            sizes_by_client.setdefault(answer.client, []).append((answer.num_prompt, answer.num_answer))
        self._sizes = [sizes for _, sizes in sorted(sizes_by_client.items())]

    def requests(self, client: int, rng: np.random.Generator) -> Iterator[WorkloadRequest]:  # noqa: ARG002
        num_warm_up, start_s = self._config.num_warm_up, self._config.start_s
        for request, (num_prompt, num_answer) in enumerate(self._sizes[client % len(self._sizes)]):
            if num_warm_up and request == num_warm_up:
                yield WorkloadRequest(start_s, False, num_prompt, num_answer)
            elif request < num_warm_up:
                yield WorkloadRequest(0.0, False, num_prompt, num_answer)
            else:
                yield WorkloadRequest(0.0, True, num_prompt, num_answer)
