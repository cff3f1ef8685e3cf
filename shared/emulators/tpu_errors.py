"""Errors of the TPU API as it words them; where nobody has written its words down, ours.

Seen in the field: no capacity and no reserved capacity come in the operation, as code 8; an accelerator type that a
zone has not comes at once, as code 3. Google ends each sentence with an error id in brackets; that is left out here.
"""

from typing import Any

from google.rpc import code_pb2, error_details_pb2, status_pb2

from shared.emulators.tpu_messages import pack


class ApiError(Exception):
    """A google.rpc.Status on its way out. `code` is a google.rpc.Code number."""

    def __init__(self, code: int, message: str, *details: Any) -> None:
        super().__init__(message)
        self.status = status_pb2.Status(
            code=code, message=message, details=[pack(detail) for detail in details]
        )


def not_found(name: str) -> ApiError:
    resource = error_details_pb2.ResourceInfo(resource_name=name)
    return ApiError(code_pb2.NOT_FOUND, f"Resource '{name}' was not found", resource)


def already_exists(name: str) -> ApiError:
    resource = error_details_pb2.ResourceInfo(resource_name=name)
    return ApiError(code_pb2.ALREADY_EXISTS, f"Resource '{name}' already exists", resource)


def invalid(message: str) -> ApiError:
    return ApiError(code_pb2.INVALID_ARGUMENT, message)


def precondition(message: str) -> ApiError:
    return ApiError(code_pb2.FAILED_PRECONDITION, message)


def unimplemented(message: str) -> ApiError:
    return ApiError(code_pb2.UNIMPLEMENTED, message)


def not_offered(kind: str, zone: str) -> ApiError:
    return invalid(
        "Cloud TPU received a bad request. The requested accelerator configuration for accelerator type, "
        f'"{kind}", could not be found in the zonal accelerator configurations for "{zone}".; the accelerator {kind} '
        f"was not found in zone {zone}"
    )


def quota(parent: str, limit: int, zone: str) -> ApiError:
    said = f"Quota limit 'TPUNodesPerProjectPerZone' has been exceeded. Limit: {limit} in zone {zone}."
    return _exhausted(said, parent)


def too_many_hosts(parent: str, what: str, hosts: int, limit: int) -> ApiError:
    """Ours: each host is a VM on one machine."""
    said = (
        f"{what}: {hosts} hosts; this machine boots at most {limit} for one request: take a smaller type, or raise "
        "`max_hosts` of the TPU platform."
    )
    return _exhausted(said, parent)


def no_capacity(zone: str) -> ApiError:
    return ApiError(
        code_pb2.RESOURCE_EXHAUSTED,
        f'There is no more capacity in the zone "{zone}"; you can try in another zone where Cloud TPU Nodes are '
        "offered (see https://cloud.google.com/tpu/docs/regions)",
    )


def no_reserved_capacity() -> ApiError:
    return ApiError(
        code_pb2.RESOURCE_EXHAUSTED,
        "Insufficient reserved capacity. Contact customer support to increase your reservation.",
    )


def expired() -> ApiError:
    """Ours; a queued resource carries it in its state."""
    return ApiError(
        code_pb2.DEADLINE_EXCEEDED,
        "The queued resource was not served before the time that its queueing policy says it is valid until.",
    )


def _exhausted(said: str, parent: str) -> ApiError:
    violation = error_details_pb2.QuotaFailure.Violation(subject=parent, description=said)
    return ApiError(code_pb2.RESOURCE_EXHAUSTED, said, error_details_pb2.QuotaFailure(violations=[violation]))
