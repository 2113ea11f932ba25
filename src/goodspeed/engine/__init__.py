"""Target and draft engines: the interfaces, the embedded engine, the drafting methods and the toy pair."""
