"""Routing policies: the choice of the verifier at which a drafter opens a new stream."""
