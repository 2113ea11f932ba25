"""What a verifier's event log says of its clients' acceptance, over a whole run."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from goodspeed.config import from_mapping
from goodspeed.errors import ConfigError
from goodspeed.scheduling.estimators.evidence import SurvivalEvidence
from goodspeed.scheduling.scheduler import ClientView
from goodspeed.verifier.core.core_config import ClientConfig, VerifierCoreConfig

Event = Mapping[str, Any]
"""A line of the log, parsed."""


@dataclass(frozen=True, slots=True)
class LoggedRun:
    """A problem for scheduling.optimum: the budget, and every client that proposed, with its survival curve."""

    budget: int
    clients: dict[str, ClientView]


def logged_run(lines: Iterable[str]) -> LoggedRun:
    """Every judged proposal counted once, in Kaplan and Meier's way: what follows a rejection, or was cut, is unknown.

    The log of one verifier's run (verifier.recording). A drafter that stops where its confidence is low censors its
    own evidence, so the curve is that of the tokens which it does propose. Raises ConfigError for a line that is no
    event.
    """
    run: _LogReader | None = None
    for number, line in enumerate(lines, start=1):
        try:
            event = json.loads(line)
            if event["event"] == "start":
                run = _LogReader(from_mapping(VerifierCoreConfig, event["config"]))
                continue
            if run is None:
                raise ValueError("the log does not begin with a start event")
            run.read(event)
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"line {number} of the event log: {error!r}") from error
    if run is None:
        raise ConfigError("the event log is empty, expected a start event")
    return run.result()


@dataclass(slots=True)
class _LogReader:
    """Who is who so far, and what is known of them."""

    config: VerifierCoreConfig
    evidence: dict[str, SurvivalEvidence] = field(default_factory=dict)
    _names: dict[int, str] = field(default_factory=dict)  # of links
    _owners: dict[int, str] = field(default_factory=dict)  # of streams in the engine
    _proposed: dict[int, int] = field(default_factory=dict)  # by stream in the running batch

    def read(self, event: Event) -> None:
        match event["event"]:
            case "message" if event["message"]["kind"] == "Hello":
                self._names[event["conn"]] = event["message"]["drafter"]
            case "batch":
                work = event["batch"]["work"]
                self._proposed = {
                    item["stream"]: len(item["draft_tokens"]) for item in work if item["kind"] == "Verify"
                }
            case "verified":
                judged = [outcome for outcome in event["outcomes"] if outcome["next_token"] is not None]
                self._identify(judged, [reply for reply in event["replies"] if reply["kind"] == "Verdict"])
                for outcome in judged:
                    self._judge(outcome["stream"], outcome["num_accepted"])

    def _identify(self, judged: Sequence[Event], verdicts: Sequence[Event]) -> None:
        """Verdicts come in the order of the outcomes; where a link was lost one is missing, no matter whose."""
        if len(judged) == len(verdicts):
            for outcome, verdict in zip(judged, verdicts, strict=True):
                self._owners[outcome["stream"]] = self._names[verdict["conn"]]

    def _judge(self, stream: int, num_accepted: int) -> None:
        num_proposed = self._proposed.get(stream, 0)
        if num_proposed and stream in self._owners:
            evidence = self.evidence.setdefault(self._owners[stream], SurvivalEvidence())
            evidence.observe(num_proposed, num_accepted)

    def result(self) -> LoggedRun:
        clients = {name: self._view(name, evidence) for name, evidence in sorted(self.evidence.items())}
        return LoggedRun(self.config.budget, clients)

    def _view(self, name: str, evidence: SurvivalEvidence) -> ClientView:
        entitled = next(self._entries(name), ClientConfig())
        most = min(entitled.cap, self.config.max_proposal)
        return ClientView(
            acceptance_rate=evidence.acceptance_rate,
            goodput=1.0,
            weight=entitled.weight,
            max_grant=most,
            min_grant=min(entitled.floor, most),
            survival=tuple(evidence.survival(most)),
        )

    def _entries(self, name: str) -> Iterator[ClientConfig]:
        """The client's own entry, then the one for everybody."""
        for wanted in (name, ""):
            yield from (entry for entry in self.config.clients if entry.name == wanted)
