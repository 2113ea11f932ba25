"""Draft models made for one target: its answers collected, a student distilled from them, weights packed to ship."""
