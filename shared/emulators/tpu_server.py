"""gRPC plumbing of the TPU API stand-in: method tables, error statuses, and google.longrunning.Operations.

Wire formats: google/cloud/tpu/v2/cloud_tpu.proto, google/longrunning/operations.proto, google/rpc/status.proto.
"""

import secrets
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn

import grpc
from google.cloud.tpu_v2.types import cloud_tpu
from google.longrunning import operations_pb2
from google.protobuf import empty_pb2 as empty_module
from google.rpc import code_pb2, status_pb2
from grpc_status import rpc_status

from shared.emulators.tpu_errors import ApiError, not_found
from shared.emulators.tpu_messages import now, pack
from shared.emulators.tpu_names import page

# This module builds its classes when imported: to a type checker it is empty.
empty_pb2: Any = empty_module

TPU_SERVICE = "google.cloud.tpu.v2.Tpu"
OPERATIONS_SERVICE = "google.longrunning.Operations"

Method = Callable[[Any], Any]
_PAGE = 50
"""Operations of an answer: each holds its node with the start-up script, and gRPC takes 4 MiB of a message."""


class Operations:
    """Long-running operations: each runs its work in a thread and keeps its result for those who ask by name."""

    def __init__(self) -> None:
        self._known: dict[str, operations_pb2.Operation] = {}
        self._lock = threading.Lock()
        self._workers = ThreadPoolExecutor(8, "operation")

    def start(self, parent: str, target: str, verb: str, work: Callable[[], Any]) -> operations_pb2.Operation:
        """Run `work`; its return value (a message, or None for Empty) is the response, its ApiError the error."""
        unique = "-".join((str(int(time.time() * 1000)), *(secrets.token_hex(size) for size in (6, 4, 4))))
        name = f"{parent}/operations/operation-{unique}"
        begun = now()
        operation = operations_pb2.Operation(name=name, metadata=_metadata(target, verb, begun, None))
        with self._lock:
            self._known[name] = operation
        self._workers.submit(self._run, name, work, (target, verb, begun))
        return operation

    def submit(self, work: Callable[[], None]) -> None:
        """Run `work`, which raises nothing, on the same threads; nobody asks for it."""
        self._workers.submit(work)

    def get(self, name: str) -> operations_pb2.Operation:
        with self._lock:
            if name not in self._known:
                raise not_found(name)
            return self._known[name]

    def close(self) -> None:
        self._workers.shutdown(cancel_futures=True)

    def methods(self) -> dict[str, tuple[Any, Method]]:
        return {
            "GetOperation": (operations_pb2.GetOperationRequest, lambda request: self.get(request.name)),
            "ListOperations": (operations_pb2.ListOperationsRequest, self._list),
            "DeleteOperation": (operations_pb2.DeleteOperationRequest, self._delete),
        }

    def _run(self, name: str, work: Callable[[], Any], about: tuple[str, str, Any]) -> None:
        done: Any = operations_pb2.Operation(name=name, done=True)
        try:
            result = work()
            done.response.CopyFrom(pack(empty_pb2.Empty() if result is None else result))
        except ApiError as error:
            done.error.CopyFrom(error.status)
        except Exception as error:  # an operation always ends: who polls it would wait for ever
            done.error.CopyFrom(status_pb2.Status(code=code_pb2.INTERNAL, message=f"Internal error: {error}"))
        done.metadata.CopyFrom(_metadata(*about, now()))
        with self._lock:
            self._known[name] = done

    def _list(self, request: operations_pb2.ListOperationsRequest) -> operations_pb2.ListOperationsResponse:
        parent = f"{request.name.removesuffix('/operations')}/operations"
        with self._lock:
            names, token = page(self._known, request, parent, _PAGE)
            found = [self._known[name] for name in names]
        return operations_pb2.ListOperationsResponse(operations=found, next_page_token=token)

    def _delete(self, request: operations_pb2.DeleteOperationRequest) -> Any:
        self.get(request.name)
        with self._lock:
            self._known.pop(request.name, None)
        return empty_pb2.Empty()


def _metadata(target: str, verb: str, begun: Any, ended: Any) -> Any:
    return pack(
        cloud_tpu.OperationMetadata(
            create_time=begun, end_time=ended, target=target, verb=verb, api_version="v2"
        )
    )


def handlers(
    services: Mapping[str, Mapping[str, tuple[Any, Method]]],
) -> "list[grpc.GenericRpcHandler[Any, Any]]":
    """Generic handlers for {service: {method: (request type, function)}}. Other methods answer UNIMPLEMENTED."""
    return [
        grpc.method_handlers_generic_handler(
            service, {name: _handler(*pair) for name, pair in methods.items()}
        )
        for service, methods in services.items()
    ]


def _handler(request_type: Any, method: Method) -> "grpc.RpcMethodHandler[Any, Any]":
    def call(request: Any, context: grpc.ServicerContext) -> Any:
        try:
            return method(request)
        except ApiError as error:
            _abort(context, error)

    parse = request_type.deserialize if hasattr(request_type, "deserialize") else request_type.FromString
    return grpc.unary_unary_rpc_method_handler(
        call, request_deserializer=parse, response_serializer=_serialize
    )


def _serialize(message: Any) -> bytes:
    kind = type(message)
    serialized: bytes = kind.serialize(message) if hasattr(kind, "serialize") else message.SerializeToString()
    return serialized


def _abort(context: grpc.ServicerContext, error: ApiError) -> NoReturn:
    context.abort_with_status(rpc_status.to_status(error.status))
    raise AssertionError from error  # abort never returns; for the type checker
