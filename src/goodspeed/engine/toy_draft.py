"""A draft engine for the toy target with a known acceptance rate."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from goodspeed.decoding.distribution import distribution
from goodspeed.decoding.draft import Draft, DraftRequest, SparseProbs, StreamKey
from goodspeed.decoding.rules import draw, quantise
from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.engine.toy_model import CONTEXT, ToyModel, hash64


@dataclass(slots=True)
class _DraftStream:
    tokens: list[int]
    sampling: Sampling


class ToyDraft:
    """A DraftEngine for ToyTarget; each token is accepted with a known probability, independently of the others.

    Greedy and coupled rules: a hash of seed, position and the tokens before decides whether it drafts the target's own
    token or another one. Rejection rule: it samples from a distribution over the whole (small) vocabulary at total
    variation distance 1 - acceptance_rate from the target's. The model must have the seed of the target's model.
    """

    def __init__(self, acceptance_rate: float, model: ToyModel | None = None, seed: int = 0) -> None:
        assert 0.0 <= acceptance_rate <= 1.0
        self.acceptance_rate = acceptance_rate
        self._model = model or ToyModel()
        self._seed = seed
        self._streams: dict[StreamKey, _DraftStream] = {}

    def open(self, stream: StreamKey, tokens: Sequence[int], sampling: Sampling) -> None:
        assert stream not in self._streams, f"stream {stream} is open"
        assert len(tokens) > 0, "an empty prefix"
        self._streams[stream] = _DraftStream(list(tokens), sampling)

    def draft(self, requests: Sequence[DraftRequest]) -> list[Draft]:
        return [self._draft(self._streams[request.stream], request) for request in requests]

    def commit(self, stream: StreamKey, tokens: Sequence[int]) -> None:
        self._streams[stream].tokens.extend(tokens)

    def close(self, stream: StreamKey) -> None:
        del self._streams[stream]

    def _draft(self, stream: _DraftStream, request: DraftRequest) -> Draft:
        tokens, probs = [*stream.tokens, *request.after], []
        num_tokens = self._length(request)
        for _ in range(num_tokens):
            if stream.sampling.rule is Rule.REJECTION:
                probs.append(self._probs(tokens, stream.sampling))
                tokens.append(draw(probs[-1], stream.sampling, len(tokens), len(stream.tokens)))
            else:
                tokens.append(self._token(tokens, stream.sampling))
        return Draft(tuple(tokens[len(tokens) - num_tokens :]), (self.acceptance_rate,) * num_tokens, tuple(probs))

    def _length(self, request: DraftRequest) -> int:
        """The longest draft with survival of at least min_survival; independent of tokens, for the rejection rule."""
        survival = 1.0
        for length in range(request.max_tokens):
            survival *= self.acceptance_rate
            if survival < request.min_survival:
                return length
        return request.max_tokens

    def _token(self, tokens: list[int], sampling: Sampling) -> int:
        choice = self._model.choice(tokens, sampling)
        bits = hash64(self._seed, len(tokens), *tokens[-CONTEXT:])
        if bits < self.acceptance_rate * 2**64:
            return choice
        return (choice + 1 + bits % (self._model.vocab_size - 1)) % self._model.vocab_size

    def _probs(self, tokens: list[int], sampling: Sampling) -> SparseProbs:
        """A mixture of the target's distribution and the token that is least likely under it."""
        target = distribution(self._model.row(tokens), sampling)
        probs = np.zeros(self._model.vocab_size)
        probs[target.token_ids] = target.probs()
        least = int(np.argmin(probs))
        share = max(0.0, (self.acceptance_rate - probs[least]) / (1.0 - probs[least]))
        probs *= share
        probs[least] += 1.0 - share
        return quantise(np.arange(self._model.vocab_size), probs, self._model.vocab_size)
