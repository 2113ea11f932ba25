"""Measures several arms with the same requests.

An arm is one way of serving: the target-only baseline, or a cluster with one scheduler. In every repetition each arm
answers the same new prompts, and the order of the arms rotates by one. Each arm is warmed up on other prompts first,
and woken by a few tokens before each of its runs.

Every client has the same number of requests, so that the texts can be compared one by one. A client with a high
acceptance rate finishes early and would leave the verifier to the others. So in a closed loop it goes on with answers
that do not count, until the last client has finished: each goodput is that of a verifier which serves all clients.
"""

import asyncio
import itertools
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import httpx

from goodspeed.bench.answer import LoadAnswer
from goodspeed.bench.endpoint import OpenAIEndpoint, RequestSettings, http_client
from goodspeed.bench.load import LoadShape, gather, run_load
from goodspeed.bench.wire_traffic import DrafterTraffic, traffic
from goodspeed.cluster.cpu_time import CpuSeconds, cpu_seconds
from goodspeed.config import config_dataclass, option, required
from goodspeed.errors import ConfigError
from goodspeed.prompts.prompts import Prompt

BASELINE = "target-only baseline"
WAKE_TOKENS = 4
"""Of an arm before each run: after seconds without work the first steps of a verifier take several times as long."""


@dataclass(frozen=True, slots=True)
class BenchClient:
    """A user of one endpoint, and its prompts in order."""

    name: str
    prompts: tuple[Prompt, ...]


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to serve the clients."""

    name: str
    urls: tuple[str, ...]  # one per client
    mode: str  # as RequestSettings.mode
    verifier_pids: tuple[int, ...] = ()
    """Processes of the arm, if the benchmark started them."""
    drafter_pids: tuple[int, ...] = ()


@config_dataclass
class ComparisonPlan:
    """The requests of every client and the way they are sent."""

    settings: RequestSettings
    shape: LoadShape
    repetitions: int = required(help_text="repetitions of every arm", ge=1)
    requests: int = required(help_text="requests of each client per repetition", ge=1)
    warm_up: int = required(help_text="requests of each client before the first repetition, not counted", ge=0)
    reads_prompts: bool = option(
        False, "every arm reads all prompts first, so that runs begin with cached prompts and measure decoding alone"
    )

    @property
    def num_prompts(self) -> int:
        """Prompts that each client needs."""
        return self.warm_up + self.repetitions * self.requests

    def check(self, clients: Sequence[BenchClient]) -> None:
        """Raises ConfigError if a client has too few prompts."""
        for client in clients:
            if len(client.prompts) < self.num_prompts:
                raise ConfigError(
                    f"client {client.name} has {len(client.prompts)} prompts; {self.repetitions} repetitions of "
                    f"{self.requests} requests and {self.warm_up} warm-up requests need {self.num_prompts}"
                )

    def prompts_of(self, client: BenchClient, repetition: int) -> tuple[Prompt, ...]:
        """The prompts of a client in a repetition (-1: the warm-up). Repetitions have no prompt in common."""
        if repetition < 0:
            return client.prompts[: self.warm_up]
        first = self.warm_up + repetition * self.requests
        return client.prompts[first : first + self.requests]


@dataclass(frozen=True, slots=True)
class ArmRun:
    """The run of one arm in one repetition."""

    arm: str
    repetition: int
    answers: tuple[tuple[LoadAnswer, ...], ...]  # [clients][requests]
    traffic: tuple[DrafterTraffic, ...]  # [clients]
    cpu: CpuSeconds  # used during the run

    @property
    def wall_s(self) -> float:
        """Time until the last client had all its answers."""
        return max(map(_end_s, self.answers))

    def goodputs(self) -> list[float]:
        """Tokens per second of each client until it had its last answer."""
        return [sum(answer.num_tokens for answer in answers) / _end_s(answers) for answers in self.answers]

    def estimated_s(self, client: int) -> tuple[float, float]:
        """(baseline_s, elapsed_s) of one client's answers, as the verifier estimates them."""
        reported = [answer.speculation for answer in self.answers[client] if answer.speculation]
        return sum(rounds.baseline_s for rounds in reported), sum(rounds.elapsed_s for rounds in reported)


def _end_s(answers: Sequence[LoadAnswer]) -> float:
    return max(answer.end_s for answer in answers)


class ComparisonObserver(Protocol):
    """Receives the progress of a comparison."""

    def on_phase(self, arm: str, repetition: int) -> None:
        """A run starts; repetition -1 is the warm-up."""

    def on_text(self, client: str, text: str) -> None:
        """A piece of an answer has arrived."""

    def on_answer(self, client: str, answer: LoadAnswer) -> None:
        """An answer is complete."""


async def compare(
    arms: Sequence[Arm], clients: Sequence[BenchClient], plan: ComparisonPlan, observer: ComparisonObserver
) -> list[ArmRun]:
    """All runs in order. Raises the errors of OpenAIEndpoint.generate."""
    async with http_client() as http:
        bench = _Bench(http, clients, plan, observer)
        for arm in arms if plan.reads_prompts else ():
            observer.on_phase(arm.name, -1)
            await bench.read(arm)
        for arm in arms if plan.warm_up else ():
            observer.on_phase(arm.name, -1)
            await bench.run(arm, -1)
        runs = []
        for arm, repetition in run_order(arms, plan.repetitions):
            observer.on_phase(arm.name, repetition)
            await bench.wake(arm)
            runs.append(await bench.run(arm, repetition))
        return runs


def run_order(arms: Sequence[Arm], repetitions: int) -> Iterator[tuple[Arm, int]]:
    """Every arm in every repetition; each repetition starts with the next arm."""
    for repetition in range(repetitions):
        first = repetition % len(arms)
        for arm in (*arms[first:], *arms[:first]):
            yield arm, repetition


def num_differing(runs: Sequence[ArmRun], arm: str, reference: str) -> int:
    """Number of answers whose text or finish reason differs from that of arm `reference` to the same prompt."""
    texts = _texts(runs, arm)
    return sum(texts[key] != expected for key, expected in _texts(runs, reference).items())


def _texts(runs: Sequence[ArmRun], arm: str) -> Mapping[tuple[int, int, int], tuple[str, str]]:
    """(text, finish reason) by (repetition, client, index of the request)."""
    return {
        (run.repetition, client, index): (answer.text, answer.finish_reason)
        for run in runs
        if run.arm == arm
        for client, answers in enumerate(run.answers)
        for index, answer in enumerate(answers)
    }


class _Bench:
    def __init__(
        self,
        http: httpx.AsyncClient,
        clients: Sequence[BenchClient],
        plan: ComparisonPlan,
        observer: ComparisonObserver,
    ) -> None:
        self._http = http
        self._clients = clients
        self._plan = plan
        self._observer = observer

    async def read(self, arm: Arm) -> None:
        """Have the arm's verifier read every prompt of every client, in target-only mode: no draft learns of it."""
        settings = replace(self._plan.settings, mode="target_only", max_tokens=1)
        await gather([self._read(arm.urls[i], client, settings) for i, client in enumerate(self._clients)])

    async def _read(self, url: str, client: BenchClient, settings: RequestSettings) -> None:
        endpoint = OpenAIEndpoint(self._http, url)
        for prompt in client.prompts[: self._plan.num_prompts]:
            await endpoint.generate(prompt, settings, time.perf_counter, lambda _: None)

    async def wake(self, arm: Arm) -> None:
        """Have every client of the arm read a few tokens that do not count: what has been idle starts slowly."""
        if not self._plan.warm_up:
            return
        settings = replace(self._plan.settings, mode=arm.mode, max_tokens=WAKE_TOKENS)
        pairs = zip([OpenAIEndpoint(self._http, url) for url in arm.urls], self._clients, strict=True)
        prompts = [(endpoint, self._plan.prompts_of(client, -1)[0]) for endpoint, client in pairs]
        clock = time.perf_counter
        await gather([endpoint.generate(prompt, settings, clock, lambda _: None) for endpoint, prompt in prompts])

    async def run(self, arm: Arm, repetition: int) -> ArmRun:
        endpoints = [OpenAIEndpoint(self._http, url) for url in arm.urls]
        await gather([endpoint.model() for endpoint in endpoints])
        traffic_before = await self._traffic(endpoints)
        cpu_before = cpu_seconds(arm.verifier_pids, arm.drafter_pids)
        context = _RunContext(self._plan, replace(self._plan.settings, mode=arm.mode), repetition, self._observer)
        loads = [_ClientLoad(context, *pair) for pair in zip(endpoints, self._clients, strict=True)]
        answers = await _under_full_load(loads)
        cpu = cpu_seconds(arm.verifier_pids, arm.drafter_pids).since(cpu_before)
        after = await self._traffic(endpoints)
        return ArmRun(
            arm=arm.name,
            repetition=repetition,
            answers=tuple(tuple(of_client) for of_client in answers),
            traffic=tuple(new.since(old) for new, old in zip(after, traffic_before, strict=True)),
            cpu=cpu,
        )

    async def _traffic(self, endpoints: Sequence[OpenAIEndpoint]) -> list[DrafterTraffic]:
        return [traffic(await endpoint.metrics()) for endpoint in endpoints]


@dataclass(frozen=True, slots=True)
class _RunContext:
    """What all clients of one run have in common."""

    plan: ComparisonPlan
    settings: RequestSettings
    repetition: int
    observer: ComparisonObserver
    start: float = field(default_factory=time.perf_counter)

    def elapsed_s(self) -> float:
        return time.perf_counter() - self.start


async def _under_full_load(loads: Sequence["_ClientLoad"]) -> list[list[LoadAnswer]]:
    """The answers of all clients. One that has its own goes on until the last one has them."""
    going_on: list[asyncio.Task[None]] = []

    async def answers_of(load: "_ClientLoad") -> list[LoadAnswer]:
        answers = await load.run()
        going_on.append(asyncio.create_task(load.go_on()))
        return answers

    try:
        return await gather([answers_of(load) for load in loads])
    finally:
        for task in going_on:
            task.cancel()
        for outcome in await asyncio.gather(*going_on, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome


class _ClientLoad:
    """Sends the requests of one client in one run."""

    def __init__(self, context: _RunContext, endpoint: OpenAIEndpoint, client: BenchClient) -> None:
        self._context = context
        self._endpoint = endpoint
        self._client = client

    async def run(self) -> list[LoadAnswer]:
        plan, name = self._context.plan, self._client.name
        seed = zlib.crc32(f"{plan.settings.seed} {self._context.repetition} {name}".encode())
        return await run_load(self._generate, plan.prompts_of(self._client, self._context.repetition), plan.shape, seed)

    async def go_on(self) -> None:
        """Keep as many requests in flight, with a prompt whose answers do not count; an open loop just ends."""
        shape, (prompt, *_) = self._context.plan.shape, self._client.prompts
        if shape.rate:
            return
        forever = itertools.repeat(prompt)
        await gather([self._answer_all(forever) for _ in range(shape.concurrency)])

    async def _answer_all(self, prompts: Iterator[Prompt]) -> None:
        context = self._context
        for prompt in prompts:
            await self._endpoint.generate(prompt, context.settings, context.elapsed_s, lambda _: None)

    async def _generate(self, prompt: Prompt) -> LoadAnswer:
        context = self._context
        answer = await self._endpoint.generate(prompt, context.settings, context.elapsed_s, self._on_text)
        context.observer.on_answer(self._client.name, answer)
        return answer

    def _on_text(self, text: str) -> None:
        self._context.observer.on_text(self._client.name, text)
