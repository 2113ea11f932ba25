"""Batching policies decide when a batch closes, ordering policies which streams it holds."""
