"""Latency models: how long a forward pass takes, from measured tables, rooflines or straight lines."""
