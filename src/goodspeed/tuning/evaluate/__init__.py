"""Evaluation of draft engines on recorded answers."""
