"""Leads each request to the service that its Host header names.

`REGION-python.pkg.dev`, `REGION-apt.pkg.dev`, `REGION-docker.pkg.dev` and `artifactregistry.googleapis.com` serve their
own paths alone. On the bare loopback address all are there: their paths do not collide.
"""

import re
from ipaddress import ip_address

from shared.emulators.registry import apt, docker, faults
from shared.emulators.registry.access import Access
from shared.emulators.registry.api import Api
from shared.emulators.registry.config import Config, Format
from shared.emulators.registry.http import Reply, Request
from shared.emulators.registry.openpgp import SigningKey
from shared.emulators.registry.problems import Problem, not_found
from shared.emulators.registry.python import PythonFiles
from shared.emulators.registry.store import Store

API_HOST = "artifactregistry.googleapis.com"
_API_PATH = re.compile(r"/(v1|v1beta2|upload/v1|resumable/upload/v1|download/v1)/")
_APT_PATH = re.compile(r"/projects/([^/]+)/+(.+)")
_PYTHON_PATH = re.compile(r"/([^/]+)/([^/]+)/?(.*)")
_READ = "artifactregistry.repositories.downloadArtifacts"
_WRITE = "artifactregistry.repositories.uploadArtifacts"
_UPLOADS = ("POST",)
_READS = ("GET", "HEAD")
_CHALLENGE = 'Basic realm="Artifact Registry"'


class App:
    """Everything that one emulator process serves."""

    def __init__(self, config: Config) -> None:
        self.store = Store(config.state_dir, config.quota_bytes)
        key = SigningKey.load(
            config.state_dir / "signing-key.json", "Artifact Registry Repository Signer (local platform)"
        )
        access = Access(config)
        self._config = config
        self._access = access
        self._faults = faults.Faults(self.store.blobs)
        self._api = Api(config, self.store, access, (config.state_dir / "lock").stat().st_mtime)
        self._apt = apt.AptFiles(self.store, key)
        self._python = PythonFiles(self.store, config.project)
        self._docker = docker.DockerImages(config, self.store, access)
        self._docker_host = f"{config.location}-docker.pkg.dev"
        self._python_host = f"{config.location}-python.pkg.dev"
        self._apt_host = f"{config.location}-apt.pkg.dev"

    def __call__(self, request: Request) -> Reply:
        """Answer one request; Problem if it cannot be."""
        if not self._config.faults:
            return self._serve(request)
        if request.path == faults.PATH and _is_bare(request.host):
            return self._faults.control(request)
        action = self._faults.take(request)
        if action is None:
            return self._serve(request)
        return faults.after(action, self._serve(faults.before(action, request)))

    def _serve(self, request: Request) -> Reply:
        host, bare = request.host, _is_bare(request.host)
        if host == API_HOST or (bare and _API_PATH.match(request.path)):
            return self._api.serve(request)
        if host == self._docker_host or (bare and f"{request.path}/".startswith(docker.PREFIX)):
            return self._docker.serve(request)
        if host == self._apt_host or (bare and request.path.startswith(("/projects/", "/doc/"))):
            return self._serve_apt(request)
        if host == self._python_host or bare:
            return self._serve_python(request)
        raise Problem(404, f"The registry has no host {host[:100]!r}.")

    def _serve_apt(self, request: Request) -> Reply:
        if request.method not in _READS:
            raise Problem(405, "Apt repositories are read here; upload through the API.")
        if request.path == apt.KEY_PATH:
            return self._apt.signing_key()
        match = _APT_PATH.fullmatch(request.path)
        if not match:
            raise not_found()
        email = self._access.caller(request.headers.get("authorization"), _CHALLENGE)
        repository = self._apt.repository(match[2])
        self._check(email, match[1], repository, Format.APT, _READ)
        return self._apt.serve(match[2])

    def _serve_python(self, request: Request) -> Reply:
        match = _PYTHON_PATH.fullmatch(request.path)
        if not match:
            raise not_found()
        project, repository, path = match.groups()
        try:
            email = self._access.caller(request.headers.get("authorization"), _CHALLENGE)
            if request.method in _UPLOADS and not path:
                self._check(email, project, repository, Format.PYTHON, _WRITE)
                return self._python.upload(request, repository)
            self._check(email, project, repository, Format.PYTHON, _READ)
            return self._python.serve(request.method, repository, path)
        except Problem as problem:
            problem.plain = True  # pip and twine show the body to their user
            raise

    def _check(self, email: str, project: str, repository: str, kind: Format, permission: str) -> None:
        """(1) the project is ours; (2) the caller holds the permission; (3) such a repository exists."""
        if project != self._config.project:  # 1
            raise Problem(
                403, f"Permission '{permission}' denied on project '{project}' (or it may not exist)."
            )
        self._access.require(email, repository, permission)  # 2
        if self._config.repositories.get(repository) is not kind:  # 3
            raise not_found()


def _is_bare(host: str) -> bool:
    """Whether the client named this server by its loopback address."""
    try:
        return host == "localhost" or ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
