"""The rows and the learning rate of each update: functions of the seed and of the update's number only."""

import math
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TypeVar

import numpy as np

from goodspeed.tuning.data.packed_rows import Document, pack
from goodspeed.tuning.tuning_config import DistilConfig

T = TypeVar("T")
Pass = list[list[Document]]
"""Rows of documents of one forward pass."""


def updates(documents: Sequence[Document], config: DistilConfig) -> Iterator[list[Pass]]:
    """The passes of every update, without end; each epoch has its own order."""
    epoch = 0
    while True:
        yield from chunks(chunks(shuffled_rows(documents, config, epoch), config.rows), config.accumulate)
        epoch += 1


def shuffled_rows(documents: Sequence[Document], config: DistilConfig, number: int) -> Iterator[list[Document]]:
    """All documents in rows, in an order that seed and number determine."""
    order = np.random.default_rng((config.seed, number)).permutation(len(documents))
    return pack((documents[i] for i in order), config.length)


def learning_rate(config: DistilConfig, step: int) -> float:
    """The rate of update `step`, from 0: linear warm-up, plateau, and half a cosine down to zero."""
    decay = min(config.decay or config.steps, config.steps)
    warmup = min(1.0, (step + 1) / max(1, config.warmup))
    progress = max(0.0, (step - (config.steps - decay)) / decay)
    return config.learning_rate * warmup * 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))


def chunks(items: Iterator[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items; the last one may be shorter."""
    while chunk := list(islice(items, size)):
        yield chunk
