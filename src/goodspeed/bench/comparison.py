"""Ways to serve the same requests, measured in turns.

An arm is one way: the target alone, or a cluster under one scheduler. In every repetition each arm answers the same
prompts, which no arm has seen before, and the order of the arms moves on by one from repetition to repetition. Each
arm is warmed up beforehand on other prompts.

Every client has the same number of requests, so that the texts can be compared one by one. Who drafts well is done
early, and then the others have the verifier to themselves; so goodput is counted only while all clients are served.
"""

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
from goodspeed.config import config_dataclass, required
from goodspeed.errors import ConfigError
from goodspeed.prompts.prompts import Prompt

BASELINE = "target-only baseline"


@dataclass(frozen=True, slots=True)
class BenchClient:
    """One user of one endpoint, and what it asks, in order."""

    name: str
    prompts: tuple[Prompt, ...]


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to serve the clients."""

    name: str
    urls: tuple[str, ...]  # one per client
    mode: str  # as Settings.mode
    verifier_pids: tuple[int, ...] = ()
    """Of servers that we started."""
    drafter_pids: tuple[int, ...] = ()


@config_dataclass
class ComparisonPlan:
    """The requests of every client and the way they are sent."""

    settings: RequestSettings
    shape: LoadShape
    repetitions: int = required(help_text="repetitions of every arm", ge=1)
    requests: int = required(help_text="requests of each client per repetition", ge=1)
    warm_up: int = required(help_text="requests of each client before the first repetition, not counted", ge=0)

    @property
    def num_prompts(self) -> int:
        """Prompts that every client needs."""
        return self.warm_up + self.repetitions * self.requests

    def check(self, clients: Sequence[BenchClient]) -> None:
        """Raises ConfigError for a client that has too few prompts."""
        for client in clients:
            if len(client.prompts) < self.num_prompts:
                raise ConfigError(
                    f"client {client.name} has {len(client.prompts)} prompts; {self.repetitions} repetitions of "
                    f"{self.requests} requests and {self.warm_up} to warm up need {self.num_prompts}"
                )

    def share(self, client: BenchClient, repetition: int) -> tuple[Prompt, ...]:
        """What a client asks in a repetition (-1: to warm up); no two repetitions share a prompt."""
        if repetition < 0:
            return client.prompts[: self.warm_up]
        first = self.warm_up + repetition * self.requests
        return client.prompts[first : first + self.requests]


@dataclass(frozen=True, slots=True)
class ArmRun:
    """One arm's turn in one repetition."""

    arm: str
    repetition: int
    answers: tuple[tuple[LoadAnswer, ...], ...]  # [clients][requests]
    traffic: tuple[DrafterTraffic, ...]  # [clients]
    cpu: CpuSeconds  # used during the run

    @property
    def wall_s(self) -> float:
        """Until the last client had its answers."""
        return max(_ends(self.answers))

    @property
    def all_served_s(self) -> float:
        """Until the first client had its answers: so long all of them were served."""
        return min(_ends(self.answers))

    def goodputs(self) -> list[float]:
        """Tokens per second of each client while all were served."""
        return [
            sum(answer.num_tokens_by(self.all_served_s) for answer in answers) / self.all_served_s
            for answers in self.answers
        ]

    def reckoned_s(self, client: int) -> tuple[float, float]:
        """Of one client while all were served: what the target alone would have taken, what it took, as servers reckon.

        An answer that ended later counts by the share of its time.
        """
        told = [(self._share(answer), answer.speculation) for answer in self.answers[client] if answer.speculation]
        target_alone_s = sum(share * rounds.baseline_s for share, rounds in told)
        return target_alone_s, sum(share * rounds.elapsed_s for share, rounds in told)

    def _share(self, answer: LoadAnswer) -> float:
        if answer.end_s <= self.all_served_s:
            return 1.0
        return max(0.0, self.all_served_s - answer.asked_s) / (answer.end_s - answer.asked_s)


def _ends(answers: Sequence[Sequence[LoadAnswer]]) -> list[float]:
    return [max(answer.end_s for answer in mine) for mine in answers]


class ComparisonObserver(Protocol):
    """Is told what happens, to show it."""

    def on_phase(self, arm: str, repetition: int) -> None:
        """A turn begins; repetition -1 is the warm-up."""

    def on_text(self, client: str, text: str) -> None:
        """A piece of an answer has arrived."""

    def on_answer(self, client: str, answer: LoadAnswer) -> None:
        """An answer is complete."""


async def compare(
    arms: Sequence[Arm], clients: Sequence[BenchClient], plan: ComparisonPlan, observer: ComparisonObserver
) -> list[ArmRun]:
    """All runs, in the order in which they were made. Raises the errors of Endpoint.ask."""
    async with http_client() as http:
        bench = _Bench(http, clients, plan, observer)
        for arm in arms if plan.warm_up else ():
            observer.on_phase(arm.name, -1)
            await bench.run(arm, -1)
        runs = []
        for arm, repetition in run_order(arms, plan.repetitions):
            observer.on_phase(arm.name, repetition)
            runs.append(await bench.run(arm, repetition))
        return runs


def run_order(arms: Sequence[Arm], repetitions: int) -> Iterator[tuple[Arm, int]]:
    """Every arm in every repetition; each repetition begins with the next arm."""
    for repetition in range(repetitions):
        first = repetition % len(arms)
        for arm in (*arms[first:], *arms[:first]):
            yield arm, repetition


def num_differing(runs: Sequence[ArmRun], arm: str, reference: str) -> int:
    """Answers of `arm` whose text or end is not that of `reference` to the same prompt."""
    texts = _texts(runs, arm)
    return sum(texts[place] != expected for place, expected in _texts(runs, reference).items())


def _texts(runs: Sequence[ArmRun], arm: str) -> Mapping[tuple[int, int, int], tuple[str, str]]:
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
        self._watcher = observer

    async def run(self, arm: Arm, repetition: int) -> ArmRun:
        endpoints = [OpenAIEndpoint(self._http, url) for url in arm.urls]
        await gather([endpoint.model() for endpoint in endpoints])
        before = await self._traffic(endpoints), cpu_seconds(arm.verifier_pids, arm.drafter_pids)
        turn = _Turn(self._plan, replace(self._plan.settings, mode=arm.mode), repetition, self._watcher)
        users = [_User(turn, *pair) for pair in zip(endpoints, self._clients, strict=True)]
        answers = await gather([user.run() for user in users])
        cpu = cpu_seconds(arm.verifier_pids, arm.drafter_pids).since(before[1])
        after = await self._traffic(endpoints)
        return ArmRun(
            arm=arm.name,
            repetition=repetition,
            answers=tuple(tuple(mine) for mine in answers),
            traffic=tuple(new.since(old) for new, old in zip(after, before[0], strict=True)),
            cpu=cpu,
        )

    async def _traffic(self, endpoints: Sequence[OpenAIEndpoint]) -> list[DrafterTraffic]:
        return [traffic(await endpoint.metrics()) for endpoint in endpoints]


@dataclass(frozen=True, slots=True)
class _Turn:
    """What all users of one run share."""

    plan: ComparisonPlan
    settings: RequestSettings
    repetition: int
    observer: ComparisonObserver
    began: float = field(default_factory=time.perf_counter)

    def elapsed_s(self) -> float:
        return time.perf_counter() - self.began


class _User:
    """One client in one run."""

    def __init__(self, turn: _Turn, endpoint: OpenAIEndpoint, client: BenchClient) -> None:
        self._turn = turn
        self._endpoint = endpoint
        self._client = client

    async def run(self) -> list[LoadAnswer]:
        plan, name = self._turn.plan, self._client.name
        seed = zlib.crc32(f"{plan.settings.seed} {self._turn.repetition} {name}".encode())
        return await run_load(self._ask, plan.share(self._client, self._turn.repetition), plan.shape, seed)

    async def _ask(self, prompt: Prompt) -> LoadAnswer:
        turn = self._turn
        answer = await self._endpoint.ask(prompt, turn.settings, turn.elapsed_s, self._on_text)
        turn.observer.on_answer(self._client.name, answer)
        return answer

    def _on_text(self, text: str) -> None:
        self._turn.observer.on_text(self._client.name, text)
