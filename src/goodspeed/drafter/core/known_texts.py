"""What a verifier knows of this drafter's texts, so that an Open need not carry it again."""

from collections.abc import Sequence
from typing import Final

from goodspeed.decoding.draft import StreamKey
from goodspeed.protocol.known_prefix import num_equal, without_known
from goodspeed.protocol.messages import Open

MAX_TEXTS: Final = 64
"""Texts that are remembered: conversations that may go on."""
MIN_KNOWN: Final = 64
"""Tokens, some 170 bytes. If the verifier has forgotten them, the name costs a round trip: a system prompt that every
conversation begins with is not worth that."""


class KnownTexts:
    """The texts of streams that ended at one verifier, the latest last. The verifier may forget them."""

    def __init__(self) -> None:
        self._texts: dict[StreamKey, tuple[int, ...]] = {}

    def __len__(self) -> int:
        return len(self._texts)

    def add(self, stream: StreamKey, committed: Sequence[int]) -> None:
        """A stream has ended with these tokens, of which the verifier keeps all but the last."""
        self._texts[stream] = tuple(committed[:-1])
        if len(self._texts) > MAX_TEXTS:
            del self._texts[next(iter(self._texts))]

    def clear(self) -> None:
        """The verifier has forgotten one of them, and perhaps all."""
        self._texts.clear()

    def shortened(self, request: Open) -> Open:
        """The Open without the longest prefix that the verifier knows."""
        longest, stream = 0, 0
        for key, text in self._texts.items():
            length = num_equal(text, request.tokens)
            if length >= longest:  # of equals the latest, which is forgotten last
                longest, stream = length, key
        return without_known(request, stream, longest) if longest >= MIN_KNOWN else request
