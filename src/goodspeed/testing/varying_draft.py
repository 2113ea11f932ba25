"""Toy drafts with calibrated confidences that vary from token to token, as those of real drafts do."""

import hashlib
from collections.abc import Sequence

import numpy as np

from goodspeed.decoding.draft import Draft, DraftRequest, StreamKey
from goodspeed.decoding.sampling import Sampling
from goodspeed.engine.toy_model import ToyModel

SPREAD = 1.5  # a + b of the Beta distribution; a small value is bimodal, as the confidences of a hybrid are
NUM_SLOTS = 4096


class VaryingDraft:
    """Drafts for ToyTarget. Token t has confidence c_t ~ Beta of mean `acceptance_rate`; it is right with Pr c_t."""

    def __init__(self, acceptance_rate: float, seed: int) -> None:
        rng = np.random.default_rng(seed)
        shape = SPREAD * acceptance_rate, SPREAD * (1.0 - acceptance_rate)
        self._confidences = rng.beta(*shape, NUM_SLOTS)
        self._is_right = rng.random(NUM_SLOTS) < self._confidences
        self._model = ToyModel()
        self._tokens: dict[StreamKey, list[int]] = {}

    def open(self, stream: StreamKey, tokens: Sequence[int], sampling: Sampling) -> None:
        del sampling
        self._tokens[stream] = list(tokens)

    def draft(self, requests: Sequence[DraftRequest]) -> list[Draft]:
        return [self._draft(request) for request in requests]

    def commit(self, stream: StreamKey, tokens: Sequence[int]) -> None:
        self._tokens[stream].extend(tokens)

    def close(self, stream: StreamKey) -> None:
        del self._tokens[stream]

    def _draft(self, request: DraftRequest) -> Draft:
        tokens, confidences, survival = [*self._tokens[request.stream], *request.after], list[float](), 1.0
        while len(confidences) < request.max_tokens:
            slot = _slot(tokens)
            survival *= float(self._confidences[slot])
            if survival < request.min_survival:
                break
            top = self._model.top(tokens)
            tokens.append(top if self._is_right[slot] else (top + 1) % 256)
            confidences.append(float(self._confidences[slot]))
        return Draft(tuple(tokens[len(tokens) - len(confidences) :]), tuple(confidences))


def _slot(tokens: Sequence[int]) -> int:
    text = ",".join(map(str, [len(tokens), *tokens[-4:]])).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=2).digest(), "little") % NUM_SLOTS
