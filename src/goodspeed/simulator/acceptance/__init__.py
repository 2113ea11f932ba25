"""Acceptance models: which draft tokens the target would accept."""
