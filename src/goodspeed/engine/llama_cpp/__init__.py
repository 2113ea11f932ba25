"""llama.cpp as a target engine and as a draft model: GGUF files of every architecture that it knows."""
