"""The verifier's decisions: admission, batching, leases, estimates, grants. No clock, socket or thread."""
