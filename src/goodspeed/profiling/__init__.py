"""Latency tables: the measured cost of an engine step."""
