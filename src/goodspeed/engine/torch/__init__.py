"""The embedded engine on PyTorch: a minimal decoder, ragged packed batches, one KV cache region per stream."""
