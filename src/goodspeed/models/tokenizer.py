"""Tokenization and chat templates from a checkpoint's tokenizer files, without a machine-learning runtime."""

import hashlib
import json
import logging
import math
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import tokenizers

from goodspeed.errors import CheckpointError, RequestError
from goodspeed.models.chat_template import ChatTemplate, read_chat_template
from goodspeed.models.detokenizer import (
    IncrementalDetokenizer,
    TokenBytes,
    TokenBytesTable,
    is_byte_level,
    is_byte_level_decoder,
)
from goodspeed.models.folder import unreadable
from goodspeed.models.special_tokens import end_token_conflict, read_end_tokens

log = logging.getLogger(__name__)

MAX_NFC_RATIO = 3
"""How many times shorter in UTF-8 the normal form NFC of a text may be (three jamo of a syllable)."""
USER_PLACEHOLDER = "<<what the user says>>"


class Tokenizer:
    """A model's tokenizer and chat template. Threads and streams may share it."""

    def __init__(
        self, backend: tokenizers.Tokenizer, end_tokens: tuple[int, ...], chat_template: ChatTemplate | None
    ) -> None:
        """Raises CheckpointError if the decoder does not support streaming."""
        self.end_tokens = end_tokens
        """Tokens that end an answer."""
        self.vocab_size: int = backend.get_vocab_size(with_added_tokens=True)
        """Number of tokens; the vocabulary of the model may be larger because of padding."""
        self._backend = backend
        self._chat_template = chat_template
        self._token_bytes = TokenBytesTable(backend)
        added = backend.get_added_tokens_decoder()
        self.special_tokens = {token.content: token_id for token_id, token in added.items() if token.special}
        """Special tokens by name; they have no text."""

    @classmethod
    def load(cls, folder: Path) -> "Tokenizer":
        """Read tokenizer.json and the small files beside it. Raises CheckpointError."""
        path = folder / "tokenizer.json"
        if not path.exists():
            raise CheckpointError(f"tokenizer.json is missing in {folder}")
        try:
            backend = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:
            raise unreadable(path, error) from error
        if conflict := end_token_conflict(folder):
            log.warning(conflict)
        if is_byte_level(backend) and not is_byte_level_decoder(backend):
            log.warning("%s: the pre-tokenizer is ByteLevel but the decoder is another; ByteLevel decodes", path)
            backend.decoder = tokenizers.decoders.ByteLevel()
        backend.no_truncation()
        backend.no_padding()
        return cls(backend, read_end_tokens(folder), read_chat_template(folder))

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """Tokens of a text; of a plain text with the special tokens that the model expects around it, such as <s>.

        Raises RequestError (field "prompt") if the text is not valid Unicode.
        """
        _check_unicode(text, "prompt")
        return self._encoded(text, special=add_special_tokens)

    @property
    def tool_template(self) -> str:
        """The source of the chat template for requests with tools; empty without a chat template."""
        return self._chat_template.tool_source if self._chat_template else ""

    def encode_chat(
        self, messages: Sequence[Mapping[str, object]], tools: Sequence[Mapping[str, object]] = ()
    ) -> list[int]:
        """Tokens of a chat (OpenAI's messages and tools) up to the start of the assistant's next message.

        Raises RequestError (field "messages" or "tools") if the model's chat template refuses them.
        """
        return self.encode(self.render_chat(messages, tools), add_special_tokens=False)

    def render_chat(self, messages: Sequence[Mapping[str, object]], tools: Sequence[Mapping[str, object]] = ()) -> str:
        """The text of encode_chat, with its special tokens. Raises as encode_chat."""
        if self._chat_template is None:
            raise RequestError("this model has no chat template; send a plain prompt to /v1/completions", "messages")
        text = self._chat_template.render(messages, [dict(tool) for tool in tools])
        _check_unicode(text, "messages")
        return text

    def min_tokens(self, text: str) -> int:
        """A lower bound of the number of tokens, without encoding the text."""
        return math.ceil(len(text.encode()) / self._max_token_bytes)

    def encode_user_turn(self) -> list[int]:
        """Tokens of a chat before the content of its first user message.

        Raises RequestError (field "messages") if the model has no chat template with a user message.
        """
        text = (
            self._chat_template.render([{"role": "user", "content": USER_PLACEHOLDER}]) if self._chat_template else ""
        )
        if USER_PLACEHOLDER not in text:
            raise RequestError("this model's chat template has no place for a user's message", "messages")
        return self._encoded(text[: text.index(USER_PLACEHOLDER)], special=False)

    def decode(self, tokens: Sequence[int], *, has_special: bool = False) -> str:
        """The text of the tokens, without special tokens, or with their names."""
        return str(self._backend.decode(list(tokens), skip_special_tokens=not has_special))

    def stream(self, prompt: Sequence[int] = (), shown: Collection[str] = ()) -> IncrementalDetokenizer:
        """A detokenizer for one answer to the prompt. `shown`: special tokens whose names are text in it."""
        names = {self.special_tokens[name]: TokenBytes(name.encode()) for name in shown if name in self.special_tokens}
        return IncrementalDetokenizer(self._token_bytes, prompt, names)

    def _encoded(self, text: str, *, special: bool) -> list[int]:
        """A batch of one: only encode_batch_fast lets other threads run meanwhile."""
        (encoding,) = self._backend.encode_batch_fast([text], add_special_tokens=special)
        return list(encoding.ids)

    @cached_property
    def _max_token_bytes(self) -> float:
        """The most bytes of text that one token stands for; infinite if the normaliser may drop text."""
        normalizer = json.loads(self._backend.to_str())["normalizer"] or {}
        kinds = {step["type"] for step in normalizer.get("normalizers", [normalizer] if normalizer else [])}
        if not kinds <= {"NFC", "Prepend", "Replace"}:
            return math.inf
        longest = max(
            len(self._token_bytes.get(token).data or name.encode()) for name, token in self._backend.get_vocab().items()
        )
        return longest * (MAX_NFC_RATIO if "NFC" in kinds else 1)

    def to_json(self) -> str:
        """The text of its tokenizer.json."""
        return str(self._backend.to_str())

    @cached_property
    def fingerprint(self) -> str:
        """Hash (16 hex digits) of the vocabulary, the merges and the special tokens.

        Pre-tokenizer patterns and the chat template are left out: files state the same behaviour in different ways.
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
    """Raises RequestError for half of a surrogate pair: JSON allows it, but it is not a character."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RequestError(f"{field} holds {text[error.start]!a}, which is not a character", field) from error


def _merge(merge: str | Sequence[str]) -> list[str]:
    """One merge as a pair; older files have it as one string."""
    return merge.split(" ", 1) if isinstance(merge, str) else list(merge)
