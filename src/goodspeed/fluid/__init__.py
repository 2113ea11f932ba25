"""Numerical checks of the theory (docs/explain/theory.md): fluid limit, convergence, a bound on the tracking error."""
