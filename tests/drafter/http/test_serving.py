"""The socket of the web server."""

import asyncio
import socket

import pytest

from goodspeed.drafter.http.serving import listen
from goodspeed.errors import ConfigError


def test_a_small_piece_of_text_does_not_wait_for_the_one_before_to_be_acknowledged() -> None:
    async def accepted_nodelay() -> int:
        accepted = asyncio.get_running_loop().create_future()

        def on_connection(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            accepted.set_result(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        listener = listen("127.0.0.1", 0)
        server = await asyncio.start_server(on_connection, sock=listener)
        async with server:
            _, writer = await asyncio.open_connection("127.0.0.1", listener.getsockname()[1])
            nodelay = int(await accepted)
            writer.close()
        return nodelay

    assert asyncio.run(accepted_nodelay()) != 0


def test_a_port_in_use_is_named() -> None:
    with listen("127.0.0.1", 0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{port}"):
            listen("127.0.0.1", port)
