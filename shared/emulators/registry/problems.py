"""Errors as Google's APIs answer them.

Shape: https://cloud.google.com/apis/design/errors#http_mapping (a JSON object `error` with code, message, status).
"""

import json
from dataclasses import dataclass, field
from http import HTTPStatus

_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    409: "ALREADY_EXISTS",
    411: "INVALID_ARGUMENT",
    413: "INVALID_ARGUMENT",
    416: "OUT_OF_RANGE",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    507: "RESOURCE_EXHAUSTED",
}

# google.rpc.Code numbers, which long-running operations carry instead of HTTP's.
# https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto
RPC_CODE = {
    "INVALID_ARGUMENT": 3,
    "NOT_FOUND": 5,
    "ALREADY_EXISTS": 6,
    "PERMISSION_DENIED": 7,
    "RESOURCE_EXHAUSTED": 8,
    "FAILED_PRECONDITION": 9,
    "OUT_OF_RANGE": 11,
    "UNIMPLEMENTED": 12,
    "INTERNAL": 13,
    "UNAVAILABLE": 14,
    "UNAUTHENTICATED": 16,
}


@dataclass
class Problem(Exception):
    """An answer other than success. `plain` is for package managers, which show a text body to their user."""

    code: int
    message: str
    status: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    plain: bool = False
    oci: str = ""
    """Code of the distribution specification, whose form of an error it then has."""

    def __post_init__(self) -> None:
        super().__init__(self.message)
        self.status = self.status or _STATUS.get(self.code, "UNKNOWN")

    def body(self) -> tuple[str, bytes]:
        """Content type and content of the answer."""
        if self.plain:
            return "text/plain; charset=utf-8", f"{self.message}\n".encode()
        if self.oci:
            errors = [{"code": self.oci, "message": self.message}]
            return "application/json", json.dumps({"errors": errors}).encode()
        content = {"error": {"code": self.code, "message": self.message, "status": self.status}}
        return "application/json; charset=UTF-8", json.dumps(content, indent=2).encode()

    def rpc(self) -> dict[str, object]:
        """The same as google.rpc.Status, as a failed operation carries it."""
        return {"code": RPC_CODE.get(self.status, 2), "message": self.message}


def not_found(what: str = "Requested entity was not found.") -> Problem:
    """404, in the words that Google's APIs use by default."""
    return Problem(404, what)


def reason(code: int) -> str:
    """The phrase of the status line."""
    return HTTPStatus(code).phrase
