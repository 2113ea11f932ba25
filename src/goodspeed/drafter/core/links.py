"""All verifiers of a drafter: which are up, which to dial, and which a stream goes to."""

from collections.abc import Iterator, Sequence

import numpy as np

from goodspeed.drafter.core.core_config import DrafterCoreConfig
from goodspeed.drafter.core.decisions import Dial
from goodspeed.drafter.core.link import VerifierLink
from goodspeed.drafter.core.user_streams import UserStream
from goodspeed.protocol.messages import Welcome
from goodspeed.routing.policies import ONE_AT_A_TIME, ROUTINGS


class VerifierLinks:
    """By index in the drafter's list. All links that are up are to verifiers of one model."""

    def __init__(self, config: DrafterCoreConfig, rng: np.random.Generator) -> None:
        self.welcome: Welcome | None = None
        """The tightest of those that are up, or the last one's; None before the first."""
        self.lost_reason = "not connected yet"
        self._num_verifiers = config.num_verifiers
        self._retry = config.retry
        self._links: list[
            VerifierLink
        ] = []  # up to the last that anybody asked for: one of many verifiers may be all it needs
        self._routing = ROUTINGS[config.routing]()
        self._is_one_at_a_time = config.routing in ONE_AT_A_TIME
        self._rng = rng

    def __getitem__(self, verifier: int) -> VerifierLink:
        while len(self._links) <= verifier < self._num_verifiers:
            self._links.append(VerifierLink(len(self._links), self._retry))
        return self._links[verifier]

    def __iter__(self) -> Iterator[VerifierLink]:
        return (self[verifier] for verifier in range(self._num_verifiers))

    @property
    def is_up(self) -> bool:
        """Any is."""
        return any(link.is_up for link in self._links)

    @property
    def max_streams(self) -> int:
        """That this drafter may have open, at all verifiers that are up."""
        return sum(link.welcome.max_streams for link in self._links if link.is_up and link.welcome)

    @property
    def dials(self) -> Sequence[Dial]:
        """Whom to dial, and when. Each stands until its link is reported up or lost."""
        if not self._is_one_at_a_time:
            return [dial for link in self if (dial := link.dialling.dial)]
        dials = [dial for link in self._links if (dial := link.dialling.dial)]
        if len(dials) < len(self._links):
            return []
        if len(self._links) < self._num_verifiers:
            dials.append(Dial(len(self._links), 0.0))  # the first that was never dialled
        return [min(dials, key=lambda dial: dial.at)]

    def on_up(self, verifier: int, welcome: Welcome, now: float) -> None:
        self[verifier].on_up(welcome, now)
        self._choose_welcome()

    def on_lost(self, verifier: int, reason: str, now: float) -> None:
        self.lost_reason = reason
        link = self[verifier]
        link.is_up = False
        link.dialling.on_lost(now, self._rng)
        self._choose_welcome()

    def pick(self, stream: UserStream, now: float) -> VerifierLink | None:
        """Where the stream is to be opened: where it was, else where the policy says; None: nowhere now."""
        if stream.link:
            return stream.link if stream.link.has_room else None
        candidates = [link.view() for link in self._links if link.has_room and stream.may_ask_at(link.index) <= now]
        return self._links[self._routing.pick(candidates, self._rng)] if candidates else None

    def next_chance(self, stream: UserStream) -> float | None:
        """When the stream may next be opened somewhere, if nothing else happens; None: never."""
        if stream.link:
            return stream.since if stream.link.has_room else None
        return min((stream.may_ask_at(link.index) for link in self._links if link.has_room), default=None)

    def _choose_welcome(self) -> None:
        up = [link.welcome for link in self._links if link.is_up and link.welcome]
        if up:
            self.welcome = min(up, key=lambda welcome: welcome.max_context)
