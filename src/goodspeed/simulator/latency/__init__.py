"""How long a forward pass takes: measured tables, rooflines, straight lines."""
