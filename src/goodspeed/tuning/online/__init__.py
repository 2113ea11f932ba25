"""Training of drafts from the traffic of a running drafter."""
