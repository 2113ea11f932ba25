"""Models on disk: catalog, checkpoints, GGUF, tokenizer and its fingerprint."""
