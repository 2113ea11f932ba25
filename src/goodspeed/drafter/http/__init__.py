"""The OpenAI-compatible HTTP edge of a drafter."""
