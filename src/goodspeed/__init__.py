"""Distributed speculative decoding: many drafters at the edge, one verifier, exactly the target's own text."""

__version__ = "0.1.0"
