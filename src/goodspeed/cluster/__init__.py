"""Clusters of server processes on this machine: their configuration, start and end."""
