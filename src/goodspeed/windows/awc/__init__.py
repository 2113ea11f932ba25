"""Adaptive window control (AWC) of DSD (arXiv 2511.21669): a small network chooses the window and mode of streams."""
