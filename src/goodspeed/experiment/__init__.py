"""Experiments on the simulator: replications, sweeps, metrics, reports."""
