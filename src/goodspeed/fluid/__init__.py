"""The theory, checked numerically: fluid limit, convergence, and a bound on the tracking error (docs/theory.md)."""
