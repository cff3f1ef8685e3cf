"""Loopback stand-in for what a deployment speaks to: Cloud Storage, Cloud Build, Artifact Registry's list of images.

The real Terraform keeps its state here through its own gcs backend, lock included; the real gcloud uploads the source,
starts the build, waits for it and reads the digest back.

- https://cloud.google.com/storage/docs/json_api/v1 (objects: list, get, insert, delete; media by the XML API's path)
- https://cloud.google.com/build/docs/api/reference/rest/v1/projects.locations.builds
- https://cloud.google.com/artifact-registry/docs/reference/rest/v1/projects.locations.repositories.dockerImages/list
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from shared.emulators.registry.multipart import boundary

OBJECTS = re.compile(r"/storage/v1/b/([^/]+)/o")
OBJECT = re.compile(r"/storage/v1/b/([^/]+)/o/([^/]+)")
UPLOAD = re.compile(r"(?:/resumable)?/upload/storage/v1/b/([^/]+)/o")
BUCKET = re.compile(r"/storage/v1/b(?:/([^/]+))?")
REPOSITORY = re.compile(r"/v1/(projects/[^/]+/locations/[^/]+/repositories/[^/]+)")
BUILDS = re.compile(r"/v1/projects/([^/]+)/locations/([^/]+)/builds(?:/([^/]+))?")
IMAGES = re.compile(r"/v1/(projects/[^/]+/locations/[^/]+/repositories/[^/]+)/dockerImages(?:/.*)?")


@dataclass
class Cloud:
    """What it holds. `built` says what a build's digest is; a build without an answer fails."""

    built: Callable[[dict[str, Any]], str] = lambda _: "sha256:" + "1" * 64
    objects: dict[tuple[str, str], tuple[int, bytes]] = field(default_factory=dict)
    builds: list[dict[str, Any]] = field(default_factory=list)
    images: list[tuple[str, str, str]] = field(default_factory=list)
    """Repository's resource name, tag, digest."""
    signs: Callable[[dict[str, Any], str], None] = lambda *_: None
    """Told each build that went well, and its digest: builders keep their statements then."""
    address: str = ""
    unknown: list[str] = field(default_factory=list)
    """Requests that were not understood: none, if the stand-in is of use."""
    lock: threading.RLock = field(default_factory=threading.RLock)
    generation: int = 0

    def stored(self, bucket: str, name: str, content: bytes, wanted: str | None) -> dict[str, Any] | None:
        """The new object's metadata; None where the generation is another than `wanted`."""
        with self.lock:
            have = self.objects.get((bucket, name), (0, b""))[0]
            if wanted is not None and int(wanted) != have:
                return None
            self.generation += 1
            self.objects[bucket, name] = (self.generation, content)
            return self.metadata(bucket, name)

    def metadata(self, bucket: str, name: str) -> dict[str, Any]:
        generation, content = self.objects[bucket, name]
        return {
            "kind": "storage#object",
            "bucket": bucket,
            "name": name,
            "generation": str(generation),
            "metageneration": "1",
            "mediaLink": f"{self.address}/storage/v1/b/{bucket}/o/{quote(name, safe='')}?alt=media",
            "size": str(len(content)),
            "md5Hash": base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode(),
            "updated": "2026-11-22T00:00:00Z",
        }

    def build(self, project: str, location: str, given: dict[str, Any]) -> dict[str, Any]:
        digest = self.built(given)
        made = given | {
            "id": str(uuid.uuid4()),
            "projectId": project,
            "status": "SUCCESS" if digest else "FAILURE",
            "name": f"projects/{project}/locations/{location}/builds/x",
        }
        self.builds.append(made)
        substitutions = given["substitutions"]
        if digest and substitutions["_ROLE"] == "builder":
            named = f"projects/{project}/locations/{location}/repositories/dmz-services"
            pushed = (named, substitutions["_REVISION"], digest)
            if pushed not in self.images:
                self.images.append(pushed)
        if digest:
            self.signs(made, digest)
        return made


class _Handler(BaseHTTPRequestHandler):
    cloud: Cloud
    uploads: dict[str, tuple[str, str, str | None]]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    do_POST = do_PUT = do_DELETE = do_GET

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self) -> None:
        address = urlsplit(self.path)
        self.query = {name: values[0] for name, values in parse_qs(address.query).items()}
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            self.body = b"".join(self._chunks())
        for pattern, answer in (
            (UPLOAD, self._upload),
            (OBJECTS, self._list),
            (OBJECT, self._object),
            (BUCKET, self._bucket),
            (BUILDS, self._builds),
            (REPOSITORY, self._repository),
            (IMAGES, self._images),
        ):
            if match := pattern.fullmatch(address.path):
                return answer(*map(unquote, (group or "" for group in match.groups())))
        bucket, _, name = unquote(address.path).strip("/").partition("/")
        if self.command == "GET" and name and not bucket.startswith("v1"):
            return self._media(bucket, name)
        self.cloud.unknown.append(f"{self.command} {self.path}")
        return self._problem(404, "unknown to the stand-in")

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def _list(self, bucket: str) -> None:
        prefix = self.query.get("prefix", "")
        with self.cloud.lock:
            names = sorted(name for owner, name in self.cloud.objects if owner == bucket)
            found = [self.cloud.metadata(bucket, name) for name in names if name.startswith(prefix)]
        self._json({"kind": "storage#objects", "items": found})

    def _object(self, bucket: str, name: str) -> None:
        with self.cloud.lock:
            if (bucket, name) not in self.cloud.objects:
                return self._problem(404, "No such object")
            if self.query.get("alt") == "media":
                return self._media(bucket, name)
            if self.command == "DELETE":
                wanted = self.query.get("ifGenerationMatch")
                if wanted not in (None, self.cloud.metadata(bucket, name)["generation"]):
                    return self._problem(412, "conditionNotMet")
                del self.cloud.objects[bucket, name]
                return self._send(204, b"")
            return self._json(self.cloud.metadata(bucket, name))

    def _media(self, bucket: str, name: str) -> None:
        with self.cloud.lock:
            found = self.cloud.objects.get((bucket, name))
        if found is None:
            return self._problem(404, "No such object")
        return self._send(200, found[1], {"X-Goog-Generation": str(found[0]), "X-Goog-Metageneration": "1"})

    def _upload(self, bucket: str) -> None:
        wanted = self.query.get("ifGenerationMatch")
        if upload := self.query.get("upload_id"):
            bucket, name, wanted = self.uploads[upload]
            return self._put(bucket, name, self.body, wanted)
        if self.query.get("uploadType") == "resumable":
            name = self.query.get("name") or json.loads(self.body or b"{}").get("name", "")
            upload = uuid.uuid4().hex
            self.uploads[upload] = (bucket, name, wanted)
            there = f"http://{self.headers['Host']}/upload/storage/v1/b/{bucket}/o"
            return self._send(200, b"", {"Location": f"{there}?uploadType=resumable&upload_id={upload}"})
        if self.query.get("uploadType") == "media":
            return self._put(bucket, self.query["name"], self.body, wanted)
        about, content = _parts(self.body, boundary(self.headers["Content-Type"]))
        return self._put(bucket, self.query.get("name") or json.loads(about)["name"], content, wanted)

    def _put(self, bucket: str, name: str, content: bytes, wanted: str | None) -> None:
        made = self.cloud.stored(bucket, name, content, wanted)
        return self._json(made) if made else self._problem(412, "conditionNotMet")

    def _bucket(self, name: str) -> None:
        if self.command == "POST":
            return self._problem(409, "You already own this bucket.")
        return self._json({"kind": "storage#bucket", "name": name, "projectNumber": "123456789012"})

    def _builds(self, project: str, location: str, name: str) -> None:
        if self.command == "POST":
            made = self.cloud.build(project, location, json.loads(self.body))
            kind = "type.googleapis.com/google.devtools.cloudbuild.v1.BuildOperationMetadata"
            return self._json({"name": "operations/build", "metadata": {"@type": kind, "build": made}})
        found = [each for each in self.cloud.builds if each["id"] == name]
        return self._json(found[0]) if found else self._problem(404, "No such build")

    def _repository(self, name: str) -> None:
        self._json({"name": name, "format": "DOCKER", "mode": "STANDARD_REPOSITORY"})

    def _images(self, repository: str) -> None:
        host = "{3}-docker.pkg.dev/{1}/{5}".format(*repository.split("/"))
        listed = [
            {
                "name": f"{repository}/dockerImages/services@{digest}",
                "uri": f"{host}/services@{digest}",
                "tags": [tag],
                "uploadTime": "2026-11-22T00:00:00Z",
                "updateTime": "2026-11-22T00:00:00Z",
                "imageSizeBytes": "1",
            }
            for owner, tag, digest in self.cloud.images
            if owner == repository
        ]
        self._json({"dockerImages": listed})

    def _json(self, value: object, status: int = 200) -> None:
        self._send(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _problem(self, status: int, message: str) -> None:
        self._json({"error": {"code": status, "message": message, "errors": [{"reason": message}]}}, status)

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _parts(body: bytes, delimiter: bytes) -> tuple[bytes, bytes]:
    """Metadata and media. gcloud ends lines by a bare line feed, the Go client as the RFC wants it."""
    parts = []
    for part in body.split(b"--" + delimiter)[1:3]:
        end = b"\r\n" if part.startswith(b"\r\n") else b"\n"
        parts.append(part.partition(end + end)[2].removesuffix(end))
    about, content = parts
    return about, content


@contextlib.contextmanager
def served(cloud: Cloud) -> Iterator[str]:
    """The address at which it answers."""
    handler = type("Handler", (_Handler,), {"cloud": cloud, "uploads": {}})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    cloud.address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield cloud.address
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
