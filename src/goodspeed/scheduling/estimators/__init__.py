"""What a client's verdicts say about it: its acceptance rate, its survival curve, its smoothed goodput."""
