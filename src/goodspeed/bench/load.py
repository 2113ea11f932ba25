"""The load generator: requests to one endpoint in a closed loop (k in flight) or an open one (Poisson arrivals)."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np

from goodspeed.bench.answer import LoadAnswer
from goodspeed.config import config_dataclass, option
from goodspeed.prompts.prompts import Prompt

T = TypeVar("T")
Ask = Callable[[Prompt], Awaitable[LoadAnswer]]


@config_dataclass
class LoadShape:
    """The load of one client: a closed loop, or an open loop if `rate` is given."""

    concurrency: int = option(1, "requests in flight; closed loop", ge=1)
    rate: float = option(0.0, "arrivals per second; 0: closed loop", ge=0.0, lt=1e6)


async def run_load(ask: Ask, prompts: Sequence[Prompt], shape: LoadShape, seed: int = 0) -> list[LoadAnswer]:
    """Ask every prompt once; the answers in the prompts' order. `seed` is for the arrivals of an open loop.

    The first error of any request cancels the others and is raised.
    """
    if shape.rate:
        return await _open_loop(ask, prompts, arrivals(shape.rate, len(prompts), seed))
    return await _closed_loop(ask, prompts, shape.concurrency)


def arrivals(rate: float, num_requests: int, seed: int) -> list[float]:
    """Arrival times of a Poisson process in seconds from now, ascending."""
    gaps = np.random.default_rng(seed).exponential(1.0 / rate, num_requests)
    return [float(time) for time in np.cumsum(gaps)]


async def _closed_loop(ask: Ask, prompts: Sequence[Prompt], concurrency: int) -> list[LoadAnswer]:
    answers: dict[int, LoadAnswer] = {}
    waiting = iter(enumerate(prompts))

    async def work(mine: Iterator[tuple[int, Prompt]]) -> None:
        for index, prompt in mine:
            answers[index] = await ask(prompt)

    await gather([work(waiting) for _ in range(concurrency)])
    return [answers[index] for index in range(len(prompts))]


async def _open_loop(ask: Ask, prompts: Sequence[Prompt], times: Sequence[float]) -> list[LoadAnswer]:
    began = asyncio.get_running_loop().time()

    async def work(prompt: Prompt, due: float) -> LoadAnswer:
        await asyncio.sleep(began + due - asyncio.get_running_loop().time())
        return await ask(prompt)

    return await gather([work(prompt, due) for prompt, due in zip(prompts, times, strict=True)])


async def gather(work: Sequence[Awaitable[T]]) -> list[T]:
    """All results in order; the first error cancels the rest and is raised as it is."""
    tasks = [asyncio.ensure_future(item) for item in work]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
