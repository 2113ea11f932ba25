"""Live experiments in one process: a real verifier, real drafters, every round on record."""
