"""Decoding without I/O: sampling parameters, token distributions, shared noise and the three acceptance rules."""
