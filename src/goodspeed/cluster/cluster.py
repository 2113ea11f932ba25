"""Starts clusters on this machine: one process per server, on free ports by default."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from goodspeed.cluster.machine import num_cores
from goodspeed.cluster.processes import Processes, ReadyServer, ServerSpec
from goodspeed.cluster.topology import ClusterSpec
from goodspeed.errors import ConfigError
from goodspeed.protocol.address import MAX_PORT, Address, check_port_is_free

DRAFTER_THREADS = 1
HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the servers listen; 0 = any free port."""

    verifier: int = 0
    metrics: int = 0
    first_drafter: int = 0
    """Port of the first drafter; the others use the following ports."""

    def of_drafters(self, num_drafters: int) -> list[int]:
        """Raises ConfigError if there are not so many ports."""
        last = self.first_drafter + num_drafters - 1
        if self.first_drafter and last > MAX_PORT:
            raise ConfigError(f"{num_drafters} drafters from port {self.first_drafter} on need ports up to {last}")
        return [self.first_drafter + number if self.first_drafter else 0 for number in range(num_drafters)]


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running cluster."""

    name: str
    verifier: ReadyServer
    drafters: tuple[ReadyServer, ...]

    @property
    def urls(self) -> tuple[str, ...]:
        """The OpenAI endpoints, one per drafter."""
        return tuple(f"http://127.0.0.1:{ready.port}" for ready in self.drafters)

    @property
    def verifier_address(self) -> str:
        """The address that drafters connect to."""
        return f"127.0.0.1:{self.verifier.port}"

    @property
    def metrics_urls(self) -> tuple[str, ...]:
        """Metrics of the verifier, then of each drafter."""
        ports = (self.verifier.metrics_port, *(ready.port for ready in self.drafters))
        return tuple(f"http://127.0.0.1:{port}/metrics" for port in ports)


def start_clusters(
    processes: Processes,
    specs: Sequence[ClusterSpec],
    ports: Ports = Ports(),
) -> list[Cluster]:
    """Start all clusters concurrently.

    Raises StartError with the log of the server that fails, and ConfigError at once if a port cannot be used.
    """
    for port in [*ports.of_drafters(max(len(spec.drafters) for spec in specs)), ports.verifier, ports.metrics]:
        check_port_is_free(Address(HOST, port))
    verifiers = [processes.start(_verifier(spec, ports)) for spec in specs]
    drafters = [_start_drafters(processes, spec, wait(), ports) for spec, wait in zip(specs, verifiers, strict=True)]
    return [
        Cluster(spec.name, wait(), tuple(wait_drafter() for wait_drafter in of_cluster))
        for spec, wait, of_cluster in zip(specs, verifiers, drafters, strict=True)
    ]


def start_dashboard(processes: Processes, clusters: Sequence[Cluster], port: int = 0) -> str:
    """Start the live page of these clusters; returns its address. Raises StartError."""
    verifiers = [url for cluster in clusters for url in cluster.metrics_urls[:1]]
    drafters = [url for cluster in clusters for url in cluster.urls]
    arguments = ("dashboard", "--verifiers", *verifiers, "--drafters", *drafters, "--port", str(port))
    ready = processes.start(ServerSpec("dashboard", arguments, 1))()
    return f"http://{HOST}:{ready.port}/"


def _start_drafters(
    processes: Processes, spec: ClusterSpec, verifier: ReadyServer, ports: Ports
) -> list[Callable[[], ReadyServer]]:
    waits = []
    for drafter, port in zip(spec.drafters, ports.of_drafters(len(spec.drafters)), strict=True):
        arguments = (*drafter.arguments(verifier.port), "--port", str(port))
        waits.append(
            processes.start(ServerSpec(f"{spec.name}-{drafter.name}", arguments, DRAFTER_THREADS, spec.grace_s))
        )
    return waits


def _verifier(spec: ClusterSpec, ports: Ports) -> ServerSpec:
    where = ("--grpc.port", str(ports.verifier), "--metrics-port", str(ports.metrics))
    return ServerSpec(f"{spec.name}-verifier", ("verifier", *where, *spec.verifier), num_cores())
