"""Models on disk: the catalog, checkpoints, GGUF files, tokenizers and fingerprints."""
