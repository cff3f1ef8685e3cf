"""Points apt, pip and uv of an inner VM at the private repositories, and at nothing else.

Credentials are the VM's own access tokens, in files that only root reads: netrc for pip and uv
(https://cloud.google.com/artifact-registry/docs/python/authentication), auth.conf for apt (apt_auth.conf(5)), both
under the name oauth2accesstoken. For apt Google documents only its own transport, ar+https, which a bare VM cannot
install from the repository that needs it; plain https with basic authentication is in use, untried on Google Cloud.
"""

from __future__ import annotations

import threading
from pathlib import Path

from shared.guest import web
from shared.guest.config import Config
from shared.guest.failure import GuestError
from shared.guest.metadata import Metadata

NETRC = Path("/root/.netrc")
_USER = "oauth2accesstoken"
_REFRESH_SECONDS = 120


class Access:
    """The private repositories as this VM reaches them."""

    def __init__(
        self, config: Config, metadata: Metadata, etc: Path = Path("/etc"), netrc: Path = NETRC
    ) -> None:
        if config.repositories is None:
            raise GuestError("dmz-config of an inner VM must name its repositories.")
        self._config, self._repositories, self._metadata = config, config.repositories, metadata
        self._etc, self._netrc = etc, netrc
        self._writing, self._over = threading.Lock(), threading.Event()
        self.python_host = f"{config.location}-python.pkg.dev"
        self.apt_host = f"{config.location}-apt.pkg.dev"

    @property
    def index_url(self) -> str:
        """Of the Python repository (PEP 503), without credentials: those never stand on a command line."""
        return f"https://{self.python_host}/{self._config.project}/{self._repositories.python}/simple/"

    def write_credentials(self) -> None:
        entry = f"login {_USER} password {self._metadata.token()}\n"
        python, apt = self._files()
        with self._writing:
            if not self._over.is_set():
                _secret(python, f"machine {self.python_host} {entry}")
                _secret(apt, f"machine https://{self.apt_host}/ {entry}")

    def __enter__(self) -> Access:
        """Write the credentials now and whenever the metadata server has a new token: an install may be long."""
        self.write_credentials()
        threading.Thread(target=self._refresh, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing that runs later needs them."""
        with self._writing:
            self._over.set()
            for path in self._files():
                path.unlink(missing_ok=True)

    def _refresh(self) -> None:
        while not self._over.wait(_REFRESH_SECONDS):
            try:
                self.write_credentials()
            except (GuestError, OSError):
                continue  # the old token may still do; the command that needs it says so if not

    def _files(self) -> tuple[Path, Path]:
        return self._netrc, self._etc / "apt/auth.conf.d/dmz.conf"

    def replace_sources(self) -> None:
        """One source for apt. What the image came with is put aside: it leads out."""
        aside = self._etc / "dmz/apt-sources-of-the-image"
        aside.mkdir(parents=True, exist_ok=True)
        folder = self._etc / "apt/sources.list.d"
        for path in (self._etc / "apt/sources.list", *folder.glob("*.list"), *folder.glob("*.sources")):
            if path.exists():
                path.replace(aside / path.name)
        key = web.request(f"https://{self.apt_host}/doc/repo-signing-key.gpg", patience=120)
        # apt tells an armored key from a binary one by the suffix (sources.list(5), Signed-By).
        suffix = "asc" if key.lstrip().startswith(b"-----BEGIN PGP") else "gpg"
        keyring = self._etc / f"apt/keyrings/dmz.{suffix}"
        keyring.parent.mkdir(parents=True, exist_ok=True)
        keyring.write_bytes(key)
        source = (
            f"Types: deb\nURIs: https://{self.apt_host}/projects/{self._config.project}\n"
            f"Suites: {self._repositories.apt}\nComponents: main\nSigned-By: {keyring}\n"
        )
        (folder / "dmz.sources").write_text(source, encoding="utf-8")


def _secret(path: Path, content: str) -> None:
    """Write a file that only its owner reads, in one step: a command may be reading it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.touch(mode=0o600)
    new.write_text(content, encoding="utf-8")
    new.replace(path)
