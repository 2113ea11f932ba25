"""How long a drafter waits for what, and what it says when it waits no more."""

import math
from collections.abc import Iterator

from goodspeed.drafter.core.core_config import RetryConfig
from goodspeed.drafter.core.links import VerifierLinks
from goodspeed.drafter.core.user_streams import UserStream, UserStreams
from goodspeed.errors import CapacityError, GoodSpeedError, LinkLostError


class Timeouts:
    """With verifiers, by the parts of the UserStreams. What it returns may leave those parts meanwhile."""

    def __init__(self, config: RetryConfig) -> None:
        self._config = config
        self.overdue_reason = f"no verdict for {config.verdict_s:g} s"

    def next_end(self, streams: UserStreams, links: VerifierLinks) -> float | None:
        """When on_time is due though nothing happens; None: never."""
        end = math.inf
        for stream in streams.waiting.values():
            if stream.stalled_since is not None:
                end = min(end, stream.stalled_since + self._config.give_up_s)
            if (chance := links.next_chance(stream)) is not None:
                end = min(end, chance)
        for stream in streams.opening.values():
            end = min(end, stream.since + self._config.first_token_s)
            break  # the others came later
        for sent_at in streams.owed.values():
            end = min(end, sent_at + self._config.repeat_s)
            break
        return end if end < math.inf else None

    def stalled(self, streams: UserStreams, now: float) -> Iterator[UserStream]:
        """Which no verifier has had for too long."""
        for stream in list(streams.waiting.values()):
            if stream.stalled_since is not None and stream.stalled_since + self._config.give_up_s <= now:
                yield stream

    def unbegun(self, streams: UserStreams, now: float) -> Iterator[UserStream]:
        """Whose first token has not come for too long."""
        for stream in list(streams.opening.values()):
            if stream.since + self._config.first_token_s > now:
                return
            yield stream

    def overdue(self, streams: UserStreams, now: float) -> Iterator[UserStream]:
        """Whose verdict has not come since the proposal was sent the last time."""
        for key, sent_at in list(streams.owed.items()):
            if sent_at + self._config.repeat_s > now:
                return
            if stream := streams.get(key):
                yield stream

    def is_given_up(self, stream: UserStream, now: float) -> bool:
        """The verdict has not come since the proposal was sent for the first time."""
        return stream.since + self._config.verdict_s <= now

    def unbegun_error(self) -> GoodSpeedError:
        return CapacityError(f"the verifier has not begun for {self._config.first_token_s:g} s")

    def stall_error(self, stream: UserStream, links: VerifierLinks) -> GoodSpeedError:
        waited = f"for {self._config.give_up_s:g} s"
        if not links.is_up:
            return LinkLostError(f"no verifier could be reached {waited}: {links.lost_reason}")
        if stream.refusal:
            return CapacityError(f"the verifier had no room {waited}: {stream.refusal}")
        return CapacityError(f"all {links.max_streams} streams of this drafter were taken {waited}")
