"""Hooks of schemathesis: most bodies name the served model and hold a conversation, so that they get past the door."""

import random

import schemathesis

MESSAGES = [{"role": "user", "content": "Send a report."}]
CONVERSATIONS = {"/v1/chat/completions": ("messages", MESSAGES), "/v1/responses": ("input", "Send a report.")}
MAX_TOKENS = 50


@schemathesis.hook
def map_body(context, body):
    """Replace some fields; the rest stays as generated."""
    path = context.operation.path
    if not isinstance(body, dict) or not path.startswith("/v1/"):
        return body
    rng = random.Random(repr(body))
    changed = dict(body)
    if rng.random() < 0.95:
        changed["model"] = "default"
    if path in CONVERSATIONS and rng.random() < 0.8:
        name, conversation = CONVERSATIONS[path]
        changed[name] = conversation
    # Of the optional fields only a few: with all of them one is always wrong.
    optional = [name for name in changed if name not in {"model", "messages", "prompt", "input"}]
    for name in rng.sample(optional, max(0, len(optional) - rng.randint(0, 4))):
        del changed[name]
    return changed
