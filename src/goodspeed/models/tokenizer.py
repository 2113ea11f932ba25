"""Text to tokens and back, from a checkpoint's tokenizer files. Needs no machine-learning runtime."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import tokenizers

from goodspeed.errors import CheckpointError, RequestError
from goodspeed.models.chat_template import ChatTemplate, read_chat_template, special_tokens
from goodspeed.models.folder import read_end_tokens
from goodspeed.models.spelling import Spelling, TextStream

__all__ = ["TextStream", "Tokenizer"]

MARK = "<<what the user says>>"


class Tokenizer:
    """A model's tokenizer and chat template. Safe to share between threads and streams."""

    def __init__(
        self, backend: tokenizers.Tokenizer, end_tokens: tuple[int, ...], chat_template: ChatTemplate | None
    ) -> None:
        """Raises CheckpointError for a decoder whose text cannot be streamed."""
        self.end_tokens = end_tokens
        """Tokens that end an answer."""
        self.vocab_size: int = backend.get_vocab_size(with_added_tokens=True)
        """Tokens that it knows; a model's own vocabulary may be padded beyond it."""
        self._backend = backend
        self._chat_template = chat_template
        self._spelling = Spelling(backend)

    @classmethod
    def load(cls, folder: Path) -> "Tokenizer":
        """From tokenizer.json and the small files beside it. Raises CheckpointError."""
        path = folder / "tokenizer.json"
        if not path.exists():
            raise CheckpointError(f"tokenizer.json is missing in {folder}")
        try:
            backend = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:
            raise CheckpointError(f"cannot read {path}: {error}") from error
        backend.no_truncation()
        backend.no_padding()
        return cls(backend, _end_tokens(folder, backend), read_chat_template(folder))

    def encode(self, text: str) -> list[int]:
        """Tokens of a plain text, with what the model wants around it (a begin token, say).

        Raises RequestError (field "prompt") for a text that is no valid Unicode.
        """
        _check_unicode(text, "prompt")
        return list(self._backend.encode(text).ids)

    def encode_chat(self, messages: Sequence[Mapping[str, object]]) -> list[int]:
        """Tokens of a chat (OpenAI's messages) that ask for the assistant's next message.

        Raises RequestError (field "messages") for messages that the model's chat template cannot take.
        """
        if self._chat_template is None:
            raise RequestError("this model has no chat template; send a plain prompt to /v1/completions", "messages")
        text = self._chat_template.render(messages)
        _check_unicode(text, "messages")
        return list(self._backend.encode(text, add_special_tokens=False).ids)

    def encode_user_turn(self) -> list[int]:
        """Tokens of a chat up to the place where the user begins to speak.

        Raises RequestError (field "messages") if the model's chat template shows no such place.
        """
        text = self._chat_template.render([{"role": "user", "content": MARK}]) if self._chat_template else ""
        if MARK not in text:
            raise RequestError("this model's chat template shows no place for a user's turn", "messages")
        return list(self._backend.encode(text[: text.index(MARK)], add_special_tokens=False).ids)

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of the tokens; special tokens have none."""
        return str(self._backend.decode(list(tokens), skip_special_tokens=True))

    def stream(self) -> TextStream:
        """A decoder for tokens that come bit by bit."""
        return TextStream(self._spelling)

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits of the vocabulary, the merges and the special tokens: equal for tokenizers that agree on text.

        What surrounds them (pre-tokenizer patterns, chat template) has many spellings for one behaviour, and is left
        out.
        """
        model: Mapping[str, Any] = json.loads(self._backend.to_str())["model"]
        added = self._backend.get_added_tokens_decoder()
        facts = {
            "vocabulary": sorted((token, piece) for piece, token in self._backend.get_vocab().items()),
            "merges": [_merge(merge) for merge in model.get("merges", [])],
            "special": sorted((token, piece.content) for token, piece in added.items() if piece.special),
        }
        text = json.dumps(facts, ensure_ascii=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _check_unicode(text: str, field: str) -> None:
    """JSON can write half of a surrogate pair, which is no character."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RequestError(f"{field} holds {text[error.start]!a}, which is no character", field) from error


def _merge(merge: str | Sequence[str]) -> list[str]:
    """One merge as a pair; older files join it by a space."""
    return merge.split(" ", 1) if isinstance(merge, str) else list(merge)


def _end_tokens(folder: Path, backend: tokenizers.Tokenizer) -> tuple[int, ...]:
    """What the model says, else the tokenizer's own end token, for a folder without the model."""
    found = read_end_tokens(folder)
    if not found and "eos_token" in (named := special_tokens(folder)):
        token = backend.token_to_id(named["eos_token"])
        return () if token is None else (token,)
    return found
