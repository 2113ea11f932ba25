"""A discrete-event simulator of drafters, verifiers and networks, around the cores of the live servers."""
