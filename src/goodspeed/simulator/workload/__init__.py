"""Workloads: when users send requests and how long these are, from arrival processes or traces."""
