"""Experiments with the simulator: replications, sweeps, metrics and reports."""
