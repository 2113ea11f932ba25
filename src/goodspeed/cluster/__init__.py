"""Servers on this machine as processes: what a cluster is made of, and how it starts and stops."""
