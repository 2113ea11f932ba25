"""Hypothesis strategies for every message: each field of goodspeed.proto takes any value of its type."""

from typing import Any, get_args, get_type_hints

import numpy as np
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import strategies as st

from goodspeed.decoding.constraint import Constraint, ConstraintKind
from goodspeed.decoding.draft import SparseProbs
from goodspeed.decoding.logit_changes import BadWord, LogitChanges, TokenBias
from goodspeed.decoding.logprobs import TopTokens
from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.protocol import goodspeed_pb2 as pb
from goodspeed.protocol.messages import FromDrafter, FromVerifier, KnownPrefix, Message, Open, Propose

uint32 = st.integers(0, 2**32 - 1)
uint64 = st.integers(0, 2**64 - 1)
token_lists = st.lists(uint32, max_size=4).map(tuple)
penalties = st.floats(-2.0, 2.0)
constraints = st.none() | st.builds(Constraint, st.sampled_from(ConstraintKind), st.text(max_size=8))
logit_changes = st.none() | st.builds(
    LogitChanges,
    repetition_penalty=st.floats(0.01, 100.0),
    frequency_penalty=penalties,
    presence_penalty=penalties,
    logit_bias=st.lists(st.builds(TokenBias, uint32, st.floats(-100.0, 100.0)), max_size=3).map(tuple),
    min_tokens=uint32,
    bad_words=st.lists(st.builds(BadWord, token_lists.filter(bool)), max_size=3).map(tuple),
    allowed_tokens=token_lists,
)
sampled = st.builds(
    Sampling,
    constraint=constraints,
    min_p=st.floats(0.0, 1.0),
    logit_changes=logit_changes,
    temperature=st.floats(0.0, 100.0, exclude_min=True),
    top_k=uint32,
    top_p=st.floats(0.0, 1.0, exclude_min=True),
    seed=uint64,
    rule=st.sampled_from([Rule.COUPLED, Rule.REJECTION]),
)
samplings = st.builds(Sampling, seed=uint64, logit_changes=logit_changes, constraint=constraints) | sampled


def sparse_probs(weights: dict[int, int]) -> SparseProbs:
    """The distribution with these weights by token id."""
    ids = sorted(weights)
    return SparseProbs(np.array(ids, np.uint32), np.array([weights[i] for i in ids], np.uint16))


distributions = st.dictionaries(uint32, st.integers(1, 65535), min_size=1, max_size=8).map(sparse_probs)

VALUES: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.TYPE_UINT32: uint32,
    FieldDescriptor.TYPE_FIXED32: uint32,
    FieldDescriptor.TYPE_UINT64: uint64,
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_STRING: st.text(max_size=40),
    FieldDescriptor.TYPE_FLOAT: st.floats(allow_nan=False, allow_infinity=False, width=32),
    FieldDescriptor.TYPE_BYTES: st.lists(st.integers(0, 255), max_size=20).map(tuple),
}

NESTED: dict[str, st.SearchStrategy[Any]] = {
    "Sampling": samplings,
    "SparseProbs": distributions,
    "KnownPrefix": st.none() | st.builds(KnownPrefix, uint32, uint32, uint64),
    "TopTokens": st.builds(TopTokens, token_lists, st.lists(VALUES[FieldDescriptor.TYPE_FLOAT], max_size=4).map(tuple)),
}


def values_of(field: FieldDescriptor, hint: Any) -> st.SearchStrategy[Any]:
    """Values of a field whose annotation in the message class is `hint`."""
    if field.message_type is not None:
        nested = NESTED[field.message_type.name]
        return st.lists(nested, max_size=4).map(tuple) if field.is_repeated else nested
    values = st.sampled_from(hint) if field.enum_type is not None else VALUES[field.type]
    if field.is_repeated:
        return st.lists(values, max_size=20).map(tuple)
    return st.none() | values if field.has_presence else values


def messages_of(message_class: type[Message]) -> st.SearchStrategy[Any]:
    """Messages of this class."""
    fields = pb.DESCRIPTOR.message_types_by_name[message_class.__name__].fields_by_name
    hints = get_type_hints(message_class)
    return st.builds(message_class, **{name: values_of(fields[name], hint) for name, hint in hints.items()})


proposes: st.SearchStrategy[Propose] = messages_of(Propose)
opens: st.SearchStrategy[Open] = messages_of(Open)
drafter_messages: st.SearchStrategy[FromDrafter] = st.one_of([messages_of(each) for each in get_args(FromDrafter)])
verifier_messages: st.SearchStrategy[FromVerifier] = st.one_of([messages_of(each) for each in get_args(FromVerifier)])
