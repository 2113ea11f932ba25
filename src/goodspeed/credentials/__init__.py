"""Credentials: which name belongs to whom, at the verifier and at a drafter's HTTP API."""
