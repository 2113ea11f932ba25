"""Training of draft models and n-gram tables."""
