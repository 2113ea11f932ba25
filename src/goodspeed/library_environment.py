"""Environment variables that libraries read once, when they are first used. The CLI sets them; an import sets none."""

import os

LIBRARY_ENVIRONMENT = {
    # gRPC's default prints a line to stderr for every connection that a peer ends.
    "GRPC_VERBOSITY": "ERROR",
    # Loop iterations for which an idle OpenMP thread spins before it sleeps: about 0.1 ms. The default of libgomp,
    # 300,000, keeps the cores busy for milliseconds after every forward pass, while drafters on the same machine need
    # them. 5,000 iterations last longer than the pauses within a pass (docs/explain/engine.md).
    "GOMP_SPINCOUNT": "5000",
}


def set_library_environment() -> None:
    """Set the variables that the user has not set. Call it before gRPC or torch is imported."""
    for name, value in LIBRARY_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
