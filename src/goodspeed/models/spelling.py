"""How tokens spell text, so that an answer can be decoded as it grows.

`tokenizers` decodes whole sequences. What the decoders of our model families do is local, though: a token stands for
bytes, a special token for none, and the bytes together are UTF-8. That is all that a stream has to remember.
"""

import codecs
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tokenizers

from goodspeed.errors import CheckpointError

REPLACEMENT = "\ufffd"  # what stands for bytes that are no UTF-8
BYTE_LEVEL = ("ByteLevel",)
SENTENCEPIECE = ("Replace", "ByteFallback", "Fuse")  # and perhaps Strip


@dataclass(frozen=True, slots=True)
class Piece:
    """What one token contributes to the text."""

    data: bytes
    is_byte: bool = False
    """One byte by name, such as <0xE2>: a run of these is valid UTF-8 as a whole, or every byte of it is replaced."""


class Spelling:
    """From token to piece, for one tokenizer."""

    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        """Raises CheckpointError for a decoder that is neither byte-level nor SentencePiece's with byte fallback."""
        steps = _decoder_steps(backend)
        kinds = tuple(step["type"] for step in steps)
        if kinds not in {BYTE_LEVEL, SENTENCEPIECE, (*SENTENCEPIECE, "Strip")}:
            raise CheckpointError(
                f"tokenizer decoder is {' + '.join(kinds) or None}, supported are ByteLevel and "
                f"{' + '.join(SENTENCEPIECE)} (+ Strip)"
            )
        self.num_strip = sum(int(step["start"]) for step in steps if step["type"] == "Strip")
        """Spaces that the text loses at its very beginning."""
        self._space = next((str(step["pattern"]["String"]) for step in steps if step["type"] == "Replace"), None)
        self._backend = backend
        self._special = {token.content for token in backend.get_added_tokens_decoder().values() if token.special}
        self._pieces: dict[int, Piece] = {}

    def piece(self, token: int) -> Piece:
        """What the token contributes; nothing for special and unknown tokens."""
        found = self._pieces.get(token)
        if found is None:
            found = self._pieces[token] = self._spell(token)
        return found

    def _spell(self, token: int) -> Piece:
        name = self._backend.id_to_token(token)
        if name is None or name in self._special:
            return Piece(b"")
        if self._space is None:
            return Piece(_bytes_of(name))
        if len(name) == 6 and name.startswith("<0x") and name.endswith(">"):
            return Piece(bytes.fromhex(name[3:5]), is_byte=True)
        return Piece(name.replace(self._space, " ").encode())


class TextStream:
    """Decodes the tokens of one answer as they come.

    Everything that push and flush return, joined, is what Tokenizer.decode makes of all tokens at once. The cost of a
    token does not depend on how many came before.
    """

    def __init__(self, spelling: Spelling) -> None:
        self._spelling = spelling
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._run = bytearray()  # of byte pieces, judged when it ends
        self._num_strip = spelling.num_strip

    def push(self, tokens: Sequence[int]) -> str:
        """The text that these tokens complete; characters that more bytes may change are held back."""
        return self._strip("".join(self._text(self._spelling.piece(token)) for token in tokens))

    def flush(self) -> str:
        """What was held back: call it once, at the end."""
        return self._strip(self._end_run() + self._utf8.decode(b"", final=True))

    def _text(self, piece: Piece) -> str:
        if piece.is_byte:
            self._run += piece.data
            return ""
        if not piece.data:
            return ""
        return self._end_run() + self._utf8.decode(piece.data)

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


def _decoder_steps(backend: tokenizers.Tokenizer) -> list[Mapping[str, Any]]:
    decoder = json.loads(backend.decoder.__getstate__()) if backend.decoder else {"decoders": []}
    return list(decoder.get("decoders", [decoder]))


def _byte_alphabet() -> dict[str, int]:
    """The character that GPT-2's byte-level vocabulary writes for each byte: printable ones for themselves."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(others)}


BYTE_OF = _byte_alphabet()


def _bytes_of(name: str) -> bytes:
    """Bytes of a byte-level token; an added token with characters outside the alphabet stands for itself."""
    try:
        return bytes(BYTE_OF[char] for char in name)
    except KeyError:
        return name.encode()
