"""The TPU API's REST surface, for gcloud: JSON over HTTP on loopback, in front of the methods that gRPC serves.

Source: https://docs.cloud.google.com/tpu/docs/reference/rest, https://google.aip.dev/127 (paths), /193 (errors) and
https://protobuf.dev/programming-guides/json. With gcloud: CLOUDSDK_API_ENDPOINT_OVERRIDES_TPU=http://HOST:PORT/ and any
CLOUDSDK_AUTH_ACCESS_TOKEN.
Checks: 1. an Authorization header, whatever it says: no web page can make the browser of somebody on this machine send
one here; 2. a body of at most 4 MiB, of JSON.
"""

import json
import re
import urllib.parse
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from google.protobuf import json_format
from google.rpc import code_pb2, error_details_pb2

from shared.emulators.tpu_errors import ApiError, invalid, unimplemented
from shared.emulators.tpu_messages import plain
from shared.emulators.tpu_server import Method

Methods = Mapping[str, tuple[Any, Method]]
_PATH = re.compile(r"/v2/(projects/[^/]+/locations/[^/]+)/([A-Za-z]+)(?:/([^/:]+))?(?::([a-zA-Z]+))?")
_COLLECTIONS = {
    "nodes": "Node",
    "queuedResources": "QueuedResource",
    "acceleratorTypes": "AcceleratorType",
    "runtimeVersions": "RuntimeVersion",
    "operations": "Operation",
}
_BODIES = {"CreateNode": "node", "UpdateNode": "node", "CreateQueuedResource": "queuedResource"}
_ON_ALL = {"GET": "List", "POST": "Create"}
_ON_ONE = {"GET": "Get", "DELETE": "Delete", "PATCH": "Update"}
_SYSTEM = ("alt", "key", "prettyPrint", "fields", "quotaUser", "userIp", "callback", "access_token")
"""Parameters of any Google API: https://docs.cloud.google.com/apis/docs/system-parameters"""
_SWITCHES = ("force",)
"""Parameters that are true or false; gcloud writes them with a capital."""
_LARGEST = 4 * 2**20
# https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto says which HTTP status is which code.
_STATUS = {1: 499, 3: 400, 4: 504, 5: 404, 6: 409, 7: 403, 8: 429, 9: 400, 12: 501, 13: 500, 14: 503, 16: 401}
_NAMES = {value.number: str(value.name) for value in code_pb2.DESCRIPTOR.enum_types_by_name["Code"].values}
assert error_details_pb2  # noqa: S101 - errors carry its messages: JSON needs them known


class RestServer(ThreadingHTTPServer):
    """Serves `methods` on `address`; close it with `shutdown` and `server_close`."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], methods: Methods) -> None:
        super().__init__(address, _Handler)
        self.methods = methods


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60
    server: RestServer

    def do_GET(self) -> None:
        self._answer()

    do_POST = do_DELETE = do_PATCH = do_PUT = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the platform's log is for what went wrong."""

    def _answer(self) -> None:
        try:
            content = self._read()
            found = answer(self.server.methods, self.command, self.path, content)
            self._send(200, found)
        except ApiError as error:
            code = error.status.code
            self._send(_STATUS.get(code, 500), failure(error))

    def _read(self) -> bytes:
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or int(length) > _LARGEST or "Transfer-Encoding" in self.headers:  # check 2
            self.close_connection = True
            raise invalid(f"A request has a Content-Length of at most {_LARGEST} bytes.")
        content = self.rfile.read(int(length))
        if "Authorization" not in self.headers:  # check 1
            raise ApiError(code_pb2.UNAUTHENTICATED, "Request is missing required authentication credential.")
        return content

    def _send(self, status: int, found: Any) -> None:
        body = json.dumps(found).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=UTF-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def answer(methods: Methods, verb: str, target: str, content: bytes) -> Any:
    """What a request is answered with, as JSON. ApiError if it fails."""
    url = urllib.parse.urlsplit(target)
    match = _PATH.fullmatch(urllib.parse.unquote(url.path))
    if not match or match[2] not in _COLLECTIONS:
        raise ApiError(code_pb2.NOT_FOUND, f"There is nothing at {url.path}.")
    name = _method(verb, match)
    if name not in methods:
        raise unimplemented(f"This stand-in has no {name or verb} here.")
    kind, method = methods[name]
    try:
        fields = _fields(name, match, url.query, content)
        plain_kind = kind.pb() if hasattr(kind, "pb") else kind
        request = _from_json(fields, plain_kind())
    except (ValueError, json_format.ParseError) as error:
        raise invalid(f"Invalid JSON payload received: {error}") from None
    if hasattr(kind, "wrap"):
        request = kind.wrap(request)
    return _as_json(plain(method(request)))


def failure(error: ApiError) -> Any:
    """An error as JSON."""
    status = _as_json(error.status)
    code = error.status.code
    return {
        "error": {
            "code": _STATUS.get(code, 500),
            "message": error.status.message,
            "status": _NAMES[code],
            **({"details": status["details"]} if "details" in status else {}),
        }
    }


# To a type checker they are untyped.
_as_json: Any = json_format.MessageToDict
_from_json: Any = json_format.ParseDict


def _method(verb: str, match: "re.Match[str]") -> str:
    noun = _COLLECTIONS[match[2]]
    if match[4]:
        return f"{match[4][0].upper()}{match[4][1:]}{noun}" if verb == "POST" else ""
    if match[3]:
        return f"{_ON_ONE[verb]}{noun}" if verb in _ON_ONE else ""
    if verb not in _ON_ALL:
        return ""
    return f"{_ON_ALL[verb]}{noun}" + ("s" if verb == "GET" else "")


def _fields(name: str, match: "re.Match[str]", query: str, content: bytes) -> dict[str, Any]:
    """The request as JSON: from the path, the query and the body. ValueError if the body is none."""
    fields: dict[str, Any] = {}
    for key, value in urllib.parse.parse_qsl(query):
        if key.lstrip("$") not in _SYSTEM:
            fields[key] = value.lower() == "true" if key in _SWITCHES else value
    if content:
        body = json.loads(content)
        if not isinstance(body, dict):
            raise ValueError("it is not an object")
        fields.update({_BODIES[name]: body} if name in _BODIES else body)
    if name == "UpdateNode":
        fields["node"] = {**fields.get("node", {}), "name": f"{match[1]}/{match[2]}/{match[3]}"}
    elif match[3]:
        fields["name"] = f"{match[1]}/{match[2]}/{match[3]}"
    else:
        fields["name" if name == "ListOperations" else "parent"] = match[1]
    return fields
