"""Statistics of a verifier's events, live or simulated: step times, and times from verdict to next proposal."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from goodspeed.stats.summary import ratio


@dataclass(slots=True)
class StepStatistics:
    """An event sink for a verifier."""

    shapes: list[tuple[int, int, int, int]] = field(default_factory=list)  # the StepShape of each step
    steps_s: list[float] = field(default_factory=list)
    network_s: list[float] = field(default_factory=list)  # from verdict to proposal, without drafting
    drafting_s: list[float] = field(default_factory=list)
    info: dict[str, Any] = field(default_factory=dict)  # the target's TargetInfo
    _lengths: dict[int, int] = field(default_factory=dict)  # by stream of the engine
    _verdicts: dict[tuple[int, int], float] = field(default_factory=dict)  # time of each stream's last verdict

    def write(self, event: str, now: float, fields: Mapping[str, Any]) -> None:
        """See EventSink."""
        match event:
            case "start":
                self.info = dict(fields["info"])
            case "message":
                self._on_message(now, fields["conn"], fields["message"])
            case "verified" if fields["work"]:
                self._on_verified(now, fields)

    def read(self, lines: Iterable[str]) -> None:
        """Read the lines of an event log."""
        for line in lines:
            event = json.loads(line)
            self.write(event["event"], event["now"], event)

    @property
    def mean_network_s(self) -> float:
        """Mean time from a verdict to the next proposal, without drafting."""
        return ratio(sum(self.network_s), len(self.network_s))

    @property
    def streams_per_step(self) -> float:
        """Mean number of streams in a step."""
        return ratio(sum(shape[0] for shape in self.shapes), len(self.shapes))

    @property
    def step_s(self) -> float:
        """Mean step time."""
        return ratio(sum(self.steps_s), len(self.steps_s))

    def _on_message(self, now: float, conn: int, message: Mapping[str, Any]) -> None:
        if message["kind"] != "Propose":
            return
        verdict_at = self._verdicts.pop((conn, message["stream"]), None)
        if verdict_at is not None:
            drafting_s = message["drafting_us"] / 1e6
            self.network_s.append(now - verdict_at - drafting_s)
            self.drafting_s.append(drafting_s)

    def _on_verified(self, now: float, fields: Mapping[str, Any]) -> None:
        self.shapes.append(self._shape(fields["work"]))
        self.steps_s.append(now - fields["started"])
        for work, outcome in zip(fields["work"], fields["outcomes"], strict=True):
            new = work["num_tokens"] if work["kind"] == "Prefill" else outcome["num_accepted"]
            key = work["stream"]
            self._lengths[key] = self._lengths.get(key, 0) + new + (outcome["next_token"] is not None)
        for reply in fields["replies"]:
            if reply["kind"] == "Verdict":
                self._verdicts[reply["conn"], reply["stream"]] = now

    def _shape(self, step: Sequence[Mapping[str, Any]]) -> tuple[int, int, int, int]:
        """The StepShape as the simulated target computes it: the last committed token is not in the KV cache yet."""
        num_tokens = num_prefill = num_context = 0
        for work in step:
            length = self._lengths.get(work["stream"], 0)
            if work["kind"] == "Prefill":
                num_new = work["num_tokens"]
                num_prefill += num_new
                num_context += length + num_new
            else:
                num_new = 1 + len(work["draft_tokens"])
                num_context += length + num_new - 1
            num_tokens += num_new
        return len(step), num_tokens, num_prefill, num_context
