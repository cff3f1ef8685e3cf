"""Small handles on messages: proto-plus ones of google.cloud.tpu_v2, and the plain ones that they carry."""

from typing import Any

from google.protobuf import any_pb2 as any_module
from google.protobuf import timestamp_pb2 as timestamp_module

# These modules build their classes when imported: to a type checker they are empty.
any_pb2: Any = any_module
timestamp_pb2: Any = timestamp_module


def plain(message: Any) -> Any:
    """The message itself, without its proto-plus wrapper."""
    return type(message).pb(message) if hasattr(type(message), "pb") else message


def pack(message: Any) -> Any:
    """As google.protobuf.Any."""
    packed = any_pb2.Any()
    packed.Pack(plain(message))
    return packed


def copy(message: Any) -> Any:
    """Of a proto-plus message."""
    return type(message).deserialize(type(message).serialize(message))


def now() -> Any:
    stamp = timestamp_pb2.Timestamp()
    stamp.GetCurrentTime()
    return stamp
