"""How long steps, rounds and the target-only baseline take."""
