"""A draft engine with one draft model: greedy, coupled by shared noise, or sampled from the distribution it sends."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from goodspeed.decoding.draft import Draft, DraftRequest, SparseProbs, StreamKey
from goodspeed.decoding.rules import draft_choice, draft_probs_of, draw
from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.engine.calibration import Calibration, temperature_bucket
from goodspeed.engine.draft_model import DraftModelRunner
from goodspeed.engine.draft_source import Prefix
from goodspeed.engine.neural_source import NUM_TOP_PROB_BUCKETS, top_prob, top_prob_bucket

PROBS_SIZE = 32
"""Tokens of a draft distribution under the rejection rule."""
MAX_DEPTH = 7  # later draft positions share one calibration bucket


@dataclass(slots=True)
class _Stream:
    prefix: Prefix
    trials: list[tuple[int, tuple[int, ...]] | None] = field(default_factory=list)
    """Token and buckets for each drafted position, and for the one at which a low confidence ended the draft.

    None if the token was not drafted here.
    """
    confidences: list[float] = field(default_factory=list)
    """Of the last request's tokens, as draft_probs. The drafted tokens before them are its `after`."""
    draft_probs: list[SparseProbs] = field(default_factory=list)
    survival: float = 1.0

    def rewind(self, after: Sequence[int]) -> None:
        """Make `after` the drafted tokens; trials are kept where the tokens before them stay."""
        num_kept = self.prefix.num_matching(after)
        self.prefix.rewind(after)
        del self.trials[min(num_kept + 1, len(after)) :]
        self.trials.extend([None] * (len(after) - len(self.trials)))
        self.confidences.clear()
        self.draft_probs.clear()
        self.survival = 1.0

    def draft(self) -> Draft:
        tokens = self.prefix.tokens[len(self.prefix.tokens) - len(self.confidences) :]
        return Draft(tuple(tokens), tuple(self.confidences), tuple(self.draft_probs))


class NeuralDraft:
    """A DraftEngine with one draft model, batched over streams.

    The confidence is a function of the model's top probability and of the depth in the draft, calibrated with committed
    tokens. Both are known before the token is sampled, so under the rejection rule the token does not end the draft.
    """

    def __init__(self, runner: DraftModelRunner, calibration: Calibration) -> None:
        self.calibration = calibration
        self._runner = runner
        self._streams: dict[StreamKey, _Stream] = {}

    def open(self, stream: StreamKey, tokens: Sequence[int], sampling: Sampling) -> None:
        prefix = Prefix(stream, tokens, sampling)
        self._runner.open(prefix)
        self._streams[stream] = _Stream(prefix)

    def read_later(self) -> None:
        self._runner.read_later()

    def catch_up(self) -> bool:
        return self._runner.catch_up()

    def draft(self, requests: Sequence[DraftRequest]) -> list[Draft]:
        streams = [self._streams[request.stream] for request in requests]
        for stream, request in zip(streams, requests, strict=True):
            stream.rewind(request.after)
        active = [pair for pair in zip(streams, requests, strict=True) if pair[1].max_tokens > 0]
        while active := [pair for pair in active if self._runner.can_read(pair[0].prefix)]:
            rows = self._runner.rows([stream.prefix for stream, _ in active])
            pairs = zip(active, rows, strict=True)
            active = [pair for pair, row in pairs if self._advance(*pair, row)]
        return [stream.draft() for stream in streams]

    def commit(self, stream: StreamKey, tokens: Sequence[int]) -> None:
        state = self._streams[stream]
        self._learn(state, tokens)
        following = state.prefix.commit(tokens)
        state.prefix.rewind(following)
        state.trials = state.trials[len(tokens) :] if following else []

    def close(self, stream: StreamKey) -> None:
        self._runner.close(self._streams.pop(stream).prefix)

    def _learn(self, stream: _Stream, tokens: Sequence[int]) -> None:
        """Compare the last draft with the committed tokens up to the first difference; later positions are unknown."""
        drafted = stream.prefix.drafted
        for i, (token, trial) in enumerate(zip(tokens, stream.trials, strict=False)):
            if trial is not None:
                self.calibration.observe(trial[1], trial[0] == token)
            if i == len(drafted) or drafted[i] != token:
                return

    def _advance(self, stream: _Stream, request: DraftRequest, row: npt.NDArray[np.float32]) -> bool:
        """Draft one more token. False if it is the last one, or if a low confidence ends the draft before it."""
        sampling = stream.prefix.sampling
        model_prob = top_prob(row, sampling)
        buckets = _buckets(model_prob, len(stream.prefix.tokens) - stream.prefix.num_committed, sampling)
        confidence = self.calibration.confidence(buckets, model_prob)
        is_end = stream.survival * confidence < request.min_survival
        if is_end and sampling.rule is Rule.REJECTION:  # before the token is sampled
            return False
        token = _draw(stream, row, self._runner.token_ids)
        stream.trials.append((token, buckets))
        if is_end:
            return False
        stream.survival *= confidence
        stream.confidences.append(confidence)
        stream.prefix.tokens.append(token)
        return len(stream.confidences) < request.max_tokens


def _draw(stream: _Stream, row: npt.NDArray[np.float32], token_ids: npt.NDArray[np.int64] | None) -> int:
    sampling, position = stream.prefix.sampling, len(stream.prefix.tokens)
    if sampling.rule is not Rule.REJECTION:
        return draft_choice(row, sampling, position, token_ids)
    stream.draft_probs.append(draft_probs_of(row, sampling, PROBS_SIZE, token_ids))
    return draw(stream.draft_probs[-1], sampling, position, stream.prefix.num_committed)


def _buckets(model_prob: float, depth: int, sampling: Sampling) -> tuple[int, int]:
    """A bucket of temperature, rule and top probability, and a finer one by depth: acceptance varies with depth."""
    sampling_class = 4 * sampling.rule + temperature_bucket(sampling.temperature)
    coarse = sampling_class * NUM_TOP_PROB_BUCKETS + top_prob_bucket(model_prob)
    return 2 * coarse, 2 * (coarse * (MAX_DEPTH + 1) + min(depth, MAX_DEPTH)) + 1
