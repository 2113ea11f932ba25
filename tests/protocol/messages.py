"""Hypothesis strategies for every message."""

import numpy as np
from hypothesis import strategies as st

from goodspeed.decoding.draft import SparseProbs
from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.errors import ErrorCode
from goodspeed.protocol.messages import (
    Cancel,
    Error,
    FinishReason,
    FromDrafter,
    FromVerifier,
    Hello,
    Load,
    Mode,
    Open,
    Opened,
    Propose,
    Refused,
    Verdict,
    Welcome,
)

uint32 = st.integers(0, 2**32 - 1)
uint64 = st.integers(0, 2**64 - 1)
tokens = st.lists(uint32, max_size=20).map(tuple)
text = st.text(max_size=40)
codes = st.sampled_from(ErrorCode)
sampled = st.builds(
    Sampling,
    temperature=st.floats(0.0, 100.0, exclude_min=True),
    top_k=uint32,
    top_p=st.floats(0.0, 1.0, exclude_min=True),
    seed=st.integers(0, 2**64 - 1),
    rule=st.sampled_from([Rule.COUPLED, Rule.REJECTION]),
)
samplings = st.builds(Sampling, seed=st.integers(0, 2**64 - 1)) | sampled
finite32 = st.floats(allow_nan=False, allow_infinity=False, width=32)


def sparse_probs(weights: dict[int, int]) -> SparseProbs:
    """The distribution with these weights by token id."""
    ids = sorted(weights)
    return SparseProbs(np.array(ids, np.uint32), np.array([weights[i] for i in ids], np.uint16))


distributions = st.dictionaries(uint32, st.integers(1, 65535), min_size=1, max_size=8).map(sparse_probs)
proposes = st.builds(
    Propose,
    stream=uint32,
    epoch=uint32,
    round=uint32,
    committed_length=uint32,
    committed_crc32=uint32,
    tokens=tokens,
    confidences=st.lists(st.integers(0, 255), max_size=20).map(tuple),
    draft_probs=st.lists(distributions, max_size=4).map(tuple),
    drafting_us=uint32,
)
opens = st.builds(
    Open,
    stream=uint32,
    epoch=uint32,
    tokens=tokens,
    num_prompt=uint32,
    max_tokens=uint32,
    sampling=samplings,
    end_tokens=tokens,
    mode=st.sampled_from(Mode),
    logprobs=st.booleans(),
)
hellos = st.builds(Hello, version=uint32, drafter=text, tokenizer_fingerprint=text, token=text)
drafter_messages: st.SearchStrategy[FromDrafter] = (
    hellos | opens | proposes | st.builds(Cancel, stream=uint32, epoch=uint32)
)
verdicts = st.builds(
    Verdict,
    stream=uint32,
    epoch=uint32,
    round=uint32,
    num_accepted=uint32,
    next_token=uint32,
    committed_length=uint32,
    grant=uint32,
    finish=st.sampled_from(FinishReason),
    queue_us=uint32,
    verify_us=uint32,
    logprobs=st.lists(finite32, max_size=9).map(tuple),
    baseline_us=uint64,
    elapsed_us=uint64,
)
welcomes = st.builds(
    Welcome,
    version=uint32,
    verifier=text,
    model=text,
    model_fingerprint=text,
    vocab_size=uint32,
    max_context=uint32,
    max_streams=uint32,
    max_proposal=uint32,
    end_tokens=tokens,
)
verifier_messages: st.SearchStrategy[FromVerifier] = (
    welcomes
    | verdicts
    | st.builds(Refused, code=codes, reason=text)
    | st.builds(Opened, stream=uint32, epoch=uint32)
    | st.builds(Load, open_streams=uint32, queued_streams=uint32, kv_used=uint32, kv_capacity=uint32)
    | st.builds(Error, code=codes, reason=text, stream=st.none() | uint32, epoch=uint32)
)
