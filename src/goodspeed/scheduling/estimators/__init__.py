"""Estimators of a client's acceptance rate, survival curve and smoothed goodput, from its verdicts."""
