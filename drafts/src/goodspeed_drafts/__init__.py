"""Packed draft models for GoodSpeed. `goodspeed.models.catalog` reads the files; this package has no code."""
