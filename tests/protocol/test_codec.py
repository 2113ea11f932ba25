"""Messages survive the wire unchanged; bytes that are no messages are a ProtocolError."""

import contextlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.protocol.messages import drafter_messages, opens, proposes, sparse_probs, verifier_messages

from goodspeed.decoding.logit_changes import BadWord, LogitChanges, TokenBias
from goodspeed.decoding.logprobs import TopTokens
from goodspeed.decoding.mode import Mode
from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.errors import ErrorCode, ProtocolError
from goodspeed.protocol import goodspeed_pb2 as pb
from goodspeed.protocol.codec import (
    MAX_FRAME_BYTES,
    MAX_FRAME_MESSAGES,
    decode_drafter_frame,
    decode_verifier_frame,
    encode_frame,
    encode_message,
)
from goodspeed.protocol.messages import (
    Cancel,
    ChangeMode,
    Error,
    FinishReason,
    FromDrafter,
    FromVerifier,
    Hello,
    Load,
    Message,
    Open,
    Opened,
    Propose,
    Refused,
    ShadowDraft,
    Verdict,
    Welcome,
)
from goodspeed.protocol.size import wire_bytes

PROPOSE = Propose(7, 1, 100, 300, 0xDEADBEEF, (49151, 20000, 300, 12), (200, 150, 99, 255), (), 9_500)
VERDICT = Verdict(7, 1, 100, 3, 49151, 304, 5, FinishReason.NONE, 8_000, 85_000)
SAMPLED = Sampling(0.5, 40, 0.9, 2**63, Rule.COUPLED)
CHANGES = LogitChanges(2.0, 0.5, -1.0, (TokenBias(300, -100.0),), 5, (BadWord((7, 9)),), (1, 300))
PENALISED = Sampling(min_p=0.25, logit_changes=CHANGES)
TOP = TopTokens((300, 9), (-0.25, -0.5))
SPARSE = sparse_probs({5: 9, 49000: 1})
OPEN = Open(7, 0, (1, 2, 3), 3, 16, Sampling(), (0,))


def comparable(message: Message | ProtocolError) -> object:
    """The message with its arrays as lists, so that == compares all of it."""
    if not isinstance(message, Propose):
        return message
    probs = [(item.token_ids.tolist(), item.weights.tolist()) for item in message.draft_probs]
    return replace(message, draft_probs=()), probs


@given(st.lists(drafter_messages, min_size=1, max_size=5))
def test_a_drafters_frame_survives_the_wire(messages: list[FromDrafter]) -> None:
    decoded = decode_drafter_frame(encode_frame(messages))
    assert list(map(comparable, decoded)) == list(map(comparable, messages))


@given(st.lists(verifier_messages, min_size=1, max_size=5))
def test_a_verifiers_frame_survives_the_wire(messages: list[FromVerifier]) -> None:
    assert list(decode_verifier_frame(encode_frame(messages))) == messages


@pytest.mark.parametrize(
    ("message", "frame"),
    [
        (Hello(5, "edge", "abc", "secret"), "0a17121508051204656467651a036162632206736563726574"),
        (
            Open(7, 1, (1, 300, 49151), 2, 16, SAMPLED, (0,), Mode.TARGET_ONLY, logprobs=True),
            "0a3a1a38080710011a0601ac02ffff0220022810321f09000000000000e03f102819cdccccccccccec3f"
            "21000000000000008028013a010040014801",
        ),
        (
            Open(0, 0, (), 0, 0, PENALISED, ()),
            "0a4e1a4c324a19000000000000f03f31000000000000d03f3a3609000000000000004011000000000000e03f19"
            "000000000000f0bf220c08ac021100000000000059c0280532040a0207093a0301ac02",
        ),
        (Open(0, 0, (), 0, 0, Sampling(), ()), "0a0d1a0b320919000000000000f03f"),
        (
            Propose(
                7, 1, 100, 300, 0xDEADBEEF, (49151, 0, 12), (200, 0, 255), (sparse_probs({5: 9, 49000: 1}),), 9_500
            ),
            "0a2d0a2b08071001186420ac022defbeadde3205ffff02000c3a03c800ff420c0a0405e3fe02120409000100489c4a",
        ),
        (ShadowDraft(7, 1, 100, 300, (49151, 0), 9_500), "0a142a1208071001186420ac022a04ffff0200309c4a"),
        (ShadowDraft(7, 1, 100, 300, (), 9_500, 4_000), "0a112a0f08071001186420ac02309c4a38a01f"),
        (ChangeMode(7, 1, Mode.CO_LOCATED), "0a083a06080710011802"),
        (ChangeMode(0, 0, Mode.DISTRIBUTED), "0a023a00"),
        (Cancel(0, 0), "0a022200"),
        (
            Welcome(5, "v", "m", "f", 49152, 8192, 64, 16, (0, 2)),
            "0a1c121a08051201761a016d22016628808003308040384040104a020002",
        ),
        (Refused(ErrorCode.CAPACITY, "full"), "0a0a1a08080d120466756c6c"),
        (Opened(7, 300), "0a072205080710ac02"),
        (Opened(7, 300, 900), "0a0a2208080710ac02188407"),
        (
            Verdict(7, 1, 100, 3, 49151, 304, 5, FinishReason.LENGTH, 8_000, 85_000, (-0.5, 0.0), 2**40, 900),
            "0a300a2e080710011864200328ffff0230b0023805400248c03e508898055a08000000bf0000000060808080808020688407",
        ),
        (
            Verdict(7, 1, 100, 2, 9, 304, 0, co_located_tokens=(49151, 300), num_co_located=4, shadow=3),
            "0a1b0a190807100118642002280930b0027205ffff02ac027804800103",
        ),
        (
            Verdict(0, 0, 0, 0, 9, 4, 1, logprobs=(-0.5,), top_logprobs=(TOP,), prompt_logprobs=(-1.0,)),
            "0a270a252809300438015a04000000bf8a010f0a03ac02091208000080be000000bf920104000080bf",
        ),
        (Load(3, 2, 2**33, 10), "0a0e2a0c08031002188080808020200a"),
        (Load(3, 2, 9, 10, 750, 5, 4, 300), "0a142a12080310021809200a28ee053005380440ac02"),
        (Error(ErrorCode.INTERNAL, "", 0), "0a0432021800"),
        (Error(ErrorCode.VERSION, "no"), "0a083206080212026e6f"),
    ],
)
def test_messages_have_the_bytes_of_protocol_version_5(message: Message, frame: str) -> None:
    assert encode_message(message).hex() == frame


def test_a_decoded_distribution_has_the_types_of_the_engine_seam() -> None:
    (decoded,) = decode_drafter_frame(encode_message(replace(PROPOSE, draft_probs=(sparse_probs({5: 9, 49000: 1}),))))
    assert isinstance(decoded, Propose)
    assert decoded.draft_probs[0].token_ids.dtype == np.uint32
    assert decoded.draft_probs[0].weights.dtype == np.uint16


def test_frames_of_one_direction_can_be_joined() -> None:
    assert decode_drafter_frame(encode_message(PROPOSE) + encode_message(OPEN)) == (PROPOSE, OPEN)


def test_a_greedy_round_of_four_tokens_fits_the_budget() -> None:
    assert wire_bytes(len(encode_message(PROPOSE))) < 64
    assert wire_bytes(len(encode_message(VERDICT))) < 48
    large = replace(PROPOSE, stream=1000, round=500, committed_length=2000, tokens=(49151,) * 4, drafting_us=200_000)
    assert wire_bytes(len(encode_message(large))) < 64
    large_verdict = replace(VERDICT, stream=1000, round=500, committed_length=2000, queue_us=200_000, verify_us=900_000)
    assert wire_bytes(len(encode_message(large_verdict))) < 48


def wrapped(garbage: bytes, kind: int) -> bytes:
    """A frame of one message of this kind whose body is garbage."""
    body = bytes([kind << 3 | 2, len(garbage)]) + garbage
    return bytes([0x0A, len(body)]) + body


@pytest.mark.parametrize("decode", [decode_drafter_frame, decode_verifier_frame])
@given(st.binary(max_size=120) | st.builds(wrapped, st.binary(max_size=120), st.integers(1, 6)))
def test_garbage_is_messages_or_a_protocol_error(decode: Callable[[bytes], object], garbage: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        decode(garbage)


@settings(max_examples=30)
@given(st.lists(drafter_messages, min_size=1, max_size=3), st.data())
def test_every_truncation_is_messages_or_a_protocol_error(messages: list[FromDrafter], data: st.DataObject) -> None:
    frame = encode_frame(messages)
    cut = frame[: data.draw(st.integers(0, len(frame) - 1))]
    try:
        decoded = decode_drafter_frame(cut)
    except ProtocolError:
        return
    assert len(decoded) < len(messages)  # cut between two messages


@settings(max_examples=200)
@given(proposes | opens, st.data())
def test_a_flipped_byte_is_messages_or_a_protocol_error(message: FromDrafter, data: st.DataObject) -> None:
    frame = bytearray(encode_message(message))
    frame[data.draw(st.integers(0, len(frame) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(ProtocolError):
        decode_drafter_frame(bytes(frame))


@pytest.mark.parametrize("frame", [b"", encode_message(OPEN)[:-1], b"\x0a\x00", b"\xff" * 64])
def test_bytes_that_are_no_frame_end_the_session(frame: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        decode_drafter_frame(frame)
    assert caught.value.code is ErrorCode.MALFORMED
    assert caught.value.stream is None


def test_frames_beyond_the_limits_are_refused() -> None:
    with pytest.raises(ProtocolError, match="at most 1048576"):
        decode_drafter_frame(bytes(MAX_FRAME_BYTES + 1))
    with pytest.raises(ProtocolError, match="expected 1 to 4096"):
        decode_drafter_frame(encode_message(Cancel(1, 0)) * (MAX_FRAME_MESSAGES + 1))
    many = replace(PROPOSE, draft_probs=(sparse_probs({1: 1}),) * 1024)
    assert len(decode_drafter_frame(encode_frame([many] * 4))) == 4
    with pytest.raises(ProtocolError, match="at most 4096"):
        decode_drafter_frame(encode_frame([many] * 5))


def test_a_message_that_is_too_long_is_not_sent_and_names_its_stream() -> None:
    with pytest.raises(ProtocolError) as caught:
        encode_message(replace(OPEN, tokens=(49151,) * 400_000))
    assert (caught.value.code, caught.value.stream) == (ErrorCode.BAD_REQUEST, 7)


def decoded_error(frame: pb.DrafterFrame) -> ProtocolError:
    """The error in the first message's place; the second must have come through."""
    frame.messages.add().cancel.stream = 9
    error, rest = decode_drafter_frame(frame.SerializeToString())
    assert rest == Cancel(9, 0)
    assert isinstance(error, ProtocolError)
    return error


@pytest.mark.parametrize(
    ("field", "value"), [("temperature", float("nan")), ("temperature", -1.0), ("top_p", float("inf")), ("top_p", 0.0)]
)
def test_sampling_out_of_range_is_an_error_of_its_stream_alone(field: str, value: float) -> None:
    frame = pb.DrafterFrame.FromString(encode_message(OPEN))
    setattr(frame.messages[0].open.sampling, field, value)
    error = decoded_error(frame)
    assert (error.code, error.stream) == (ErrorCode.BAD_REQUEST, 7)
    assert field in str(error)


def test_unknown_enum_values_are_malformed() -> None:
    frame = pb.DrafterFrame.FromString(encode_message(OPEN))
    frame.messages[0].open.MergeFromString(b"\x40\x07")  # mode = 7
    error = decoded_error(frame)
    assert (error.code, error.stream) == (ErrorCode.MALFORMED, 7)
    verdict = pb.VerifierFrame.FromString(encode_message(VERDICT))
    verdict.messages[0].verdict.MergeFromString(b"\x40\x63")  # finish = 99
    (error_there,) = decode_verifier_frame(verdict.SerializeToString())
    assert isinstance(error_there, ProtocolError)
    assert (error_there.code, error_there.stream) == (ErrorCode.MALFORMED, 7)
    with pytest.raises(ProtocolError, match="77 is not a valid ErrorCode"):
        decode_verifier_frame(b"\x0a\x04\x1a\x02\x08\x4d")  # refused, code = 77


def test_a_log_probability_that_is_not_finite_is_malformed() -> None:
    (error,) = decode_verifier_frame(encode_message(replace(VERDICT, logprobs=(0.5, float("-inf"), 0.0, 0.0))))
    assert isinstance(error, ProtocolError)
    assert (error.code, error.stream) == (ErrorCode.MALFORMED, 7)


@pytest.mark.parametrize(("deltas", "weights"), [([3, 4], b"\x01\x00"), ([2**32 - 1, 1], b"\x01\x00\x01\x00")])
def test_a_broken_distribution_is_an_error_of_its_stream_alone(deltas: list[int], weights: bytes) -> None:
    frame = pb.DrafterFrame.FromString(encode_message(PROPOSE))
    frame.messages[0].propose.draft_probs.add(id_deltas=deltas, weights=weights)
    error = decoded_error(frame)
    assert (error.code, error.stream) == (ErrorCode.MALFORMED, 7)
