"""The private repositories, through Artifact Registry's own interfaces.

Listing and versions go through the client; uploads through the endpoints that pip's, apt's and gcloud's uploads use:
https://cloud.google.com/artifact-registry/docs/python/store-python (twine's form),
https://cloud.google.com/artifact-registry/docs/reference/rest/v1/projects.locations.repositories.aptArtifacts/upload,
https://cloud.google.com/artifact-registry/docs/reference/rest/v1/projects.locations.repositories.genericArtifacts/upload.

What may pass is tried again here within a budget, with what Retry-After asks for (`shared.patience`): a shard that
comes again lists and looks at everything once more. An upload may be sent twice: what is there already is compared by
its hash, never assumed. An import that goes on is waited for instead (`shared.gcp.imports`). A token that is not taken,
because it has ended before it was said to, is not shown again: the next try brings a new one.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent import futures
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import google.auth
import httpx
from google.api_core import exceptions
from google.api_core.client_options import ClientOptions
from google.auth.credentials import Credentials
from google.auth.transport.requests import Request
from google.cloud import artifactregistry_v1

from shared import patience
from shared.errors import DmzError, Permanent, Transient
from shared.gcp import imports
from shared.gcp.errors import translated
from shared.gcp.rest import document, operation, over_http
from shared.model.lock import LockedArchive, LockedPython
from shared.model.value import printable
from shared.ports.registry import NotPermitted, Stored, too_large
from shared.ports.store import Store
from shared.settings import Settings

_API = "https://artifactregistry.googleapis.com"
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_BOUNDARY = "package-dmz-7MA4YWxkTrZu0gW"
_CHUNK = 1 << 20
_DELETION_SECONDS = 300
_ATTEMPTS = 5
_QUESTIONS = 8
"""At once."""


class _TokenOnly(Credentials):
    """The token of other credentials and nothing else, for another endpoint than Google's.

    google-auth would show the token to iamcredentials.googleapis.com, to ask for the account's regional boundary.
    """

    def __init__(self, source: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._source = source

    def refresh(self, request: Any) -> None:
        self._source.refresh(request)
        self.token, self.expiry = self._source.token, self._source.expiry


class ArtifactRegistry:
    """Port `Registry` for one project and location."""

    def __init__(self, settings: Settings, store: Store | None = None) -> None:
        """`store` remembers imports that outlast a delivery; without one this object alone does."""
        self._imports = imports.Imports(store)
        self._settings = settings
        self._guard = threading.Lock()
        self._api = settings.registry_endpoint or _API

    @cached_property
    def _credentials(self) -> Any:
        with translated("Artifact Registry"):
            credentials, _ = google.auth.default(scopes=[_SCOPE])
            return _TokenOnly(credentials) if self._settings.registry_endpoint else credentials

    @cached_property
    def _client(self) -> Any:
        options = ClientOptions(api_endpoint=self._settings.registry_endpoint or None)
        return artifactregistry_v1.ArtifactRegistryClient(
            credentials=self._credentials, transport="rest", client_options=options
        )

    @cached_property
    def _http(self) -> httpx.Client:
        limits = httpx.Limits(max_connections=32, max_keepalive_connections=32)
        return httpx.Client(timeout=httpx.Timeout(300, connect=10), limits=limits)

    def _name(self, repository: str) -> str:
        project = self._settings.holder(repository)
        return f"projects/{project}/locations/{self._settings.location}/repositories/{repository}"

    def stored(self, repository: str) -> Sequence[Stored]:
        return self._listed(repository, "")

    def find(self, repository: str, versions: Collection[tuple[str, str]]) -> Sequence[Stored]:
        """By the filter `owner`, one question for each version:
        https://cloud.google.com/artifact-registry/docs/reference/rest/v1/projects.locations.repositories.files/list

        A package is escaped there; whether a version is, is documented of slashes alone, and gcloud's `files list` does
        not. So a version that could be spelled in two ways is asked for in both.
        """

        def of(version: tuple[str, str]) -> Sequence[Stored]:
            name, number = version
            owner = f"{self._name(repository)}/packages/{_escaped(name)}/versions/"
            found = [
                self._listed(repository, f'owner="{owner}{spelled}"')
                for spelled in dict.fromkeys((_escaped(number), number))
            ]
            return list(dict.fromkeys(one for some in found for one in some))

        with futures.ThreadPoolExecutor(_QUESTIONS, thread_name_prefix="find") as pool:
            return [one for some in pool.map(of, sorted(versions)) for one in some]

    def _listed(self, repository: str, only: str) -> Sequence[Stored]:
        request = {"parent": self._name(repository), "page_size": 1000, "filter": only}

        def listed() -> Sequence[Stored]:
            with over_http(f"Listing the repository {repository}"):
                return [_stored(repository, file) for file in self._client.list_files(request=request)]

        return patience.persist(listed, _ATTEMPTS)

    def delete_version(self, owner: str) -> None:
        """https://cloud.google.com/artifact-registry/docs/reference/rest/v1/projects.locations.repositories.packages.versions/delete

        Of formats other than generic no single file can be deleted.
        """
        what = f"Deleting {owner.partition('/repositories/')[2]}"
        with over_http(what):
            try:
                self._client.delete_version(name=owner).result(timeout=_DELETION_SECONDS)
            except exceptions.NotFound:
                return
            except exceptions.Forbidden as error:
                raise NotPermitted(
                    f"{what} is not permitted to this stage: set eviction in terraform/inner."
                ) from error
            except futures.TimeoutError as error:
                raise Transient(
                    f"{what} was not finished by Artifact Registry within {_DELETION_SECONDS} s."
                ) from error

    def upload_python(self, repository: str, file: LockedPython, path: Path) -> None:
        base = self._settings.registry_endpoint or f"https://{self._settings.location}-python.pkg.dev"
        form = {
            ":action": "file_upload",
            "protocol_version": "1",
            "metadata_version": "2.1",
            "name": file.name,
            "version": file.version,
            "filetype": "bdist_wheel" if file.is_wheel else "sdist",
            "pyversion": "py3" if file.is_wheel else "source",
            "sha256_digest": file.sha256.removeprefix("sha256:"),
        }
        url, what = f"{base}/{self._settings.holder(repository)}/{repository}/", f"Uploading {file.filename}"

        def upload() -> httpx.Response:
            with path.open("rb") as content:
                part = (file.filename, content, "application/octet-stream")
                return self._post(url, what, data=form, files={"content": part})

        answer = patience.persist(upload, _ATTEMPTS)
        if _is_there(answer):
            return self._same(repository, (file.name, file.version), file.filename, file.sha256)
        return _accepted(answer, what)

    def upload_apt(self, repository: str, file: LockedArchive, path: Path) -> None:
        url = f"{self._api}/upload/v1/{self._name(repository)}/aptArtifacts:create?uploadType=multipart"
        what = f"Uploading {file.filename}"
        kind = "application/vnd.debian.binary-package"
        taken = self._multipart(url, {}, kind, path, what, file.sha256)
        # What is there already is ignored by the service, which then names no artifact.
        if not (taken or {}).get("aptArtifacts"):
            self._same_archive(repository, file)

    def upload_generic(self, repository: str, package: str, version: str, filename: str, path: Path) -> None:
        url = f"{self._api}/upload/v1/{self._name(repository)}/genericArtifacts:create?uploadType=multipart"
        names = {"packageId": package, "versionId": version, "filename": filename}
        what = f"Uploading {filename}"
        digest = _digest_of(path)
        if self._multipart(url, names, "application/octet-stream", path, what, digest) is None:
            self._same(repository, (package, version), f"{package}:{version}:{filename}", digest)

    def download_generic(
        self, repository: str, package: str, version: str, filename: str, to: Path, limit: int
    ) -> None:
        name = quote(f"{package}:{version}:{filename}", safe=":")
        url = f"{self._api}/v1/{self._name(repository)}/files/{name}:download?alt=media"

        def download() -> None:
            try:
                with self._http.stream("GET", url, headers=self._headers()) as answer:
                    if answer.status_code != 200:
                        answer.read()
                        self._forget(answer)
                        _accepted(answer, f"Downloading {filename}")
                    with to.open("wb") as file:
                        for chunk in answer.iter_bytes(_CHUNK):
                            if file.tell() + len(chunk) > limit:
                                raise too_large(repository, filename, limit)
                            file.write(chunk)
            except httpx.HTTPError as error:
                raise Transient(f"Downloading {filename} broke off: {error}.") from error

        patience.persist(download, _ATTEMPTS)

    def _multipart(
        self, url: str, names: dict[str, str], kind: str, path: Path, what: str, digest: str
    ) -> dict[str, Any] | None:
        """Upload and wait for the end of the operation: its response; None if the service holds such a file already."""
        key = imports.place(url, names, digest)

        def imported() -> dict[str, Any] | DmzError | None:
            begun = self._going_on(key, what)
            if begun is None:
                started = self._begin(url, names, kind, path, what)
                if started is None:
                    return None
                begun = imports.Begun(started, time.time())
            return self._imports.brought(key, begun, lambda name: self._operation(name, what), what)

        outcome = patience.persist(imported, _ATTEMPTS)
        if isinstance(outcome, DmzError):
            raise outcome
        return outcome

    def _going_on(self, key: str, what: str) -> imports.Begun | None:
        """The import of the same bytes that an earlier delivery has begun, if the service still knows of it."""
        begun = self._imports.going_on(key)
        try:
            if begun:
                self._operation(begun.name, what)
        except Permanent:
            self._imports.forget(key)
            return None
        except Transient:
            pass  # it is looked at again soon enough
        return begun

    def _operation(self, name: str, what: str) -> dict[str, Any]:
        return operation(document(self._get(f"{self._api}/v1/{name}", what)), what)

    def _begin(self, url: str, names: dict[str, str], kind: str, path: Path, what: str) -> str | None:
        """The name of the operation that imports what was uploaded; None if such a file is there already."""
        head = (
            f"--{_BOUNDARY}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{json.dumps(names)}\r\n"
            f"--{_BOUNDARY}\r\nContent-Type: {kind}\r\n\r\n"
        ).encode()
        end = f"\r\n--{_BOUNDARY}--\r\n".encode()
        headers = {
            "Content-Type": f"multipart/related; boundary={_BOUNDARY}",
            "Content-Length": str(len(head) + path.stat().st_size + len(end)),
        }
        answer = self._post(url, what, content=_body(head, path, end), headers=headers)
        if answer.status_code == 409:
            return None
        _accepted(answer, what)
        said = document(answer)
        begun = operation(said.get("operation") if isinstance(said, dict) else None, what)
        return str(begun.get("name", ""))

    def _same_archive(self, repository: str, file: LockedArchive) -> None:
        """Permanent if the repository has other bytes of this very package, version and architecture."""
        listed = self.find(repository, [(file.name, file.version)])
        if not any(one.sha256 == file.sha256 for one in listed):
            listed = self.stored(repository)
        if any(one.sha256 == file.sha256 for one in listed):
            return
        for one in listed:
            name, _, version = (
                unquote(part) for part in one.owner.rpartition("/packages/")[2].partition("/versions/")
            )
            architecture = one.name.removesuffix(".deb").split("_")[2:3]
            if (name, version, architecture) == (file.name, file.version, [file.architecture]):
                raise _other_bytes(repository, file.filename, one.sha256, file.sha256)

    def _same(self, repository: str, version: tuple[str, str], filename: str, sha256: str) -> None:
        """Permanent if the repository has other bytes under this name."""
        held = [one for one in self.find(repository, [version]) if one.name == filename]
        held = held or [one for one in self.stored(repository) if one.name == filename]
        if any(one.sha256 != sha256 for one in held):
            raise _other_bytes(repository, filename, held[0].sha256, sha256)

    def _headers(self) -> dict[str, str]:
        with translated("Artifact Registry"), self._guard:
            if not self._credentials.valid:
                self._credentials.refresh(Request())
            return {"Authorization": f"Bearer {self._credentials.token}"}

    def _forget(self, refused: httpx.Response) -> None:
        """The token, if that was what is wrong: clocks differ, say, and another one may be taken."""
        shown = refused.request.headers.get("authorization")
        with self._guard:
            if refused.status_code == 401 and shown == f"Bearer {self._credentials.token}":
                self._credentials.token = None

    def _post(
        self, url: str, what: str, *, headers: dict[str, str] | None = None, **content: Any
    ) -> httpx.Response:
        """The answer, unless it is one that may pass: that is Transient."""
        answer = self._asked(
            lambda: self._http.post(url, headers=self._headers() | (headers or {}), **content), what
        )
        if _passes(answer):
            _accepted(answer, what)
        return answer

    def _get(self, url: str, what: str) -> httpx.Response:
        def get() -> httpx.Response:
            answer = self._asked(lambda: self._http.get(url, headers=self._headers()), what)
            _accepted(answer, what)
            return answer

        return patience.persist(get, _ATTEMPTS)

    def _asked(self, ask: Callable[[], httpx.Response], what: str) -> httpx.Response:
        try:
            answer = ask()
        except httpx.HTTPError as error:
            raise Transient(f"{what} broke off: {error or type(error).__name__}.") from error
        self._forget(answer)
        return answer


def _accepted(answer: httpx.Response, what: str) -> None:
    if answer.is_success:
        return
    words = printable(" ".join(answer.text.split()), 300)
    if _passes(answer):
        passing = f"{what} did not succeed for now ({answer.status_code}): {words}."
        raise patience.passing(passing, answer.headers.get("retry-after"))
    raise Permanent(f"{what} was refused ({answer.status_code}): {words}.")


def _is_there(answer: httpx.Response) -> bool:
    """An upload is refused because there is such a file already.

    In the forms that twine takes for that (`--skip-existing`). Artifact Registry says 400, in words that nobody
    promises.
    """
    said = f"{answer.reason_phrase} {answer.text}".lower()
    return answer.status_code == 409 or (answer.status_code == 400 and "already exist" in said)


def _passes(answer: httpx.Response) -> bool:
    return answer.status_code in (401, 408, 429) or answer.status_code >= 500


def _other_bytes(repository: str, filename: str, there: str, judged: str) -> Permanent:
    return Permanent(
        f"{repository} already holds {filename} with {there}, not the judged {judged}: somebody put other bytes under "
        "this name; delete that version and run again."
    )


def _body(head: bytes, path: Path, end: bytes) -> Iterator[bytes]:
    yield head
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk
    yield end


def _escaped(part: str) -> str:
    """A package or version as it stands in a resource's name: what would divide it is escaped there."""
    return part.replace("/", "%2F").replace("+", "%2B").replace("^", "%5E")


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def _stored(repository: str, file: Any) -> Stored:
    name = unquote(file.name.rsplit("/files/", 1)[-1]).rsplit("/", 1)[-1]
    digest = next((h.value for h in file.hashes if h.type_ == artifactregistry_v1.Hash.HashType.SHA256), b"")
    if isinstance(digest, str):
        digest = base64.b64decode(digest)
    return Stored(repository, name, f"sha256:{digest.hex()}", int(file.size_bytes), file.owner)
