"""Clusters on this machine: every server a process of its own, on free ports unless told otherwise."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from goodspeed.cluster.machine import num_cores
from goodspeed.cluster.processes import Processes, ReadyServer, ServerSpec
from goodspeed.cluster.topology import ClusterSpec

DRAFTER_THREADS = 1


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the servers listen; 0 = any free port."""

    verifier: int = 0
    metrics: int = 0
    first_drafter: int = 0
    """The others take the ports that follow."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster that serves."""

    name: str
    verifier: ReadyServer
    drafters: tuple[ReadyServer, ...]

    @property
    def urls(self) -> tuple[str, ...]:
        """The OpenAI endpoints, one per drafter."""
        return tuple(f"http://127.0.0.1:{ready.port}" for ready in self.drafters)

    @property
    def verifier_address(self) -> str:
        """Where drafters dial."""
        return f"127.0.0.1:{self.verifier.port}"

    @property
    def metrics_urls(self) -> tuple[str, ...]:
        """The verifier's, then one per drafter."""
        ports = (self.verifier.metrics_port, *(ready.port for ready in self.drafters))
        return tuple(f"http://127.0.0.1:{port}/metrics" for port in ports)


def start_clusters(
    processes: Processes,
    specs: Sequence[ClusterSpec],
    ports: Ports = Ports(),
) -> list[Cluster]:
    """Start them side by side. Raises StartError with the log of the server that fails."""
    verifiers = [processes.start(_verifier(spec, ports)) for spec in specs]
    drafters = [_start_drafters(processes, spec, wait(), ports) for spec, wait in zip(specs, verifiers, strict=True)]
    return [
        Cluster(spec.name, wait(), tuple(wait_drafter() for wait_drafter in mine))
        for spec, wait, mine in zip(specs, verifiers, drafters, strict=True)
    ]


def _start_drafters(
    processes: Processes, spec: ClusterSpec, verifier: ReadyServer, ports: Ports
) -> list[Callable[[], ReadyServer]]:
    waits = []
    for number, drafter in enumerate(spec.drafters):
        port = ports.first_drafter + number if ports.first_drafter else 0
        arguments = (*drafter.arguments(verifier.port), "--port", str(port))
        waits.append(processes.start(ServerSpec(f"{spec.name}-{drafter.name}", arguments, DRAFTER_THREADS)))
    return waits


def _verifier(spec: ClusterSpec, ports: Ports) -> ServerSpec:
    where = ("--grpc.port", str(ports.verifier), "--metrics-port", str(ports.metrics))
    return ServerSpec(f"{spec.name}-verifier", ("verifier", *where, *spec.verifier), num_cores())
