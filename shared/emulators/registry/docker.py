"""Docker repositories, as `https://REGION-docker.pkg.dev/v2/PROJECT/REPOSITORY/IMAGE/…` serves them.

https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md, with Artifact Registry's own ways: a token
comes from `/v2/token` for an access token, either of the two is taken, and chunked uploads are refused
(https://cloud.google.com/artifact-registry/docs/reference/docker-api): a blob comes in the request that ends its
upload, or in one PATCH before it, as `docker push` sends it. Contents never change; tags may move.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from urllib.parse import unquote

from shared.emulators.registry.access import Access
from shared.emulators.registry.blobs import Staged
from shared.emulators.registry.config import Config, Format
from shared.emulators.registry.docker_manifests import LIMIT, checked
from shared.emulators.registry.docker_uploads import DockerUploads
from shared.emulators.registry.http import Reply, Request
from shared.emulators.registry.problems import Problem
from shared.emulators.registry.store import NewFile, Store, StoredFile

PREFIX = "/v2/"
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(
    rf"/v2/(?P<project>[^/]+)/(?P<repository>[^/]+)/(?P<image>{_PART}(?:/{_PART})*)/"
    r"(?P<kind>blobs/uploads|blobs|manifests|tags)/(?P<name>[^/]*)",
    re.ASCII,
)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)
_READ = "artifactregistry.repositories.downloadArtifacts"
_WRITE = "artifactregistry.repositories.uploadArtifacts"
_DELETE = "artifactregistry.versions.delete"
_READS = frozenset({"GET", "HEAD"})
_VERSION = {"Docker-Distribution-Api-Version": "registry/2.0"}


def blobs_of(repository: str) -> str:
    """The part of the store that holds a docker repository's blobs; its manifests are what is listed."""
    return f"{repository}//blobs"


class DockerImages:
    """Serves the paths below `/v2/`."""

    def __init__(self, config: Config, store: Store, access: Access) -> None:
        self._config = config
        self._store = store
        self._access = access
        self._uploads = DockerUploads(store)
        self._kinds: dict[str, Callable[[Request, str, str, str], Reply]] = {
            "blobs/uploads": self._upload,
            "blobs": self._blob,
            "manifests": self._manifest,
            "tags": self._tags,
        }

    def serve(self, request: Request) -> Reply:
        """Answer one request; Problem, in the specification's form, if it cannot be."""
        try:
            reply = self._serve(request)
        except Problem as problem:
            problem.oci = problem.oci or _CODES.get(problem.code, "UNKNOWN")
            problem.headers = {**_VERSION, **problem.headers}
            raise
        reply.headers = {**_VERSION, **reply.headers}
        return reply

    def _serve(self, request: Request) -> Reply:
        if request.path.rstrip("/") == "/v2":
            self._caller(request, "")
            return _json({})
        if request.path == "/v2/token":
            return self._token(request)
        match = _PATH.fullmatch(unquote(request.path))
        if not match:
            self._caller(request, "")
            raise Problem(404, "There is no such path.", oci="NAME_INVALID")
        parts = match.groupdict()
        wanted = _READ if request.method in _READS and parts["kind"] != "blobs/uploads" else _WRITE
        if request.method == "DELETE" and parts["kind"] == "manifests":
            wanted = _DELETE
        self._check(request, parts, wanted)
        return self._kinds[parts["kind"]](request, parts["repository"], parts["image"], parts["name"])

    def _check(self, request: Request, parts: Mapping[str, str], permission: str) -> None:
        """(1) the caller is known; (2) the project is ours; (3) the role permits it; (4) such a repository exists."""
        place = f"{parts['project']}/{parts['repository']}/{parts['image']}"
        actions = "pull" if permission == _READ else "push,pull"
        email = self._caller(request, f"repository:{place}:{actions}")  # 1
        if parts["project"] != self._config.project:  # 2
            raise Problem(
                403,
                f"Permission '{permission}' denied on project '{parts['project']}' (or it may not exist).",
            )
        self._access.require(email, parts["repository"], permission)  # 3
        if self._config.repositories.get(parts["repository"]) is not Format.DOCKER:  # 4
            raise Problem(404, f'Repository "{parts["repository"]}" not found.', oci="NAME_UNKNOWN")

    def _caller(self, request: Request, scope: str) -> str:
        """Who calls. The challenge names service and scope below a repository only, as Artifact Registry's does."""
        realm = f'Bearer realm="{_scheme(request)}://{request.authority}/v2/token"'
        more = f',service="{request.authority}",scope="{scope}"' if scope else ""
        try:
            return self._access.caller(request.headers.get("authorization"), realm + more)
        except Problem as problem:
            problem.message = f"No valid credential was supplied. {problem.message}"
            raise

    def _token(self, request: Request) -> Reply:
        """Nobody is told apart by a token of another form: the access token itself is given back."""
        given = request.headers.get("authorization")
        self._access.caller(given, 'Basic realm="Artifact Registry"')
        token = self._access.token(given or "")
        return _json({"token": token, "access_token": token, "expires_in": 3600})

    def _upload(self, request: Request, repository: str, image: str, name: str) -> Reply:
        base = f"/v2/{self._config.project}/{repository}/{image}"
        place = blobs_of(repository)

        def keep(staged: Staged) -> None:
            digest = f"sha256:{staged.sha256}"
            # What is there already has the same digest, so the same bytes.
            self._store.add(place, NewFile(f"{image}@{digest}", image, digest, {}), staged)

        return self._uploads.serve(request, base, name, keep)

    def _blob(self, request: Request, repository: str, image: str, name: str) -> Reply:
        if request.method not in _READS:
            raise Problem(405, "Blobs are not deleted here.", oci="UNSUPPORTED")
        digest = _checked_digest(name)
        file = self._store.file(blobs_of(repository), f"{image}@{digest}")
        if file is None:
            raise Problem(404, f"Blob {digest} not found.", oci="BLOB_UNKNOWN")
        return self._content(file, "application/octet-stream")

    def _manifest(self, request: Request, repository: str, image: str, name: str) -> Reply:
        if request.method == "PUT":
            return self._put(request, repository, image, name)
        file = self._found(repository, image, name)
        if request.method in _READS:
            return self._content(file, str(file.meta["media_type"]))
        if request.method != "DELETE":
            raise Problem(405, f"Method {request.method} is not allowed here.", oci="UNSUPPORTED")
        if name != file.version:
            self._store.remove_tag(repository, image, name)
        elif self._store.tags(repository, image, file.version):
            raise Problem(400, f"{name} has tags; delete these first.", oci="DENIED")
        else:
            self._store.remove(repository, [file])
        return Reply(code=202)

    def _put(self, request: Request, repository: str, image: str, name: str) -> Reply:
        content = request.body.read_all(LIMIT)
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()

        def size_of(digest: str, is_manifest: bool) -> int | None:
            place = repository if is_manifest else blobs_of(repository)
            file = self._store.file(place, f"{image}@{digest}")
            return file.size if file else None

        digest, meta = checked(content, media_type, size_of)
        if name.startswith("sha256:"):
            if name != digest:
                raise Problem(400, f"The manifest is {digest} and not {name}.", oci="DIGEST_INVALID")
        elif not _TAG.fullmatch(name):
            raise Problem(400, f"{name[:200]!r} is no tag.", oci="TAG_INVALID")
        with self._store.stage() as staging:
            staging.write(content)
            new = NewFile(f"{image}@{digest}", image, digest, meta)
            self._store.add(repository, new, staging.finish())
        if name != digest:
            self._store.set_tag(repository, image, name, digest)
        base = f"/v2/{self._config.project}/{repository}/{image}"
        location = f"{_scheme(request)}://{request.authority}{base}/manifests/{digest}"
        return Reply(code=201, headers={"Location": location, "Docker-Content-Digest": digest})

    def _found(self, repository: str, image: str, name: str) -> StoredFile:
        digest = name if name.startswith("sha256:") else self._store.tagged(repository, image, name)
        file = self._store.file(repository, f"{image}@{_checked_digest(digest)}") if digest else None
        if file is None:
            raise Problem(404, f"Failed to fetch {name[:200]!r}.", oci="MANIFEST_UNKNOWN")
        return file

    def _tags(self, request: Request, repository: str, image: str, name: str) -> Reply:
        if request.method not in _READS or name != "list":
            raise Problem(404, "There is no such path.", oci="UNSUPPORTED")
        if not self._store.packages(repository, image):
            raise Problem(404, f"Image {image!r} not found.", oci="NAME_UNKNOWN")
        tags = sorted(self._store.tags(repository, image))
        return _json({"name": f"{self._config.project}/{repository}/{image}", "tags": tags})

    def _content(self, file: StoredFile, media_type: str) -> Reply:
        headers = {"Docker-Content-Digest": f"sha256:{file.sha256}", "ETag": f'"sha256:{file.sha256}"'}
        return Reply(content_type=media_type, path=self._store.blobs.path(file.sha256), headers=headers)


# https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#error-codes
_CODES = {
    401: "UNAUTHORIZED",
    403: "DENIED",
    404: "NAME_UNKNOWN",
    413: "SIZE_INVALID",
    429: "TOOMANYREQUESTS",
}


def _checked_digest(text: str) -> str:
    if not _DIGEST.fullmatch(text):
        raise Problem(400, f"{text[:200]!r} is no sha256 digest.", oci="DIGEST_INVALID")
    return text


def _scheme(request: Request) -> str:
    """TLS is put before this server for Google's names alone."""
    return "https" if request.host.endswith(".pkg.dev") else "http"


def _json(content: Mapping[str, object]) -> Reply:
    return Reply(content=json.dumps(content).encode(), content_type="application/json")
