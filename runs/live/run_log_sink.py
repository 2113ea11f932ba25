"""An event sink that turns a verifier's events into the rounds and steps of a run log."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runs.live.run_log import ClientRounds, StepTimes

from goodspeed.protocol.messages import Message, Verdict
from goodspeed.protocol.transport import Accept, Connection, LinkTraffic, PeerIdentity
from goodspeed.scheduling.optimum import expected_tokens
from goodspeed.scheduling.scheduler import ClientView
from goodspeed.verifier.core.client import Client


@dataclass(frozen=True, slots=True)
class ClientEstimate:
    """The verifier's estimates of a client at its last grant."""

    granted: int = 0
    acceptance_rate: float = 0.0
    goodput: float = 0.0
    expected: float = 1.0


@dataclass(slots=True)
class _Link:
    """The state of one link."""

    rounds: ClientRounds
    estimate: ClientEstimate = field(default_factory=ClientEstimate)
    num_proposed: int = 0  # in this round, which may have no proposal
    lengths: dict[int, int] = field(default_factory=dict)  # committed tokens of its streams, prompt included


class RunLogSink:
    """The event sink of a VerifierServer whose drafters have one stream at a time.

    `clients` must return the core's clients; `on_step` is called after each step.
    """

    def __init__(self, names: Sequence[str], on_step: Callable[[], None]) -> None:
        self.clients: Callable[[], Sequence[Client]] = lambda: ()
        self.rounds = {name: ClientRounds(name) for name in names}
        self.steps = StepTimes()
        self.start_s = 0.0  # on the host's clock; set by the first event
        self._on_step = on_step
        self._is_active = True
        self._links: dict[int, _Link] = {}
        self._handlers: dict[str, Callable[[float, Mapping[str, Any]], None]] = {
            "start": self._on_start,
            "message": self._on_message,
            "batch": self._on_batch,
            "verified": self._on_verified,
        }

    def write(self, event: str, now: float, fields: Mapping[str, object]) -> None:
        """See EventSink."""
        if self._is_active and event in self._handlers:
            self._handlers[event](now, fields)

    def stop(self) -> None:
        """Ignore further events, and drop a step that has not finished."""
        self._is_active = False
        steps = self.steps
        del steps.closed_s[len(steps.verified_s) :]

    def timed(self, accept: Accept) -> Accept:
        """Wrap the verifier's accept function to time the sending of verdicts."""

        async def serve(connection: Connection) -> None:
            await accept(_TimedConnection(connection, self._on_sent))

        return serve

    def num_rounds(self) -> int:
        """The minimum over clients."""
        return min(len(rounds.at_s) - sum(rounds.is_opening) for rounds in self.rounds.values())

    def _on_start(self, now: float, fields: Mapping[str, Any]) -> None:
        del fields
        self.start_s = now

    def _on_message(self, now: float, fields: Mapping[str, Any]) -> None:
        del now
        conn, message = fields["conn"], fields["message"]
        if message["kind"] == "Hello":
            self._links[conn] = _Link(self.rounds[message["drafter"]])
        elif message["kind"] == "Open":
            self._links[conn].lengths[message["stream"]] = len(message["tokens"])
        elif message["kind"] == "Propose":
            self._links[conn].num_proposed = len(message["tokens"])

    def _on_batch(self, now: float, fields: Mapping[str, Any]) -> None:
        batch = fields["batch"]
        if batch["turns"] or batch["prefills"]:
            self.steps.closed_s.append(now - self.start_s)

    def _on_verified(self, now: float, fields: Mapping[str, Any]) -> None:
        if not fields["work"]:
            return
        steps = self.steps
        steps.num_draft_tokens.append(sum(len(work.get("draft_tokens", ())) for work in fields["work"]))
        steps.num_prefill_tokens.append(sum(work.get("num_tokens", 0) for work in fields["work"]))
        for times in (steps.verified_s, steps.sending_s, steps.sent_s):
            times.append(now - self.start_s)
        with_token = [
            (work, outcome)
            for work, outcome in zip(fields["work"], fields["outcomes"], strict=True)
            if outcome["next_token"] is not None
        ]
        verdicts = [reply for reply in fields["replies"] if reply["kind"] == "Verdict"]
        for (work, outcome), verdict in zip(with_token, verdicts, strict=True):
            self._on_verdict(now, work, outcome["num_accepted"], verdict)
        self._on_step()

    def _on_verdict(self, now: float, work: Mapping[str, Any], num_accepted: int, verdict: Mapping[str, Any]) -> None:
        link = self._links[verdict["conn"]]
        is_opening = work["kind"] == "Prefill"
        rounds, estimate = link.rounds, link.estimate
        rounds.step.append(len(self.steps.closed_s) - 1)
        rounds.at_s.append(now - self.start_s)
        rounds.is_opening.append(is_opening)
        rounds.granted.append(0 if is_opening else estimate.granted)
        rounds.proposed.append(0 if is_opening else link.num_proposed)
        rounds.verified.append(len(work.get("draft_tokens", ())))
        rounds.accepted.append(num_accepted)
        rounds.committed.append(verdict["committed_length"] - link.lengths[verdict["stream"]])
        rounds.acceptance_rate.append(estimate.acceptance_rate)
        rounds.goodput.append(estimate.goodput)
        rounds.expected.append(1.0 if is_opening else estimate.expected)
        link.lengths[verdict["stream"]] = verdict["committed_length"]
        link.num_proposed = 0
        link.estimate = self._estimate(rounds.name, verdict["grant"])

    def _estimate(self, name: str, grant: int) -> ClientEstimate:
        (estimator,) = [client.estimator for client in self.clients() if client.name == name]
        view = ClientView(estimator.acceptance_rate, estimator.goodput, survival=estimator.survival)
        return ClientEstimate(grant, view.acceptance_rate, view.goodput, expected_tokens(view, grant))

    def _on_sent(self, start_s: float, ended: float) -> None:
        steps = self.steps
        if self._is_active and steps.verified_s and len(steps.verified_s) == len(steps.closed_s):
            if steps.sending_s[-1] == steps.verified_s[-1]:
                steps.sending_s[-1] = start_s - self.start_s
            steps.sent_s[-1] = ended - self.start_s


class _TimedConnection:
    """A connection that reports when verdicts were sent."""

    def __init__(self, inner: Connection, on_sent: Callable[[float, float], None]) -> None:
        self._inner = inner
        self._on_sent = on_sent

    @property
    def peer(self) -> str:
        return self._inner.peer

    @property
    def identity(self) -> PeerIdentity:
        return self._inner.identity

    @property
    def traffic(self) -> LinkTraffic:
        return self._inner.traffic

    async def send(self, messages: Sequence[Message]) -> None:
        start_s = time.monotonic()
        await self._inner.send(messages)
        if any(isinstance(message, Verdict) for message in messages):
            self._on_sent(start_s, time.monotonic())

    async def receive(self) -> Sequence[Message]:
        return await self._inner.receive()

    async def close(self) -> None:
        await self._inner.close()
