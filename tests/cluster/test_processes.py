"""Servers as processes: they come up, and none stays behind, however their parent ends."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from goodspeed.cluster.cluster import Ports, start_clusters
from goodspeed.cluster.processes import Processes, ServerSpec
from goodspeed.cluster.topology import ClusterSpec, ServerOptions, uniform_drafters, with_event_logs
from goodspeed.errors import ConfigError, LinkLostError, StartError

PATIENCE_S = 60.0
PARENT = """
import sys, time
from pathlib import Path
from goodspeed.cluster.processes import Processes, ServerSpec
arguments = ("verifier", "--engine", "toy", "--grpc.port", "0", "--metrics-port", "0")
with Processes(Path(sys.argv[1])) as processes:
    processes.start(ServerSpec("verifier", arguments, 1))()
    print(*processes.pids, flush=True)
    time.sleep(600)
"""


def _toy_spec(name: str = "toy", num_drafters: int = 2) -> ClusterSpec:
    servers = ServerOptions("toy", acceptance_rate=0.8)
    drafters = uniform_drafters(servers.drafter_flags(), ("maths",), (), num_drafters)
    return ClusterSpec(name, servers.verifier_flags("gradient"), tuple(drafters))


def _eventually(is_so: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if is_so():
            return True
        time.sleep(0.02)
    return False


def _lives(pid: int) -> bool:
    """A zombie does not live."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_a_cluster_serves_and_leaves_no_process(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        (cluster,) = start_clusters(processes, [with_event_logs(_toy_spec(), tmp_path)])
        pids = processes.pids
        assert len(pids) == 3
        assert len(cluster.urls) == 2
        for url in (*cluster.metrics_urls, *(f"{url}/v1/models" for url in cluster.urls)):
            with urllib.request.urlopen(url, timeout=PATIENCE_S) as response:
                assert response.status == 200
        processes.check()
    assert not any(_lives(pid) for pid in pids)
    assert {path.name for path in tmp_path.glob("*.log")} == {
        "toy-verifier.log", "toy-client0.log", "toy-client1.log",
    }  # fmt: skip
    assert (tmp_path / "toy-verifier.jsonl").stat().st_size > 0


def test_a_server_that_does_not_come_up_shows_its_log(tmp_path: Path) -> None:
    spec = ServerSpec("wrong", ("verifier", "--engine", "toyy", "--grpc.port", "0", "--metrics-port", "0"), 1)
    with (
        Processes(tmp_path) as processes,
        pytest.raises(StartError, match=r"(?s)wrong has ended with exit code 2.*did you mean 'toy'"),
    ):
        processes.start(spec)()
    assert processes.pids == []


def test_an_error_that_a_dead_server_caused_shows_that_servers_log(tmp_path: Path) -> None:
    def lose_one() -> None:
        with Processes(tmp_path) as processes:
            arguments = ("verifier", "--engine", "toy", "--grpc.port", "0", "--metrics-port", "0")
            processes.start(ServerSpec("mortal", arguments, 1))()
            (pid,) = processes.pids
            os.kill(pid, signal.SIGKILL)
            raise LinkLostError("the answer broke off")

    with pytest.raises(StartError, match=r"(?s)mortal has ended with exit code -9.*serving") as caught:
        lose_one()
    assert isinstance(caught.value.__context__, LinkLostError)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_server_outlives_its_parent(tmp_path: Path, how: signal.Signals) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    try:
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 1
        assert all(_lives(pid) for pid in pids)
        parent.send_signal(how)
        assert parent.wait(PATIENCE_S) != 0
        assert _eventually(lambda: not any(_lives(pid) for pid in pids))
    finally:
        parent.kill()
        parent.stdout.close()


@pytest.mark.parametrize(
    ("pair", "scheduler", "complaint"),
    [("toyy", "fixed", "unknown pair 'toyy'"), ("toy", "fixd", "unknown scheduler 'fixd'")],
)
def test_unknown_names_are_refused_before_anything_starts(pair: str, scheduler: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        ServerOptions(pair, 0.8).verifier_flags(scheduler)


def test_drafters_take_domains_and_links_in_turns() -> None:
    drafters = uniform_drafters(ServerOptions("toy", 0.8).drafter_flags(), ("maths", "travel"), (5.0, 20.0, 80.0), 4)
    assert [drafter.domain for drafter in drafters] == ["maths", "travel", "maths", "travel"]
    assert [drafter.rtt_ms for drafter in drafters] == [5.0, 20.0, 80.0, 5.0]
    assert "20.0" in drafters[1].arguments(7700)
    with pytest.raises(ConfigError, match="clients is 0"):
        uniform_drafters(ServerOptions("toy", 0.8).drafter_flags(), ("maths",), (), 0)


def test_running_answers_end_before_their_verifier_stops(tmp_path: Path) -> None:
    """The answer takes many rounds of a slow link; it is at its start when the cluster is stopped."""
    servers = ServerOptions("toy", acceptance_rate=0.8)
    drafters = uniform_drafters(servers.drafter_flags(), ("maths",), (20.0,), 1)
    spec = ClusterSpec("toy", servers.verifier_flags("fixed"), tuple(drafters), grace_s=30.0)
    with Processes(tmp_path) as processes:
        (cluster,) = start_clusters(processes, [replace_grace(spec)])
        body = {"model": "default", "prompt": "x", "max_tokens": 150, "temperature": 0, "stream": True}
        request = urllib.request.Request(
            f"{cluster.urls[0]}/v1/completions", json.dumps(body).encode(), {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            events = iter(response)
            while not next(events).startswith(b"data: "):
                pass
            stopping = threading.Thread(target=processes.stop)
            stopping.start()
            rest = b"".join(events)
            stopping.join()
    assert b'"finish_reason":"length"' in rest
    assert rest.rstrip().endswith(b"data: [DONE]")


def replace_grace(spec: ClusterSpec) -> ClusterSpec:
    """With the drafters' own grace period as long as that of the cluster."""
    flags = ("--grace-s", str(spec.grace_s))
    return replace(spec, drafters=tuple(replace(each, flags=(*each.flags, *flags)) for each in spec.drafters))


def test_port_in_use_is_found_before_a_server_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, Processes(tmp_path) as processes:
        port = taken.getsockname()[1]
        for ports in (Ports(verifier=port), Ports(metrics=port), Ports(first_drafter=port - 1)):
            with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{port}"):
                start_clusters(processes, [_toy_spec()], ports)
        with pytest.raises(ConfigError, match="2 drafters from port 65535 on need ports up to 65536"):
            start_clusters(processes, [_toy_spec()], Ports(first_drafter=65535))
        assert processes.pids == []
