"""Acceptance models fitted to measured acceptance traces, and how well they fit."""
