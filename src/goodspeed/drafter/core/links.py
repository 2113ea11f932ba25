"""The links to all verifiers of a drafter: which to dial, and where a stream is opened."""

from collections.abc import Iterator, Sequence

import numpy as np

from goodspeed.drafter.core.core_config import DrafterCoreConfig
from goodspeed.drafter.core.link import Dial, VerifierLink
from goodspeed.drafter.core.user_streams import UserStream
from goodspeed.protocol.messages import Welcome
from goodspeed.routing.policies import ONE_AT_A_TIME, ROUTINGS


class VerifierLinks:
    """Links by index in the drafter's list of verifiers. All that are up serve the same model."""

    def __init__(self, config: DrafterCoreConfig, rng: np.random.Generator) -> None:
        self.welcome: Welcome | None = None
        """The tightest limits of the verifiers that are up or, while none is, of the last; None before the first."""
        self.lost_reason = "not connected yet"
        """Why the last link was lost."""
        self._num_verifiers = config.num_verifiers
        self._retry = config.retry
        self._links: list[VerifierLink] = []  # created on first use: of many verifiers a drafter may need one
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
        """True if any link is up."""
        return any(link.is_up for link in self._links)

    @property
    def can_constrain(self) -> bool:
        """Whether a verifier that was up takes constrained streams."""
        return any(link.grammars for link in self._links)

    @property
    def max_streams(self) -> int:
        """Streams that this drafter may have open at all verifiers that are up together."""
        return sum(link.welcome.max_streams for link in self._links if link.is_up and link.welcome)

    @property
    def dials(self) -> Sequence[Dial]:
        """The connections to make. Each stays in the list until its link is reported up or lost."""
        if not self._is_one_at_a_time:
            return [dial for link in self if (dial := link.reconnection.dial)]
        dials = [dial for link in self._links if (dial := link.reconnection.dial)]
        if len(dials) < len(self._links):
            return []
        if len(self._links) < self._num_verifiers:
            dials.append(Dial(len(self._links), 0.0))  # the first verifier that was never dialled
        return [min(dials, key=lambda dial: dial.at)]

    def on_up(self, verifier: int, welcome: Welcome, now: float) -> None:
        self[verifier].on_up(welcome, now)
        self._choose_welcome()

    def on_lost(self, verifier: int, reason: str, now: float) -> None:
        self.lost_reason = reason
        self[verifier].on_lost(now, self._rng)
        self._choose_welcome()

    def pick(self, stream: UserStream, now: float) -> VerifierLink | None:
        """Where to open the stream: at its own verifier if it has one, else as the policy says; None: nowhere now."""
        if stream.link:
            return stream.link if stream.link.has_room else None
        usable = [link for link in self._links if link.has_room and stream.can_move_to(link.grammars)]
        candidates = [link.view() for link in usable if stream.retry_at(link.index) <= now]
        return self._links[self._routing.pick(candidates, self._rng)] if candidates else None

    def next_attempt_at(self, stream: UserStream) -> float | None:
        """When a waiting stream can be opened if nothing else happens; None: no verifier has room."""
        if stream.link:
            return stream.since if stream.link.has_room else None
        usable = [link for link in self._links if link.has_room and stream.can_move_to(link.grammars)]
        return min((stream.retry_at(link.index) for link in usable), default=None)

    def _choose_welcome(self) -> None:
        up = [link.welcome for link in self._links if link.is_up and link.welcome]
        if up:
            self.welcome = min(up, key=lambda welcome: welcome.max_context)
