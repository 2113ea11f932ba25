"""Latency tables: the measured time of engine steps."""
