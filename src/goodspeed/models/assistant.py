"""Default settings of a draft checkpoint for assisted generation in transformers."""

from goodspeed.models.folder import JsonObject

ASSISTANT: JsonObject = {
    "num_assistant_tokens": 3,
    "num_assistant_tokens_schedule": "constant",
    "assistant_confidence_threshold": 0.4,
}
"""Keys of generation_config.json: the maximum draft length, and the probability below which a draft ends.

The default of transformers, 20 tokens, is too long for small draft models (docs/measurements/drafts.md).
"""
