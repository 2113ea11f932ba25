"""One drafter's link as the server holds it: messages go out through a pump of its own, so nobody waits for it."""

import asyncio

from goodspeed.errors import LinkLostError
from goodspeed.protocol.messages import Message
from goodspeed.protocol.transport import Connection
from goodspeed.verifier.core.outbox import ends_session

MAX_POSTED = 4096
"""Messages that wait for a drafter which reads slowly; with more it has stopped reading, and is cut off."""


class DrafterLink:
    """Make it inside a running event loop. `sending` is done once the link is lost or the session's end is sent."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.drafter = ""  # until its Hello
        self._posted: list[Message] = []
        self._wanted = asyncio.Event()
        self._has_ended = False
        self.sending = asyncio.create_task(self._send_posted(), name=f"to {connection.peer}")

    def post(self, message: Message) -> None:
        """Queue a message; never waits. What comes after the one that ends the session is dropped."""
        if self._has_ended:
            return
        self._posted.append(message)
        self._has_ended = ends_session(message)
        self._wanted.set()
        if len(self._posted) > MAX_POSTED:
            self._has_ended = True
            self.sending.cancel()

    async def _send_posted(self) -> None:
        while self._posted or not self._has_ended:
            await self._wanted.wait()
            self._wanted.clear()
            posted, self._posted = self._posted, []
            try:
                await self.connection.send(posted)
            except LinkLostError:
                return
