"""The server's side of one drafter's link. A task of its own sends the messages, so a slow link delays no other."""

import asyncio

from goodspeed.errors import LinkLostError
from goodspeed.protocol.messages import Message
from goodspeed.protocol.transport import Connection
from goodspeed.verifier.core.outbox import ends_session

MAX_QUEUED = 4096
"""Maximum of queued messages. A drafter with more has stopped reading, and its link is closed."""


class DrafterLink:
    """Needs a running event loop. The task `sending` ends when the link is lost or the last message is sent."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.drafter = ""  # empty until its Hello
        self._queued: list[Message] = []
        self._has_messages = asyncio.Event()
        self._has_ended = False
        self.sending = asyncio.create_task(self._send_queued(), name=f"to {connection.peer}")

    def post(self, message: Message) -> None:
        """Queue a message, without waiting. Messages after the one that ends the session are dropped."""
        if self._has_ended:
            return
        self._queued.append(message)
        self._has_ended = ends_session(message)
        self._has_messages.set()
        if len(self._queued) > MAX_QUEUED:
            self._has_ended = True
            self.sending.cancel()

    async def _send_queued(self) -> None:
        while self._queued or not self._has_ended:
            await self._has_messages.wait()
            self._has_messages.clear()
            queued, self._queued = self._queued, []
            try:
                await self.connection.send(queued)
            except LinkLostError:
                return
