"""Files that a run leaves: event logs and their replay, and acceptance traces."""
