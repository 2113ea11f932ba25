"""Data sets of target answers: collecting, storing and reading them."""
