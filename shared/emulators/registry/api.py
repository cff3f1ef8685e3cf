"""The REST API of artifactregistry.googleapis.com, version 1: what lists, gets, deletes, uploads and downloads.

https://cloud.google.com/artifact-registry/docs/reference/rest. Served as the client library (`transport="rest"`) and
gcloud speak it. Repositories come from the configuration and cannot be made or deleted here.
"""

import base64
import json
import re
from collections.abc import Callable
from typing import Any

from shared.emulators.registry import apt, generic
from shared.emulators.registry.access import Access
from shared.emulators.registry.blobs import Staged
from shared.emulators.registry.config import Config, Format
from shared.emulators.registry.docker import blobs_of
from shared.emulators.registry.http import Reply, Request
from shared.emulators.registry.listing import page
from shared.emulators.registry.names import Names, escape, timestamp, unescape
from shared.emulators.registry.operations import Operations, injected
from shared.emulators.registry.problems import Problem, not_found
from shared.emulators.registry.store import Group, Store, StoredFile
from shared.emulators.registry.uploads import Uploads

# gcloud asks for the places of a project by the older version's path.
_LOCATIONS = r"/v1(?:beta2)?/projects/(?P<project>[^/]+)/locations"
_PARENT = r"/v1/projects/(?P<project>[^/]+)/locations/(?P<location>[^/]+)"
_REPOSITORY = _PARENT + r"/repositories/(?P<repository>[^/:]+)"
_PACKAGE = _REPOSITORY + r"/packages/(?P<package>[^/]+)"
_HOST_URI = {Format.PYTHON: "python", Format.APT: "apt", Format.GENERIC: "generic", Format.DOCKER: "docker"}
_OWNER = re.compile(r'owner="[^"*]*/packages/([^"*/]+)/versions/([^"*/]+)"')
_BATCH_LIMIT = 10_000
_BODY_LIMIT = 8 << 20
Parts = dict[str, str]


class Api:
    """Serves the paths of artifactregistry.googleapis.com."""

    def __init__(self, config: Config, store: Store, access: Access, created: float) -> None:
        self._config = config
        self._store = store
        self._access = access
        self._created = created
        self._names = Names(config.project, config.location)
        self._operations = Operations(store, self._names)
        self._uploads = Uploads(store)
        read, download = "artifactregistry.{}.get", "artifactregistry.repositories.downloadArtifacts"
        routes: list[tuple[str, str, str, Callable[[Request, str, Parts], Reply]]] = [
            ("GET", _LOCATIONS, "", self._list_locations),
            ("GET", _PARENT + r"/operations/(?P<operation>[^/]+)", "", self._get_operation),
            (
                "GET",
                _PARENT + r"/repositories",
                "artifactregistry.repositories.list",
                self._list_repositories,
            ),
            ("GET", _REPOSITORY, read.format("repositories"), self._get_repository),
            ("GET", _REPOSITORY + r"/packages", "artifactregistry.packages.list", self._list_packages),
            ("GET", _PACKAGE, read.format("packages"), self._get_package),
            ("DELETE", _PACKAGE, "artifactregistry.packages.delete", self._delete_package),
            ("GET", _PACKAGE + r"/versions", "artifactregistry.versions.list", self._list_versions),
            (
                "POST",
                _PACKAGE + r"/versions:batchDelete",
                "artifactregistry.versions.delete",
                self._delete_versions,
            ),
            ("GET", _PACKAGE + r"/versions/(?P<version>[^/]+)", read.format("versions"), self._get_version),
            (
                "DELETE",
                _PACKAGE + r"/versions/(?P<version>[^/]+)",
                "artifactregistry.versions.delete",
                self._delete_version,
            ),
            ("GET", _REPOSITORY + r"/files", "artifactregistry.files.list", self._list_files),
            (
                "GET",
                r"(?:/download)?" + _REPOSITORY + r"/files/(?P<file>.+):download",
                download,
                self._download,
            ),
            ("GET", _REPOSITORY + r"/files/(?P<file>.+)", read.format("files"), self._get_file),
            (
                "GET",
                _REPOSITORY + r"/dockerImages",
                "artifactregistry.dockerimages.list",
                self._list_docker_images,
            ),
            (
                "GET",
                _REPOSITORY + r"/dockerImages/(?P<image>[^/]+)",
                "artifactregistry.dockerimages.get",
                self._get_docker_image,
            ),
            (
                "DELETE",
                _REPOSITORY + r"/files/(?P<file>.+)",
                "artifactregistry.files.delete",
                self._delete_file,
            ),
            (
                "POST PUT DELETE",
                r"(?:/resumable)?/upload" + _REPOSITORY + r"/aptArtifacts:create",
                "artifactregistry.aptartifacts.create",
                self._upload_apt,
            ),
            (
                "POST PUT DELETE",
                r"(?:/resumable)?/upload" + _REPOSITORY + r"/genericArtifacts:create",
                "artifactregistry.repositories.uploadArtifacts",
                self._upload_generic,
            ),
        ]
        self._routes = [
            (methods.split(), re.compile(path), permission, serve)
            for methods, path, permission, serve in routes
        ]

    def serve(self, request: Request) -> Reply:
        """Answer one request; Problem if it cannot be."""
        email = self._access.caller(
            request.headers.get("authorization"), 'Bearer realm="https://accounts.google.com/"'
        )
        for methods, pattern, permission, serve in self._routes:
            match = pattern.fullmatch(request.path)
            if match and request.method.replace("HEAD", "GET") in methods:
                parts = {key: unescape(value) for key, value in match.groupdict().items()}
                self._check(email, permission, parts)
                return serve(request, email, parts)
        raise not_found("The requested URL was not found on this server.")

    def _check(self, email: str, permission: str, parts: Parts) -> None:
        """(1) the project and place are ours; (2) the caller holds the permission; (3) the repository exists."""
        location = parts.get("location", self._config.location)
        if (parts["project"], location) != (self._config.project, self._config.location):  # 1
            place = f"projects/{parts['project']}/locations/{location}"
            raise Problem(
                403, f"Permission '{permission}' denied on resource '{place}' (or it may not exist)."
            )
        if "repository" in parts:
            self._access.require(email, parts["repository"], permission)  # 2
            if parts["repository"] not in self._config.repositories:  # 3
                raise not_found()

    def _list_locations(self, _request: Request, _email: str, _parts: Parts) -> Reply:
        return _json({"locations": [{"name": self._names.parent(), "locationId": self._config.location}]})

    def _get_operation(self, _request: Request, _email: str, parts: Parts) -> Reply:
        return _json(self._operations.get(parts["operation"]))

    def _list_repositories(self, request: Request, email: str, _parts: Parts) -> Reply:
        visible = [
            self._repository(name)
            for name in sorted(self._config.repositories)
            if self._access.allowed(email, name, "artifactregistry.repositories.list")
        ]
        if not visible:
            self._access.require(email, "*", "artifactregistry.repositories.list")
        return _json(page(visible, request.query, "repositories", {"name"}))

    def _get_repository(self, _request: Request, _email: str, parts: Parts) -> Reply:
        return _json(self._repository(parts["repository"]))

    def _list_packages(self, request: Request, _email: str, parts: Parts) -> Reply:
        groups = self._store.packages(parts["repository"])
        items = [_group(group, self._names.package(parts["repository"], group.name)) for group in groups]
        return _json(page(_by_name(items), request.query, "packages", {"name"}))

    def _get_package(self, _request: Request, _email: str, parts: Parts) -> Reply:
        for group in self._store.packages(parts["repository"], parts["package"]):
            return _json(_group(group, self._names.package(parts["repository"], group.name)))
        raise not_found()

    def _delete_package(self, request: Request, _email: str, parts: Parts) -> Reply:
        files = self._store.files(parts["repository"], parts["package"])
        return self._delete(request, parts["repository"], files, "OperationMetadata")

    def _list_versions(self, request: Request, _email: str, parts: Parts) -> Reply:
        repository, package = parts["repository"], parts["package"]
        groups = self._store.versions(repository, package)
        items = [_group(group, self._names.version(repository, package, group.name)) for group in groups]
        return _json(page(_by_name(items), request.query, "versions", {"name"}))

    def _get_version(self, _request: Request, _email: str, parts: Parts) -> Reply:
        repository, package = parts["repository"], parts["package"]
        for group in self._store.versions(repository, package, parts["version"]):
            return _json(_group(group, self._names.version(repository, package, group.name)))
        raise not_found()

    def _delete_version(self, request: Request, _email: str, parts: Parts) -> Reply:
        files = self._store.files(parts["repository"], parts["package"], parts["version"])
        return self._delete(request, parts["repository"], files, "OperationMetadata")

    def _delete_versions(self, request: Request, _email: str, parts: Parts) -> Reply:
        try:
            names = json.loads(request.body.read_all(_BODY_LIMIT) or b"{}")["names"]
            wanted = [unescape(name.rpartition("/versions/")[2]) for name in names]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Problem(400, "Expected a JSON object with names, a list of version names.") from error
        if not 0 < len(wanted) <= _BATCH_LIMIT:
            raise Problem(
                400, f"Between 1 and {_BATCH_LIMIT} versions can be deleted at once, not {len(wanted)}."
            )
        held = self._store.files(parts["repository"], parts["package"])
        if missing := set(wanted) - {file.version for file in held}:
            raise not_found(f"Versions not found: {', '.join(sorted(missing))}.")
        files = [file for file in held if file.version in wanted]
        return self._delete(request, parts["repository"], files, "BatchDeleteVersionsMetadata")

    def _list_files(self, request: Request, _email: str, parts: Parts) -> Reply:
        owner = _OWNER.fullmatch(request.query.get("filter", ""))
        if owner and not request.unlisted:  # as the filter below would choose, without looking at all others
            some = self._store.files(parts["repository"], unescape(owner[1]), unescape(owner[2]))
            items = [self._file(parts["repository"], file) for file in some]
            return _json(page(_by_name(items), request.query, "files", {"name", "owner"}))
        held = sorted(self._store.files(parts["repository"]), key=lambda file: file.created)
        items = [self._file(parts["repository"], file) for file in held[: len(held) - request.unlisted]]
        return _json(page(_by_name(items), request.query, "files", {"name", "owner"}))

    def _get_file(self, _request: Request, _email: str, parts: Parts) -> Reply:
        return _json(self._file(parts["repository"], self._one_file(parts)))

    def _list_docker_images(self, request: Request, _email: str, parts: Parts) -> Reply:
        """https://cloud.google.com/artifact-registry/docs/reference/rest/v1/projects.locations.repositories.dockerImages"""
        repository = self._of_format(parts, Format.DOCKER)
        items = [self._docker_image(repository, file) for file in self._store.files(repository)]
        return _json(page(_by_name(items), request.query, "dockerImages", {"name"}))

    def _get_docker_image(self, _request: Request, _email: str, parts: Parts) -> Reply:
        repository = self._of_format(parts, Format.DOCKER)
        file = self._store.file(repository, parts["image"])
        if file is None:
            raise not_found()
        return _json(self._docker_image(repository, file))

    def _docker_image(self, repository: str, file: StoredFile) -> dict[str, Any]:
        parent = self._names.repository(repository)
        host = f"{self._config.location}-docker.pkg.dev"
        return {
            "name": f"{parent}/dockerImages/{escape(file.package)}@{file.version}",
            "uri": f"{host}/{self._config.project}/{repository}/{file.package}@{file.version}",
            "tags": sorted(self._store.tags(repository, file.package, file.version)),
            "imageSizeBytes": str(file.meta["image_size"]),
            "mediaType": file.meta["media_type"],
            "uploadTime": timestamp(file.created),
            "updateTime": timestamp(file.created),
        }

    def _delete_file(self, request: Request, _email: str, parts: Parts) -> Reply:
        file = self._one_file(parts)
        if self._config.repositories[parts["repository"]] is not Format.GENERIC:
            raise Problem(
                400,
                "Files can only be deleted from generic repositories; delete the version.",
                "FAILED_PRECONDITION",
            )
        return self._delete(request, parts["repository"], [file], "OperationMetadata")

    def _download(self, request: Request, _email: str, parts: Parts) -> Reply:
        file = self._one_file(parts)
        if request.query.get("alt") != "media":
            return _json({})
        return Reply(
            content_type="application/octet-stream",
            path=self._store.blobs.path(file.sha256),
            headers={"ETag": f'"{file.sha256}"'},
        )

    def _upload_apt(self, request: Request, _email: str, parts: Parts) -> Reply:
        repository = self._of_format(parts, Format.APT)
        parent = self._names.repository(repository)

        def commit(_metadata: dict[str, Any], staged: Staged) -> Reply:
            metadata = "UploadAptArtifactMetadata"
            try:
                injected(request)
                added = apt.store_artifact(self._store, repository, parent, staged)
            except Problem as problem:
                failed = self._operations.failed(metadata, problem, request.operation_polls)
                return _json({"operation": failed})
            answer = {"aptArtifacts": added} if added else {}
            kind = "UploadAptArtifactResponse"
            done = self._operations.succeeded(metadata, answer, kind, request.operation_polls)
            return _json({"operation": done})

        return self._uploads.receive(request, f"{repository}/aptArtifacts", commit)

    def _upload_generic(self, request: Request, _email: str, parts: Parts) -> Reply:
        repository = self._of_format(parts, Format.GENERIC)
        parent = self._names.repository(repository)

        def commit(requested: dict[str, Any], staged: Staged) -> Reply:
            metadata = "UploadGenericArtifactMetadata"
            new = generic.requested(requested)
            try:
                injected(request)
                artifact = generic.store_artifact(self._store, repository, new, staged)
            except Problem as problem:
                failed = self._operations.failed(metadata, problem, request.operation_polls)
                return _json({"operation": failed})
            artifact["name"] = f"{parent}/genericArtifacts/{artifact['name']}"
            done = self._operations.succeeded(metadata, artifact, "GenericArtifact", request.operation_polls)
            return _json({"operation": done})

        return self._uploads.receive(request, f"{repository}/genericArtifacts", commit)

    def _of_format(self, parts: Parts, wanted: Format) -> str:
        actual = self._config.repositories[parts["repository"]]
        if actual is not wanted:
            raise Problem(
                400,
                f"The repository {parts['repository']} has the format {actual}, not {wanted}.",
                "FAILED_PRECONDITION",
            )
        return parts["repository"]

    def _one_file(self, parts: Parts) -> StoredFile:
        file = self._store.file(parts["repository"], parts["file"])
        if file is None:
            raise not_found()
        return file

    def _delete(self, request: Request, repository: str, files: list[StoredFile], metadata: str) -> Reply:
        if not files:
            raise not_found()
        try:
            injected(request)
        except Problem as problem:
            return _json(self._operations.failed(metadata, problem, request.operation_polls))
        self._store.remove(repository, files)
        return _json(self._operations.succeeded(metadata, polls=request.operation_polls))

    def _repository(self, name: str) -> dict[str, Any]:
        kind = self._config.repositories[name]
        return {
            "name": self._names.repository(name),
            "format": str(kind),
            "mode": "STANDARD_REPOSITORY",
            "createTime": timestamp(self._created),
            "updateTime": timestamp(self._created),
            "sizeBytes": str(self._store.size(name) + self._store.size(blobs_of(name))),
            "registryUri": f"{self._config.location}-{_HOST_URI[kind]}.pkg.dev/{self._config.project}/{name}",
        }

    def _file(self, repository: str, file: StoredFile) -> dict[str, Any]:
        return {
            "name": self._names.file(repository, file.key),
            "sizeBytes": str(file.size),
            "hashes": [_hash("SHA256", file.sha256), _hash("MD5", file.md5)],
            "createTime": timestamp(file.created),
            "updateTime": timestamp(file.created),
            "owner": self._names.version(repository, file.package, file.version),
        }


def _hash(kind: str, digest: str) -> dict[str, str]:
    return {"type": kind, "value": base64.b64encode(bytes.fromhex(digest)).decode()}


def _group(group: Group, name: str) -> dict[str, Any]:
    return {"name": name, "createTime": timestamp(group.created), "updateTime": timestamp(group.updated)}


def _by_name(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    # Escaping changes the order of the keys, and a page token is a name.
    return sorted(items, key=lambda item: str(item["name"]))


def _json(content: dict[str, Any]) -> Reply:
    return Reply(content=json.dumps(content).encode())
