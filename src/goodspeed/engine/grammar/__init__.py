"""Constrained output: from the text of a constraint to the tokens that may follow."""
