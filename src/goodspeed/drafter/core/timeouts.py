"""The drafter's timeouts and their error messages."""

import math
from collections.abc import Iterator

from goodspeed.drafter.core.core_config import RetryConfig
from goodspeed.drafter.core.links import VerifierLinks
from goodspeed.drafter.core.user_streams import UserStream, UserStreams
from goodspeed.errors import CapacityError, GoodSpeedError, LinkLostError


class Timeouts:
    """Finds the streams that have waited too long. Callers may change a stream's state while they iterate."""

    def __init__(self, config: RetryConfig) -> None:
        self._config = config
        self.no_verdict_reason = f"no verdict for {config.verdict_s:g} s"

    def next_at(self, streams: UserStreams, links: VerifierLinks) -> float | None:
        """When the next timeout ends or the next attempt to open a stream is due; None: there is none."""
        end = math.inf
        for stream in streams.waiting.values():
            if stream.stalled_since is not None:
                end = min(end, stream.stalled_since + self._config.give_up_s)
            if (attempt_at := links.next_attempt_at(stream)) is not None:
                end = min(end, attempt_at)
        for stream in streams.opening.values():
            end = min(end, stream.since + self._config.first_token_s)
            break  # the first in a queue is the first to time out
        for stream in streams.awaiting_verdict.values():
            end = min(end, stream.last_sent_at + self._config.repeat_s)
            break
        return end if end < math.inf else None

    def stalled(self, streams: UserStreams, now: float) -> Iterator[UserStream]:
        """Streams that no verifier has admitted for give_up_s."""
        for stream in list(streams.waiting.values()):
            if stream.stalled_since is not None and stream.stalled_since + self._config.give_up_s <= now:
                yield stream

    def unstarted(self, streams: UserStreams, now: float) -> Iterator[UserStream]:
        """Streams whose first verdict has not come for first_token_s."""
        for stream in list(streams.opening.values()):
            if stream.since + self._config.first_token_s > now:
                return
            yield stream

    def overdue(self, streams: UserStreams, now: float) -> Iterator[UserStream]:
        """Streams whose verdict has not come for repeat_s since the proposal was last sent."""
        for stream in list(streams.awaiting_verdict.values()):
            if stream.last_sent_at + self._config.repeat_s > now:
                return
            yield stream

    def is_given_up(self, stream: UserStream, now: float) -> bool:
        """The verdict has not come for verdict_s since the proposal was first sent."""
        return stream.since + self._config.verdict_s <= now

    def unstarted_error(self) -> GoodSpeedError:
        return CapacityError(f"the verifier has not started the answer for {self._config.first_token_s:g} s")

    def stalled_error(self, stream: UserStream, links: VerifierLinks) -> GoodSpeedError:
        duration = f"for {self._config.give_up_s:g} s"
        if not links.is_up:
            return LinkLostError(f"no verifier could be reached {duration}: {links.lost_reason}")
        if stream.last_refusal:
            return CapacityError(f"the verifier had no room {duration}: {stream.last_refusal}")
        return CapacityError(f"all {links.max_streams} streams of this drafter were taken {duration}")
