"""Reads the acceptance of each client over a whole run from the event log of a verifier."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, repeat

from goodspeed.config import from_mapping
from goodspeed.errors import DataError
from goodspeed.protocol.session import num_common
from goodspeed.records.event_log import Event, check_start, read_events
from goodspeed.scheduling.estimators.evidence import SurvivalEvidence
from goodspeed.scheduling.scheduler import ClientView
from goodspeed.verifier.core.core_config import ClientConfig, VerifierCoreConfig
from goodspeed.verifier.core.draft_budget import automatic_budget


@dataclass(frozen=True, slots=True)
class LoggedRun:
    """The input of scheduling.optimum: the budget, and the survival curve of each client that proposed."""

    budget: int
    clients: dict[str, ClientView]


def logged_run(lines: Iterable[str]) -> LoggedRun:
    """Survival curves by the Kaplan-Meier estimator: tokens after a rejection or a cut are censored.

    `lines` is the event log of one verifier. A drafter that stops at low confidence censors its own evidence, so the
    curve describes the tokens that it proposes. Where the verifier verified its own draft in place of a proposal, the
    committed tokens say how far the proposal was right. Raises DataError for a line that is not an event and for
    another format of the log.
    """
    run: _LogReader | None = None
    for number, event in read_events(lines):
        try:
            if event["event"] == "start":
                check_start(event)
                run = _LogReader(from_mapping(VerifierCoreConfig, event["config"]))
                continue
            if run is None:
                raise ValueError("the log does not start with a start event")
            run.read(event)
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"line {number} of the event log: {error!r}") from error
    if run is None:
        raise DataError("the event log is empty, expected a start event")
    return run.result()


@dataclass(slots=True)
class _LogReader:
    """Collects acceptance by client while the log is read."""

    config: VerifierCoreConfig
    evidence: dict[str, SurvivalEvidence] = field(default_factory=dict)
    _proposals: Sequence[Sequence[int]] = ()  # by turn of the batch in the engine
    _names: dict[int, str] = field(default_factory=dict)  # drafter by connection
    _owners: dict[int, str] = field(default_factory=dict)  # drafter by stream key of the engine

    def read(self, event: Event) -> None:
        match event["event"]:
            case "message" if event["message"]["kind"] == "Hello":
                self._names[event["conn"]] = event["message"]["drafter"]
            case "batch":
                self._proposals = [turn["proposal"] for turn in event["batch"]["turns"]]
            case "verified":
                proposals = chain(self._proposals, repeat(()))  # prefills follow the turns
                rounds = [
                    (proposal, work, outcome)
                    for proposal, work, outcome in zip(proposals, event["work"], event["outcomes"], strict=False)
                    if outcome["next_token"] is not None
                ]
                verdicts = [reply for reply in event["replies"] if reply["kind"] == "Verdict"]
                self._identify([outcome for _, _, outcome in rounds], verdicts)
                for proposal, work, outcome in rounds:
                    self._observe(outcome["stream"], *_judged(proposal, work.get("draft_tokens", ()), outcome))

    def _identify(self, outcomes: Sequence[Event], verdicts: Sequence[Event]) -> None:
        """Verdicts are in the order of the outcomes; after a lost connection one is missing, and none is assigned."""
        if len(outcomes) == len(verdicts):
            for outcome, verdict in zip(outcomes, verdicts, strict=True):
                self._owners[outcome["stream"]] = self._names[verdict["conn"]]

    def _observe(self, stream: int, num_proposed: int, num_accepted: int) -> None:
        if num_proposed and stream in self._owners:
            evidence = self.evidence.setdefault(self._owners[stream], SurvivalEvidence())
            evidence.observe(num_proposed, num_accepted)

    def result(self) -> LoggedRun:
        clients = {name: self._view(name, evidence) for name, evidence in sorted(self.evidence.items())}
        return LoggedRun(self.config.budget or automatic_budget(len(clients)), clients)

    def _view(self, name: str, evidence: SurvivalEvidence) -> ClientView:
        entry = next(self._entries(name), ClientConfig())
        max_grant = min(entry.cap, self.config.max_proposal)
        return ClientView(
            acceptance_rate=evidence.acceptance_rate,
            goodput=1.0,
            weight=entry.weight,
            max_grant=max_grant,
            min_grant=min(entry.floor, max_grant),
            survival=tuple(evidence.survival(max_grant)),
        )

    def _entries(self, name: str) -> Iterator[ClientConfig]:
        """The entry of this client, then the entry for all clients."""
        for entry_name in (name, ""):
            yield from (entry for entry in self.config.clients if entry.name == entry_name)


def _judged(proposal: Sequence[int], verified: Sequence[int], outcome: Event) -> tuple[int, int]:
    """(proposed tokens of which the step says whether they were right, how many of these were)."""
    num_verified = num_common(proposal, verified)
    if num_verified in {len(proposal), len(verified)}:
        return num_verified, min(num_verified, outcome["num_accepted"])
    committed = (*verified[: outcome["num_accepted"]], outcome["next_token"])
    return min(len(proposal), len(committed)), num_common(proposal, committed)
