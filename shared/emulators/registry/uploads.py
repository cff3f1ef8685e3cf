"""Google's upload protocols: `uploadType=` media, multipart and resumable.

https://cloud.google.com/storage/docs/performing-resumable-uploads describes the resumable one, which Google's
APIs share: a session is opened with the metadata, chunks follow by PUT with Content-Range, 308 says how far
it has come. Sessions live as long as the process; a client starts again after a 404.
"""

import json
import re
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from shared.emulators.registry.blobs import Staged, Staging
from shared.emulators.registry.http import Reply, Request
from shared.emulators.registry.multipart import Multipart, boundary
from shared.emulators.registry.problems import Problem, not_found
from shared.emulators.registry.store import Store

Commit = Callable[[dict[str, Any], Staged], Reply]
_METADATA_LIMIT = 1 << 16
_SESSIONS = 200
_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")


@dataclass
class _Session:
    target: str
    metadata: dict[str, Any]
    staging: Staging
    lock: threading.Lock = field(default_factory=threading.Lock)


class Uploads:
    """Receives contents, by whichever protocol, and hands them to a `commit` once they are whole."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._sessions: dict[str, _Session] = {}
        self._lock = threading.Lock()

    def receive(self, request: Request, target: str, commit: Commit) -> Reply:
        """Serve one request of an upload to `target` (repository and collection)."""
        if "upload_id" in request.query:
            return self._resume(request, target, commit)
        if request.method != "POST":
            raise Problem(405, "An upload begins with POST.")
        kind = request.query.get("uploadType", "")
        if kind == "resumable":
            return self._open(request, target)
        if kind not in {"media", "multipart"}:
            raise Problem(400, f"uploadType must be media, multipart or resumable, not {kind!r}.")
        with self._store.stage() as staging:
            if kind == "media":
                metadata: dict[str, Any] = {}
                _copy(request, staging)
            else:
                metadata = _receive_related(request, staging)
            return commit(metadata, staging.finish())

    def _open(self, request: Request, target: str) -> Reply:
        metadata = _metadata(request.body.read_all(_METADATA_LIMIT))
        identifier = secrets.token_urlsafe(24)
        with self._lock:
            if len(self._sessions) >= _SESSIONS:
                oldest = self._sessions.pop(next(iter(self._sessions)))
                oldest.staging.discard()
            self._sessions[identifier] = _Session(target, metadata, self._store.stage())
        scheme = "https" if request.host.endswith((".googleapis.com", ".pkg.dev")) else "http"
        location = f"{scheme}://{request.authority}{request.path}?uploadType=resumable&upload_id={identifier}"
        return Reply(headers={"Location": location, "X-GUploader-UploadID": identifier})

    def _resume(self, request: Request, target: str, commit: Commit) -> Reply:
        identifier = request.query["upload_id"]
        session = self._sessions.get(identifier)
        if session is None or session.target != target:
            raise not_found("The upload session was not found or has ended; begin the upload again.")
        if request.method == "DELETE":
            self._end(identifier)
            return Reply(code=204)
        with session.lock:
            total = _append(request, session.staging)
            if total is None or session.staging.size < total:
                headers = {"Range": f"bytes=0-{session.staging.size - 1}"} if session.staging.size else {}
                return Reply(code=308, headers=headers)
            try:
                return commit(session.metadata, session.staging.finish())
            finally:
                self._end(identifier)

    def _end(self, identifier: str) -> None:
        with self._lock:
            session = self._sessions.pop(identifier, None)
        if session:
            session.staging.discard()


def _append(request: Request, staging: Staging) -> int | None:
    """Take the chunk of `request`; returns the size of the whole if the client has said it."""
    header = request.headers.get("content-range")
    if header is None:  # the rest of the content, in one request
        _copy(request, staging)
        return staging.size
    match = _CONTENT_RANGE.fullmatch(header)
    if not match:
        raise Problem(400, f"Content-Range {header[:100]!r} cannot be read.")
    total = None if match[3] == "*" else int(match[3])
    if match[1] is None:  # a question how far it has come
        return total
    skip = staging.size - int(match[1])
    if skip < 0:
        raise Problem(
            400, f"The chunk begins at byte {match[1]}, but only {staging.size} bytes have arrived."
        )
    while data := request.body.read():
        staging.write(memoryview(data)[skip:])
        skip = max(0, skip - len(data))
    return total


def _copy(request: Request, staging: Staging) -> None:
    while data := request.body.read():
        staging.write(data)


def _receive_related(request: Request, staging: Staging) -> dict[str, Any]:
    """Read a multipart/related body: a JSON part, then the media, which goes to `staging`."""
    multipart = Multipart(request.body, boundary(request.headers.get("content-type", "")))
    parts = multipart.parts()
    if next(parts, None) is None:
        raise Problem(400, "The multipart body has no parts; expected JSON metadata and the media.")
    metadata = _metadata(multipart.text(_METADATA_LIMIT))
    if next(parts, None) is None:
        raise Problem(400, "The multipart body has no media part after the JSON metadata.")
    multipart.copy(staging.write)
    if next(parts, None) is not None:
        raise Problem(400, "The multipart body has more than the JSON metadata and the media.")
    return metadata


def _metadata(content: bytes) -> dict[str, Any]:
    try:
        value = json.loads(content or b"{}")
    except ValueError as error:
        raise Problem(400, f"Invalid JSON payload received. {error}") from error
    if not isinstance(value, dict):
        raise Problem(400, "Invalid JSON payload received. Expected an object.")
    return value
