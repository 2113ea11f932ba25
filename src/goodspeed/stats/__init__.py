"""Statistics on plain numbers: summaries, intervals, tests, moving averages."""
