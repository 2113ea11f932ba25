"""How transformers' assisted generation uses a draft checkpoint when its user sets nothing."""

from goodspeed.models.folder import JsonObject

ASSISTANT: JsonObject = {
    "num_assistant_tokens": 3,
    "num_assistant_tokens_schedule": "constant",
    "assistant_confidence_threshold": 0.4,
}
"""Keys of generation_config.json: the longest draft of a round, and the probability of a draft token below which a
draft ends. transformers' own default of 20 tokens is far too long for small drafts; measured in
docs/measurements/drafts.md.
"""
