"""When users ask, and how much: arrival processes, lengths, traces."""
