"""`goodspeed drafter` as a process, with a toy verification server."""

import asyncio
import contextlib
import json
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from goodspeed.cli import main
from goodspeed.drafter.acceptance_tracer import traced_answers
from goodspeed.drafter.assembly import load_tokenizer
from goodspeed.drafter.drafter_config import TOY
from goodspeed.drafter.event_log_replay import replay
from goodspeed.engine.toy_target import ToyTarget, toy_info
from goodspeed.protocol.grpc_config import GrpcServerConfig
from goodspeed.protocol.grpc_server import serve_grpc
from goodspeed.records.acceptance_trace import read_acceptance_trace
from goodspeed.verifier.core.core_config import VerifierCoreConfig
from goodspeed.verifier.server import VerifierServer

CHAT = {"model": "toy", "messages": [{"role": "user", "content": "x"}], "temperature": 0}


@contextlib.asynccontextmanager
async def verifier() -> AsyncIterator[tuple[ToyTarget, str]]:
    """A toy verifier over gRPC, and its address."""
    engine = ToyTarget(toy_info(load_tokenizer(TOY).fingerprint))
    server = VerifierServer(VerifierCoreConfig(), engine)
    grpc_server = await serve_grpc(server.serve, GrpcServerConfig(port=0))
    running = asyncio.create_task(server.run())
    try:
        yield engine, f"127.0.0.1:{grpc_server.port}"
    finally:
        await server.close()
        await running
        await grpc_server.stop(1.0)


@contextlib.asynccontextmanager
async def drafter(folder: Path, address: str, *flags: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """The process and its URL, once it is ready."""
    ready_file = folder / "ready.json"
    arguments = ("--verifiers", address, "--draft.engine", TOY, "--port", "0", "--ready-file", str(ready_file), *flags)
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "goodspeed", "drafter", *arguments)
    try:
        for _ in range(3000):
            if ready_file.exists():
                break
            await asyncio.sleep(0.01)
        yield process, f"http://127.0.0.1:{json.loads(ready_file.read_text())['port']}"
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def stop_in_mid_stream(folder: Path) -> None:
    log = folder / "events.jsonl"
    judged = folder / "acceptance.jsonl"
    flags = ("--event-log", str(log), "--acceptance-trace", str(judged), "--grace-s", "0.2", "--grpc.link.rtt-ms", "20")
    async with verifier() as (engine, address), drafter(folder, address, *flags) as (process, url):
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as client:
            whole = await client.post("/v1/chat/completions", json={**CHAT, "max_tokens": 20})
            assert whole.json()["usage"]["completion_tokens"] == 20
            long = {**CHAT, "max_tokens": 4000, "stream": True}
            async with client.stream("POST", "/v1/chat/completions", json=long) as response:
                lines = response.aiter_lines()
                await anext(lines)
                process.send_signal(signal.SIGTERM)
                rest = [line async for line in lines]
        assert await process.wait() == 0
        assert "the drafter is shutting down" in rest[-2]
        for _ in range(1000):
            if engine.num_open == 0:
                break
            await asyncio.sleep(0.01)
        assert engine.num_open == 0
    assert replay(log.read_text().splitlines()) is None
    answers = read_acceptance_trace(judged)
    assert [(answer.finish, answer.num_answer == 20) for answer in answers] == [("LENGTH", True), ("CANCELLED", False)]
    assert answers == list(traced_answers(log.read_text().splitlines(), answers[0].client))


def test_stopped_drafter_ends_its_streams_and_its_log_replays(tmp_path: Path) -> None:
    asyncio.run(asyncio.wait_for(stop_in_mid_stream(tmp_path), 60))


async def spread_over_two(folder: Path) -> None:
    log = folder / "events.jsonl"
    async with verifier() as (_, first), verifier() as (_, second):
        flags = ("--verifiers", first, second, "--routing", "round_robin", "--event-log", str(log))
        async with drafter(folder, first, *flags) as (process, url):
            async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as client:
                for _ in range(1000):
                    metrics = (await client.get("/metrics")).text
                    if all(
                        f'goodspeed_drafter_verifier_up{{verifier="{one}"}} 1.0' in metrics for one in (first, second)
                    ):
                        break
                    await asyncio.sleep(0.01)
                for _ in range(4):
                    await client.post("/v1/chat/completions", json={**CHAT, "max_tokens": 20})
                metrics = (await client.get("/metrics")).text
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
    for one in (first, second):
        assert f'goodspeed_drafter_verifier_committed_tokens_total{{verifier="{one}"}} 40.0' in metrics
    assert replay(log.read_text().splitlines()) is None


def test_routing_spreads_answers_over_the_verifiers(tmp_path: Path) -> None:
    asyncio.run(asyncio.wait_for(spread_over_two(tmp_path), 60))


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--verifiers", "nowhere"], "expected host:port"),
        (["--verifiers", "a:1", "--routing", "jsp"], "did you mean 'jsq'"),
        (["--verifiers", "a:1", "--window.policy", "fixt"], "did you mean 'fixed'"),
        (["--draft.engine", "toy", "--draft.acceptance-rate", "2"], "expected 0 to 1"),
        (["--tokenizer", "no-such-model"], "unknown model 'no-such-model'"),
    ],
)
def test_wrong_configuration_prints_a_message_and_exits_with_2(
    flags: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["drafter", *flags]) == 2
    assert words in capsys.readouterr().err


def test_port_in_use_prints_a_message(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["drafter", "--draft.engine", "toy", "--port", str(port)]) == 2
    assert f"cannot listen on 127.0.0.1:{port}" in capsys.readouterr().err
