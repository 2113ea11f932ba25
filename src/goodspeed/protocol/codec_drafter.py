"""The wire form of what drafters say.

Attributes are set one by one: protobuf keyword constructors take 1.6 times as long.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from goodspeed.decoding.draft import SparseProbs
from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.errors import ErrorCode, ProtocolError, RequestError
from goodspeed.protocol import goodspeed_pb2 as pb
from goodspeed.protocol.messages import Cancel, FromDrafter, Hello, Message, Mode, Open, Propose

MAX_UINT32 = 2**32 - 1


def _encode_hello(wire: pb.DrafterMessage, message: Hello) -> None:
    body = wire.hello
    body.version = message.version
    body.drafter = message.drafter
    body.tokenizer_fingerprint = message.tokenizer_fingerprint
    body.token = message.token


def _decode_hello(body: pb.Hello) -> Hello:
    return Hello(body.version, body.drafter, body.tokenizer_fingerprint, body.token)


def _encode_open(wire: Any, message: Open) -> None:
    body, sampling = wire.open, wire.open.sampling
    body.stream = message.stream
    body.epoch = message.epoch
    body.tokens.extend(message.tokens)
    body.num_prompt = message.num_prompt
    body.max_tokens = message.max_tokens
    sampling.temperature = message.sampling.temperature
    sampling.top_k = message.sampling.top_k
    sampling.top_p = message.sampling.top_p
    sampling.seed = message.sampling.seed
    sampling.rule = message.sampling.rule
    body.end_tokens.extend(message.end_tokens)
    body.mode = message.mode
    body.logprobs = message.logprobs


def _decode_open(body: pb.Open) -> Open | ProtocolError:
    try:
        return Open(
            stream=body.stream,
            epoch=body.epoch,
            tokens=tuple(body.tokens),
            num_prompt=body.num_prompt,
            max_tokens=body.max_tokens,
            sampling=_decode_sampling(body.sampling),
            end_tokens=tuple(body.end_tokens),
            mode=Mode(body.mode),
            logprobs=body.logprobs,
        )
    except RequestError as error:
        return ProtocolError(ErrorCode.BAD_REQUEST, str(error), body.stream)
    except ValueError as error:  # an unknown enum value
        return ProtocolError(ErrorCode.MALFORMED, str(error), body.stream)


def _decode_sampling(body: pb.Sampling) -> Sampling:
    return Sampling(body.temperature, body.top_k, body.top_p, body.seed, Rule(body.rule))


def _encode_propose(wire: pb.DrafterMessage, message: Propose) -> None:
    body = wire.propose
    body.stream = message.stream
    body.epoch = message.epoch
    body.round = message.round
    body.committed_length = message.committed_length
    body.committed_crc32 = message.committed_crc32
    body.tokens.extend(message.tokens)
    body.confidences = bytes(message.confidences)
    for probs in message.draft_probs:
        sparse = body.draft_probs.add()
        sparse.id_deltas.extend(np.diff(probs.token_ids.astype(np.int64), prepend=0).tolist())
        sparse.weights = probs.weights.astype("<u2").tobytes()
    body.drafting_us = message.drafting_us


def _decode_propose(body: pb.Propose) -> Propose | ProtocolError:
    try:
        draft_probs = tuple(map(_decode_sparse, body.draft_probs))
    except ValueError as error:
        return ProtocolError(ErrorCode.MALFORMED, str(error), body.stream)
    return Propose(
        body.stream,
        body.epoch,
        body.round,
        body.committed_length,
        body.committed_crc32,
        tuple(body.tokens),
        tuple(body.confidences),
        draft_probs,
        body.drafting_us,
    )


def _decode_sparse(body: pb.SparseProbs) -> SparseProbs:
    num_ids = len(body.id_deltas)
    if len(body.weights) != 2 * num_ids:
        raise ValueError(f"a draft distribution has {num_ids} ids and {len(body.weights)} bytes of weights")
    token_ids = np.cumsum(np.array(body.id_deltas, dtype=np.uint64), dtype=np.uint64)
    if num_ids and token_ids[-1] > MAX_UINT32:
        raise ValueError(f"a draft distribution reaches token {token_ids[-1]}")
    return SparseProbs(token_ids.astype(np.uint32), np.frombuffer(body.weights, dtype="<u2").astype(np.uint16))


def _encode_cancel(wire: pb.DrafterMessage, message: Cancel) -> None:
    wire.cancel.stream = message.stream
    wire.cancel.epoch = message.epoch


def _decode_cancel(body: pb.Cancel) -> Cancel:
    return Cancel(body.stream, body.epoch)


ENCODERS: dict[type[Message], Callable[[Any, Any], None]] = {
    Hello: _encode_hello,
    Open: _encode_open,
    Propose: _encode_propose,
    Cancel: _encode_cancel,
}
DECODERS: dict[str, Callable[[Any], FromDrafter | ProtocolError]] = {
    "hello": _decode_hello,
    "open": _decode_open,
    "propose": _decode_propose,
    "cancel": _decode_cancel,
}
