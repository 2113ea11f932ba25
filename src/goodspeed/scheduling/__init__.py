"""Policies that share the verification budget among clients, and the estimators that they use."""
