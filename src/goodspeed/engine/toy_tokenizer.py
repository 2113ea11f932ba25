"""A byte-level tokenizer for the toy model."""

import json
from pathlib import Path

import tokenizers

from goodspeed.engine.toy_model import SPECIAL_TOKENS
from goodspeed.models.detokenizer import BYTE_BY_CHARACTER

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def toy_tokenizer(folder: Path) -> None:
    """Write a byte-level tokenizer with a chat template into the folder, in the files of a checkpoint."""
    char_of = {byte: char for char, byte in BYTE_BY_CHARACTER.items()}
    vocab = {char_of[byte]: byte for byte in range(256)}
    backend = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocab, merges=[]))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = tokenizers.decoders.ByteLevel()
    backend.add_special_tokens(list(SPECIAL_TOKENS))
    folder.mkdir(parents=True, exist_ok=True)
    backend.save(str(folder / "tokenizer.json"))
    config = {"chat_template": CHAT_TEMPLATE, "eos_token": SPECIAL_TOKENS[1]}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
