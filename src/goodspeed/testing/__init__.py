"""Virtual verifiers, drafters and workloads for tests and runs."""
