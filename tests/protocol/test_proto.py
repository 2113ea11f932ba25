"""The generated code, the enums and the message classes agree with goodspeed.proto."""

import subprocess
import sys
from enum import IntEnum
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import EnumDescriptor

from goodspeed.decoding.logit_changes import BadWord, LogitChanges, TokenBias
from goodspeed.decoding.logprobs import TopTokens
from goodspeed.decoding.mode import Mode
from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.errors import ErrorCode
from goodspeed.protocol import goodspeed_pb2 as pb
from goodspeed.protocol.grpc_config import METHOD, SERVICE
from goodspeed.protocol.messages import FinishReason, Message

SOURCE = Path(__file__).parents[2] / "src"
PROTO = "goodspeed/protocol/goodspeed.proto"


def test_generated_code_is_up_to_date(tmp_path: Path) -> None:
    """Compared by descriptor, so that it does not matter which release of protoc generated it."""
    compiled = tmp_path / "set"
    command = [sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={SOURCE}", f"--descriptor_set_out={compiled}"]
    subprocess.run([*command, PROTO], check=True)
    (current,) = descriptor_pb2.FileDescriptorSet.FromString(compiled.read_bytes()).file
    committed = descriptor_pb2.FileDescriptorProto.FromString(pb.DESCRIPTOR.serialized_pb)
    for described in (current, committed):
        for kind in described.message_type:
            for field in kind.field:
                field.ClearField("json_name")
    assert committed == current, "run scripts/proto"


@pytest.mark.parametrize("kind", [Rule, ErrorCode, Mode, FinishReason])
def test_the_contract_names_every_enum_value(kind: type[IntEnum]) -> None:
    enums: dict[str, EnumDescriptor] = dict(pb.DESCRIPTOR.enum_types_by_name)
    values = {value.name: value.number for value in enums[kind.__name__].values}
    assert values == {member.name: member.value for member in kind}


@pytest.mark.parametrize("message_class", [*get_args(Message), Sampling, LogitChanges, TokenBias, BadWord, TopTokens])
def test_a_message_class_has_the_fields_of_the_contract(message_class: type[object]) -> None:
    fields = pb.DESCRIPTOR.message_types_by_name[message_class.__name__].fields_by_name
    assert set(get_type_hints(message_class)) == set(fields)


def test_the_service_is_the_one_that_is_served() -> None:
    service = pb.DESCRIPTOR.services_by_name["GoodSpeed"]
    assert service.full_name == SERVICE
    assert [method.name for method in service.methods] == [METHOD]
