"""The embedded default engine: a lean decoder, ragged packed batches, one KV cache per stream."""
