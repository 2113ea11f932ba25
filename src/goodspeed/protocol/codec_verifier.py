"""The wire form of what verifiers say."""

from collections.abc import Callable
from math import isfinite
from typing import Any

from goodspeed.errors import ErrorCode, ProtocolError
from goodspeed.protocol import goodspeed_pb2 as pb
from goodspeed.protocol.messages import (
    Error,
    FinishReason,
    FromVerifier,
    Load,
    Message,
    Opened,
    Refused,
    Verdict,
    Welcome,
)


def _encode_welcome(wire: pb.VerifierMessage, message: Welcome) -> None:
    body = wire.welcome
    body.version = message.version
    body.verifier = message.verifier
    body.model = message.model
    body.model_fingerprint = message.model_fingerprint
    body.vocab_size = message.vocab_size
    body.max_context = message.max_context
    body.max_streams = message.max_streams
    body.max_proposal = message.max_proposal
    body.end_tokens.extend(message.end_tokens)


def _decode_welcome(body: pb.Welcome) -> Welcome:
    return Welcome(
        version=body.version,
        verifier=body.verifier,
        model=body.model,
        model_fingerprint=body.model_fingerprint,
        vocab_size=body.vocab_size,
        max_context=body.max_context,
        max_streams=body.max_streams,
        max_proposal=body.max_proposal,
        end_tokens=tuple(body.end_tokens),
    )


def _encode_refused(wire: Any, message: Refused) -> None:
    wire.refused.code = message.code
    wire.refused.reason = message.reason


def _decode_refused(body: pb.Refused) -> Refused:
    return Refused(_error_code(body.code), body.reason)


def _encode_opened(wire: pb.VerifierMessage, message: Opened) -> None:
    wire.opened.stream = message.stream
    wire.opened.epoch = message.epoch


def _decode_opened(body: pb.Opened) -> Opened:
    return Opened(body.stream, body.epoch)


def _encode_verdict(wire: Any, message: Verdict) -> None:
    body = wire.verdict
    body.stream = message.stream
    body.epoch = message.epoch
    body.round = message.round
    body.num_accepted = message.num_accepted
    body.next_token = message.next_token
    body.committed_length = message.committed_length
    body.grant = message.grant
    body.finish = message.finish
    body.queue_us = message.queue_us
    body.verify_us = message.verify_us
    body.logprobs.extend(message.logprobs)
    body.baseline_us = message.baseline_us
    body.elapsed_us = message.elapsed_us


def _decode_verdict(body: pb.Verdict) -> Verdict | ProtocolError:
    logprobs = tuple(body.logprobs)
    if not all(map(isfinite, logprobs)):
        return ProtocolError(ErrorCode.MALFORMED, "a log-probability is not finite", body.stream)
    try:
        finish = FinishReason(body.finish)
    except ValueError as error:
        return ProtocolError(ErrorCode.MALFORMED, str(error), body.stream)
    return Verdict(
        body.stream,
        body.epoch,
        body.round,
        body.num_accepted,
        body.next_token,
        body.committed_length,
        body.grant,
        finish,
        body.queue_us,
        body.verify_us,
        logprobs,
        body.baseline_us,
        body.elapsed_us,
    )


def _encode_load(wire: pb.VerifierMessage, message: Load) -> None:
    wire.load.open_streams = message.open_streams
    wire.load.queued_streams = message.queued_streams
    wire.load.kv_used = message.kv_used
    wire.load.kv_capacity = message.kv_capacity


def _decode_load(body: pb.Load) -> Load:
    return Load(body.open_streams, body.queued_streams, body.kv_used, body.kv_capacity)


def _encode_error(wire: Any, message: Error) -> None:
    body = wire.error
    body.code = message.code
    body.reason = message.reason
    if message.stream is not None:
        body.stream = message.stream
    body.epoch = message.epoch


def _decode_error(body: pb.Error) -> Error:
    stream = body.stream if body.HasField("stream") else None
    return Error(_error_code(body.code), body.reason, stream, body.epoch)


def _error_code(number: int) -> ErrorCode:
    try:
        return ErrorCode(number)
    except ValueError as error:
        raise ProtocolError(ErrorCode.MALFORMED, str(error)) from error


ENCODERS: dict[type[Message], Callable[[Any, Any], None]] = {
    Welcome: _encode_welcome,
    Refused: _encode_refused,
    Opened: _encode_opened,
    Verdict: _encode_verdict,
    Load: _encode_load,
    Error: _encode_error,
}
DECODERS: dict[str, Callable[[Any], FromVerifier | ProtocolError]] = {
    "welcome": _decode_welcome,
    "refused": _decode_refused,
    "opened": _decode_opened,
    "verdict": _decode_verdict,
    "load": _decode_load,
    "error": _decode_error,
}
