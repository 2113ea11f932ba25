"""Incremental detokenisation: the text of an answer as its tokens come.

The decoders of the supported model families are local: a token stands for bytes, a special token for none, and the
bytes together are UTF-8. So a stream only has to remember incomplete characters.

`tokenizers.decoders.DecodeStream` is not used because it has no flush, and because its text differs from
Tokenizer.decode for byte-fallback tokens that are not valid UTF-8: it has emitted the valid start of such a run where
decode replaces every byte (test_stream_equals_decode_for_any_tokens).
"""

import codecs
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import tokenizers

from goodspeed.errors import CheckpointError

REPLACEMENT = "\ufffd"
"""Stands for a byte that is not valid UTF-8."""
BYTE_LEVEL = ("ByteLevel",)
SENTENCEPIECE = ("Replace", "ByteFallback", "Fuse")
"""Optionally followed by Strip."""


@dataclass(frozen=True, slots=True)
class TokenBytes:
    """The bytes that one token contributes to the text."""

    data: bytes
    is_byte: bool = False
    """A byte-fallback token such as <0xE2>. A run of these is replaced byte by byte unless it is valid UTF-8."""


NO_TOKENS: Mapping[int, TokenBytes] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class TokenText:
    """What one token adds to a text."""

    carried: str
    """The text that earlier tokens had left incomplete."""
    text: str
    """The text of the token itself, with the characters that it completes."""
    data: bytes | None
    """The bytes of the token itself; None for a special or unknown token."""


class TokenBytesTable:
    """The bytes of every token of a tokenizer, looked up when first needed."""

    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        """Raises CheckpointError unless the decoder is byte-level or SentencePiece's with byte fallback."""
        steps = _decoder_steps(backend)
        kinds = tuple(step["type"] for step in steps)
        if kinds not in {BYTE_LEVEL, SENTENCEPIECE, (*SENTENCEPIECE, "Strip")}:
            raise CheckpointError(
                f"tokenizer decoder is {' + '.join(kinds) or None}, supported are ByteLevel and "
                f"{' + '.join(SENTENCEPIECE)} (+ Strip)"
            )
        self.num_strip = sum(int(step["start"]) for step in steps if step["type"] == "Strip")
        """Number of leading spaces that are removed from the text."""
        self._space = next((str(step["pattern"]["String"]) for step in steps if step["type"] == "Replace"), None)
        self._backend = backend
        self._special = {token.content for token in backend.get_added_tokens_decoder().values() if token.special}
        self._known: dict[int, TokenBytes] = {}

    def get(self, token: int) -> TokenBytes:
        """Empty for special and unknown tokens."""
        known = self._known.get(token)
        if known is None:
            known = self._known[token] = self._look_up(token)
        return known

    def name(self, token: int) -> str:
        """What the vocabulary calls the token; empty for an unknown one."""
        return self._backend.id_to_token(token) or ""

    def _look_up(self, token: int) -> TokenBytes:
        name = self._backend.id_to_token(token)
        if name is None or name in self._special:
            return TokenBytes(b"")
        if self._space is None:
            return TokenBytes(_bytes_of(name))
        if len(name) == 6 and name.startswith("<0x") and name.endswith(">"):
            return TokenBytes(bytes.fromhex(name[3:5]), is_byte=True)
        return TokenBytes(name.replace(self._space, " ").encode())


class IncrementalDetokenizer:
    """Decodes the tokens of one answer as they come.

    The text of the prompt and the texts that push and flush return, joined, equal Tokenizer.decode of all tokens. The
    cost per token does not depend on the number of tokens before it.
    """

    def __init__(
        self, table: TokenBytesTable, prompt: Sequence[int] = (), shown: Mapping[int, TokenBytes] = NO_TOKENS
    ) -> None:
        """`shown`: special tokens that have a text in this answer."""
        self._table = table
        self._shown = shown
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._run = bytearray()  # of byte-fallback tokens, decoded when it ends
        self._num_strip = table.num_strip
        self._skip(prompt)

    def push(self, tokens: Sequence[int]) -> str:
        """The text that these tokens complete; incomplete characters are held back."""
        added = [self.push_token(token) for token in tokens]
        return "".join(part for each in added for part in (each.carried, each.text))

    def push_token(self, token: int) -> TokenText:
        """What the token adds; an incomplete character at its end is held back."""
        known = self._shown.get(token) or self._table.get(token)
        if known.is_byte:
            self._run += known.data
            return TokenText("", "", known.data)
        if not known.data:
            return TokenText("", "", None)
        carried = self._strip(self._end_run())
        decoded = self._utf8.decode(known.data)
        text = self._strip(decoded)
        return TokenText(carried, text, known.data[len(decoded) - len(text) :])

    def bytes_of(self, token: int) -> bytes | None:
        """The bytes of a token; None for a special or unknown token."""
        return (self._shown.get(token) or self._table.get(token)).data or None

    def name_of(self, token: int) -> str:
        """The name of a special token; empty for an unknown one."""
        return self._table.name(token)

    def flush(self) -> str:
        """The text that was held back. Call it once, at the end."""
        return self._strip(self._end_run() + self._utf8.decode(b"", final=True))

    def _skip(self, prompt: Sequence[int]) -> None:
        """Spaces are removed at the start of a text: after a prompt with text, the answer keeps its own."""
        for token in prompt:
            if not self._num_strip:
                break
            self.push_token(token)
        self.flush()

    def _end_run(self) -> str:
        run, self._run = self._run, bytearray()
        try:
            return run.decode()
        except UnicodeDecodeError:
            return REPLACEMENT * len(run)

    def _strip(self, text: str) -> str:
        while text and self._num_strip:
            self._num_strip -= 1
            if text[0] != " ":
                self._num_strip = 0
            else:
                text = text[1:]
        return text


def is_byte_level(backend: tokenizers.Tokenizer) -> bool:
    """True if the pre-tokenizer makes the vocabulary one of bytes."""
    found = json.loads(backend.pre_tokenizer.__getstate__()) if backend.pre_tokenizer else {"pretokenizers": []}
    return any(step["type"] == "ByteLevel" for step in found.get("pretokenizers", [found]))


def is_byte_level_decoder(backend: tokenizers.Tokenizer) -> bool:
    """True if the decoder reads a vocabulary of bytes."""
    return any(step["type"] == "ByteLevel" for step in _decoder_steps(backend))


def _decoder_steps(backend: tokenizers.Tokenizer) -> list[Mapping[str, Any]]:
    decoder = json.loads(backend.decoder.__getstate__()) if backend.decoder else {"decoders": []}
    return list(decoder.get("decoders", [decoder]))


def _byte_alphabet() -> dict[str, int]:
    """Bytes by the character that stands for them in GPT-2's byte-level vocabulary; a printable one is its own."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(others)}


BYTE_BY_CHARACTER = _byte_alphabet()


def _bytes_of(name: str) -> bytes:
    """Bytes of a byte-level token. An added token with characters outside the alphabet is taken as UTF-8 text."""
    try:
        return bytes(BYTE_BY_CHARACTER[char] for char in name)
    except KeyError:
        return name.encode()
