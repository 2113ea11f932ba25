"""The embedded engine on PyTorch: a minimal decoder, ragged packed batches, a KV cache in blocks."""
