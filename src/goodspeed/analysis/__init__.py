"""Fits of acceptance models to recorded acceptance traces."""
