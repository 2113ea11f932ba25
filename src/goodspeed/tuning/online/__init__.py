"""Tuning of drafts from live traffic."""
