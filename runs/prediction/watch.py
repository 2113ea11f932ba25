"""What a verifier's events say of its steps, and of the time from a verdict to a proposal: live or simulated."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from goodspeed.stats.summary import ratio


@dataclass(slots=True)
class Watch:
    """An EventSink of a verifier."""

    shapes: list[tuple[int, int, int, int]] = field(default_factory=list)  # as StepShape, of each step
    steps_s: list[float] = field(default_factory=list)
    gaps_s: list[float] = field(default_factory=list)  # from verdict to proposal, drafting left out
    drafting_s: list[float] = field(default_factory=list)
    info: dict[str, Any] = field(default_factory=dict)  # the target's TargetInfo
    _lengths: dict[int, int] = field(default_factory=dict)  # by stream of the engine
    _verdicts: dict[tuple[int, int], float] = field(default_factory=dict)  # when each stream had its last one
    _work: list[Any] = field(default_factory=list)

    def write(self, event: str, now: float, fields: Mapping[str, Any]) -> None:
        """As EventSink."""
        match event:
            case "start":
                self.info = dict(fields["info"])
            case "message":
                self._on_message(now, fields["conn"], fields["message"])
            case "batch":
                self._work = fields["batch"]["work"]
            case "verified" if self._work:
                self._on_verified(now, fields)

    def read(self, lines: Iterable[str]) -> None:
        """A log's events."""
        for line in lines:
            event = json.loads(line)
            self.write(event["event"], event["now"], event)

    @property
    def gap_s(self) -> float:
        """Mean."""
        return ratio(sum(self.gaps_s), len(self.gaps_s))

    @property
    def streams_per_step(self) -> float:
        """Mean."""
        return ratio(sum(shape[0] for shape in self.shapes), len(self.shapes))

    @property
    def step_s(self) -> float:
        """Mean."""
        return ratio(sum(self.steps_s), len(self.steps_s))

    def _on_message(self, now: float, conn: int, message: Mapping[str, Any]) -> None:
        if message["kind"] != "Propose":
            return
        verdict_at = self._verdicts.pop((conn, message["stream"]), None)
        if verdict_at is not None:
            drafting_s = message["drafting_us"] / 1e6
            self.gaps_s.append(now - verdict_at - drafting_s)
            self.drafting_s.append(drafting_s)

    def _on_verified(self, now: float, fields: Mapping[str, Any]) -> None:
        self.shapes.append(self._shape())
        self.steps_s.append(now - fields["started"])
        for work, outcome in zip(self._work, fields["outcomes"], strict=True):
            new = work["num_tokens"] if work["kind"] == "Prefill" else outcome["num_accepted"]
            key = work["stream"]
            self._lengths[key] = self._lengths.get(key, 0) + new + (outcome["next_token"] is not None)
        for reply in fields["replies"]:
            if reply["kind"] == "Verdict":
                self._verdicts[reply["conn"], reply["stream"]] = now

    def _shape(self) -> tuple[int, int, int, int]:
        """As the simulated target reckons it: the last committed token is new to the cache."""
        num_tokens = num_prefill = num_context = 0
        for work in self._work:
            length = self._lengths.get(work["stream"], 0)
            if work["kind"] == "Prefill":
                num_new = work["num_tokens"]
                num_prefill += num_new
                num_context += length + num_new
            else:
                num_new = 1 + len(work["draft_tokens"])
                num_context += length + num_new - 1
            num_tokens += num_new
        return len(self._work), num_tokens, num_prefill, num_context
