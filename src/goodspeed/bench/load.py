"""The load generator: a closed loop (k requests in flight) or an open loop (Poisson arrivals) for one endpoint."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np

from goodspeed.bench.answer import LoadAnswer
from goodspeed.config import config_dataclass, option
from goodspeed.prompts.prompts import Prompt

T = TypeVar("T")
Generate = Callable[[Prompt], Awaitable[LoadAnswer]]


@config_dataclass
class LoadShape:
    """The load of one client: a closed loop, or an open loop if `rate` is given."""

    concurrency: int = option(1, "requests in flight; closed loop", ge=1)
    rate: float = option(0.0, "arrivals per second; 0: closed loop", ge=0.0, lt=1e6)


async def run_load(generate: Generate, prompts: Sequence[Prompt], shape: LoadShape, seed: int = 0) -> list[LoadAnswer]:
    """Send every prompt once; answers in the order of the prompts. `seed`: of the arrivals of an open loop.

    The first error of a request cancels the others and is raised.
    """
    if shape.rate:
        return await _open_loop(generate, prompts, arrivals(shape.rate, len(prompts), seed))
    return await _closed_loop(generate, prompts, shape.concurrency)


def arrivals(rate: float, num_requests: int, seed: int) -> list[float]:
    """Arrival times of a Poisson process in seconds from now, ascending."""
    intervals = np.random.default_rng(seed).exponential(1.0 / rate, num_requests)
    return [float(time) for time in np.cumsum(intervals)]


async def _closed_loop(generate: Generate, prompts: Sequence[Prompt], concurrency: int) -> list[LoadAnswer]:
    answers: dict[int, LoadAnswer] = {}
    waiting = iter(enumerate(prompts))

    async def send(remaining: Iterator[tuple[int, Prompt]]) -> None:
        for index, prompt in remaining:
            answers[index] = await generate(prompt)

    await gather([send(waiting) for _ in range(concurrency)])
    return [answers[index] for index in range(len(prompts))]


async def _open_loop(generate: Generate, prompts: Sequence[Prompt], times: Sequence[float]) -> list[LoadAnswer]:
    start = asyncio.get_running_loop().time()

    async def send(prompt: Prompt, due: float) -> LoadAnswer:
        await asyncio.sleep(start + due - asyncio.get_running_loop().time())
        return await generate(prompt)

    return await gather([send(prompt, due) for prompt, due in zip(prompts, times, strict=True)])


async def gather(work: Sequence[Awaitable[T]]) -> list[T]:
    """All results in order; the first error cancels the rest and is raised."""
    tasks = [asyncio.ensure_future(item) for item in work]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
