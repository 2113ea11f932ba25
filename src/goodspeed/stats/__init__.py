"""Statistics on plain numbers: summaries, confidence intervals, tests, moving averages."""
