"""Bytes of the Open of each turn of a conversation: with all tokens, and without those that the verifier knows.

Ten turns of 96 tokens, each half the user's and half the answer's, of a vocabulary of 49,152 at random. Frames are
counted as protobuf has them. A second.

    python -m runs.turn_bytes
"""

import argparse
import sys
from collections.abc import Iterator

import numpy as np
from rich.console import Console
from rich.table import Table

from goodspeed.drafter.core.known_texts import KnownTexts
from goodspeed.protocol.messages import Open
from goodspeed.protocol.size import frame_bytes
from goodspeed.testing.virtual_verifier import open_request

NUM_TURNS, NUM_USER, NUM_ANSWER = 10, 48, 48
VOCAB_SIZE = 49_152


def openings(seed: int) -> Iterator[tuple[Open, Open]]:
    """The Open of each turn with all tokens, and as it is sent."""
    rng, texts = np.random.default_rng(seed), KnownTexts()
    prompt: tuple[int, ...] = ()
    for turn in range(NUM_TURNS):
        prompt += tuple(rng.integers(VOCAB_SIZE, size=NUM_USER).tolist())
        request = open_request(turn, prompt, NUM_ANSWER)
        yield request, texts.shortened(request)
        prompt += tuple(rng.integers(VOCAB_SIZE, size=NUM_ANSWER).tolist())
        texts.add(turn, prompt)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    table = Table("turn", "prompt tokens", "bytes, all tokens", "bytes, as sent")
    for turn, (whole, sent) in enumerate(openings(args.seed), start=1):
        sizes = (frame_bytes(message) for message in (whole, sent))
        table.add_row(str(turn), str(len(whole.tokens)), *map(str, sizes))
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
