"""Uploads of blobs to a docker repository.

https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pushing-blobs. Sessions live as long as the
process; a client begins again after a 404. Blobs are not mounted from another repository: the session that the
specification gives in that case is opened.
"""

from __future__ import annotations

import re
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from shared.emulators.registry.blobs import Staged, Staging
from shared.emulators.registry.http import Reply, Request
from shared.emulators.registry.problems import Problem
from shared.emulators.registry.store import Store

Keep = Callable[[Staged], None]
_SESSIONS = 200
_RANGE = re.compile(r"([0-9]{1,18})-([0-9]{1,18})", re.ASCII)


@dataclass
class _Session:
    base: str
    staging: Staging
    is_patched: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)


class DockerUploads:
    """Upload sessions of every image; `base` is the path of the image that a request is about."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._sessions: dict[str, _Session] = {}
        self._lock = threading.Lock()

    def serve(self, request: Request, base: str, identifier: str, keep: Keep) -> Reply:
        """One request below `base`/blobs/uploads/; `keep` takes a content whose digest was checked."""
        if not identifier:
            return self._open(request, base, keep)
        session = self._sessions.get(identifier)
        if session is None or session.base != base:
            raise Problem(404, "The upload is not known; begin it again.", oci="BLOB_UPLOAD_UNKNOWN")
        with session.lock:
            match request.method:
                case "GET":
                    return self._state(204, session, identifier)
                case "PATCH":
                    return self._patch(request, session, identifier)
                case "PUT":
                    return self._finish(request, session, identifier, keep)
                case "DELETE":
                    self._end(identifier)
                    return Reply(code=204)
        raise Problem(405, f"Method {request.method} is not allowed here.", oci="UNSUPPORTED")

    def _open(self, request: Request, base: str, keep: Keep) -> Reply:
        if request.method != "POST":
            raise Problem(405, "An upload begins with POST.", oci="UNSUPPORTED")
        identifier = secrets.token_urlsafe(24)
        session = _Session(base, self._store.stage())
        with self._lock:
            if len(self._sessions) >= _SESSIONS:
                self._sessions.pop(next(iter(self._sessions))).staging.discard()
            self._sessions[identifier] = session
        if "digest" in request.query:
            return self._finish(request, session, identifier, keep)
        return self._state(202, session, identifier)

    def _patch(self, request: Request, session: _Session, identifier: str) -> Reply:
        """The whole content in one stream; a second one would be a chunk, and Artifact Registry takes none."""
        given = request.headers.get("content-range")
        found = _RANGE.fullmatch(given) if given else None
        if session.is_patched or (given and (found is None or int(found[1]) != 0)):
            raise Problem(416, "Chunked uploads are not supported.", oci="UNSUPPORTED")
        session.is_patched = True
        _copy(request, session.staging)
        return self._state(202, session, identifier)

    def _finish(self, request: Request, session: _Session, identifier: str, keep: Keep) -> Reply:
        try:
            before = session.staging.size
            _copy(request, session.staging)
            if session.is_patched and session.staging.size != before:
                raise Problem(416, "Chunked uploads are not supported.", oci="UNSUPPORTED")
            staged = session.staging.finish()
            wanted = request.query.get("digest", "")
            if wanted != f"sha256:{staged.sha256}":
                raise Problem(
                    400,
                    f"The content is sha256:{staged.sha256} and not {wanted[:80]!r}.",
                    oci="DIGEST_INVALID",
                )
            keep(staged)
        finally:
            self._end(identifier)
        location = f"{session.base}/blobs/{wanted}"
        return Reply(code=201, headers={"Location": location, "Docker-Content-Digest": wanted})

    def _state(self, code: int, session: _Session, identifier: str) -> Reply:
        headers = {
            "Location": f"{session.base}/blobs/uploads/{identifier}",
            "Range": f"0-{max(0, session.staging.size - 1)}",
            "Docker-Upload-UUID": identifier,
        }
        return Reply(code=code, headers=headers)

    def _end(self, identifier: str) -> None:
        with self._lock:
            session = self._sessions.pop(identifier, None)
        if session:
            session.staging.discard()


def _copy(request: Request, staging: Staging) -> None:
    while data := request.body.read():
        staging.write(data)
