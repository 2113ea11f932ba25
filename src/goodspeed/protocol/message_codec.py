"""The wire form of one message class, derived from the message of the same name in goodspeed.proto.

The class and the protobuf message have fields of the same names; no code here names the fields of a single message.
The field's type in the .proto says how it is translated. For an enum or a nested message, the annotation says to what.
"""

from collections.abc import Callable, Iterable
from math import isfinite
from operator import attrgetter
from types import NoneType
from typing import Any, get_args, get_type_hints

import numpy as np
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from msgspec.structs import astuple

from goodspeed.decoding.draft import SparseProbs
from goodspeed.errors import ErrorCode, ProtocolError, RequestError
from goodspeed.protocol import goodspeed_pb2 as pb
from goodspeed.protocol.messages import Message

MAX_UINT32 = 2**32 - 1

Write = Callable[[Any, str, Any], None]
"""Sets a field of a protobuf message to a value of the class: (body, name, value)."""
Read = Callable[[Any], Any]
"""The value of the class, from that of the protobuf message. Raises ValueError or RequestError."""


def message_encoder(message_class: type[Message]) -> Callable[[Message], bytes]:
    """Serialises messages of the class, without the frame around them."""
    fields = _descriptor(message_class).fields_by_name
    writes = [(name, _writer(fields[name])) for name in get_type_hints(message_class)]
    written_when_zero = frozenset(name for name, field in fields.items() if _is_optional(field))
    new_body: Callable[[], Any] = getattr(pb, message_class.__name__)

    def encode(message: Message) -> bytes:
        body = new_body()
        # Fields are set one by one: a protobuf constructor with keywords takes 1.6 times as long.
        for (name, write), value in zip(writes, astuple(message), strict=True):
            if value or (name in written_when_zero and value is not None):
                write(body, name, value)
        encoded: bytes = body.SerializeToString()
        return encoded

    return encode


def message_decoder(message_class: type[Message]) -> Callable[[Any], Any]:
    """Turns a parsed body into the message, or into a ProtocolError that concerns only its stream.

    The decoder raises ProtocolError (session) if what is wrong concerns no single stream.
    """
    fields = _descriptor(message_class).fields_by_name
    read = _object_reader(_descriptor(message_class), message_class)
    is_of_stream = "stream" in fields and not _is_optional(fields["stream"])

    def decode(body: Any) -> Any:
        try:
            return read(body)
        except (ValueError, RequestError) as error:
            code = ErrorCode.BAD_REQUEST if isinstance(error, RequestError) else ErrorCode.MALFORMED
            if is_of_stream:
                return ProtocolError(code, str(error), body.stream)
            raise ProtocolError(code, str(error)) from error

    return decode


def _descriptor(message_class: type[Message]) -> Descriptor:
    """That of the protobuf message of the same name, whose objects are called "body" here."""
    descriptor: Descriptor = pb.DESCRIPTOR.message_types_by_name[message_class.__name__]
    return descriptor


def _is_optional(field: FieldDescriptor) -> bool:
    """A field marked `optional`: None is not the same as 0."""
    return field.has_presence and field.message_type is None


# ---------------------------------------------------------------- messages to protobuf


def _writer(field: FieldDescriptor) -> Write:
    if field.message_type is not None:
        if _is_distribution(field):
            return _write_distributions
        return _nested_list_writer(field.message_type) if field.is_repeated else _nested_writer(field.message_type)
    if field.is_repeated:
        return _write_list
    return _write_bytes if field.type == FieldDescriptor.TYPE_BYTES else setattr


def _is_distribution(field: FieldDescriptor) -> bool:
    """Distributions are arrays, which have a form of their own on the wire."""
    descriptor: Descriptor | None = field.message_type
    return descriptor is not None and descriptor.name == SparseProbs.__name__


def _nested_writer(descriptor: Descriptor) -> Write:
    write_fields = _fields_writer(descriptor)

    def write(body: Any, name: str, value: Any) -> None:
        nested = getattr(body, name)
        nested.SetInParent()
        write_fields(nested, value)

    return write


def _nested_list_writer(descriptor: Descriptor) -> Write:
    write_fields = _fields_writer(descriptor)

    def write(body: Any, name: str, value: Any) -> None:
        for each in value:
            write_fields(getattr(body, name).add(), each)

    return write


def _fields_writer(descriptor: Descriptor) -> Callable[[Any, Any], None]:
    """Sets all fields of a nested body to those of an object."""
    writes = [(field.name, _writer(field)) for field in descriptor.fields]

    def write(body: Any, value: Any) -> None:
        for name, write_field in writes:
            if (field_value := getattr(value, name)) is not None:
                write_field(body, name, field_value)

    return write


def _write_list(body: Any, name: str, value: Any) -> None:
    getattr(body, name).extend(value)


def _write_bytes(body: Any, name: str, value: Any) -> None:
    setattr(body, name, bytes(value))


def _write_distributions(body: Any, name: str, value: tuple[SparseProbs, ...]) -> None:
    for probs in value:
        sparse = getattr(body, name).add()
        sparse.id_deltas.extend(np.diff(probs.token_ids.astype(np.int64), prepend=0).tolist())
        sparse.weights = probs.weights.astype("<u2").tobytes()


# ---------------------------------------------------------------- protobuf to messages


def _object_reader(descriptor: Descriptor, object_class: type[Any]) -> Read:
    """Reads a body of this descriptor as an object of the class."""
    hints, fields = get_type_hints(object_class), descriptor.fields_by_name
    assert set(hints) == set(fields), f"{object_class.__name__} and {descriptor.name} have different fields"
    get_values = _values_getter(tuple(hints))
    readers = [(i, _reader(fields[name], hint)) for i, (name, hint) in enumerate(hints.items())]
    conversions = [(i, read) for i, read in readers if read is not None]
    optional = [(i, name) for i, (name, hint) in enumerate(hints.items()) if NoneType in get_args(hint)]

    def read(body: Any) -> Any:
        values = list(get_values(body))
        for i, name in optional:
            if not body.HasField(name):
                values[i] = None
        for i, convert in conversions:
            if values[i] is not None:
                values[i] = convert(values[i])
        return object_class(*values)

    return read


def _values_getter(names: tuple[str, ...]) -> Callable[[Any], Iterable[Any]]:
    if len(names) == 1:
        return lambda body: (getattr(body, names[0]),)
    return attrgetter(*names)


def _reader(field: FieldDescriptor, hint: Any) -> Read | None:
    """None: the value is what protobuf returns."""
    if field.message_type is not None:
        if _is_distribution(field):
            return _read_distributions
        read = _object_reader(field.message_type, _object_class(hint))
        return (lambda bodies: tuple(map(read, bodies)) if bodies else ()) if field.is_repeated else read
    if field.is_repeated:
        return _read_finite if field.type == FieldDescriptor.TYPE_FLOAT else tuple
    if field.type == FieldDescriptor.TYPE_BYTES:
        return tuple
    return hint if field.enum_type is not None else None


def _object_class(hint: Any) -> Any:
    """C of the annotation C, C | None, or tuple[C, ...]."""
    return next((each for each in get_args(hint) if each not in {NoneType, Ellipsis}), hint)


def _read_finite(values: Any) -> tuple[float, ...]:
    if not values:
        return ()
    numbers = tuple(values)
    if not all(map(isfinite, numbers)):
        raise ValueError("a log-probability is not finite")
    return numbers


def _read_distributions(bodies: Any) -> tuple[SparseProbs, ...]:
    return tuple(map(_read_sparse, bodies)) if bodies else ()


def _read_sparse(body: pb.SparseProbs) -> SparseProbs:
    num_ids = len(body.id_deltas)
    if len(body.weights) != 2 * num_ids:
        raise ValueError(f"a draft distribution has {num_ids} ids and {len(body.weights)} bytes of weights")
    token_ids = np.cumsum(np.array(body.id_deltas, dtype=np.uint64), dtype=np.uint64)
    if num_ids and token_ids[-1] > MAX_UINT32:
        raise ValueError(f"a draft distribution reaches token {token_ids[-1]}")
    return SparseProbs(token_ids.astype(np.uint32), np.frombuffer(body.weights, dtype="<u2").astype(np.uint16))
