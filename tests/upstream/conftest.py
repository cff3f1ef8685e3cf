"""Fixtures: the loopback server, and signing keys made for the session in a GnuPG home of their own."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.upstream.support import Web


@pytest.fixture
def web() -> Iterator[Web]:
    server = Web()
    yield server
    server.close()


@dataclass(frozen=True)
class Signer:
    """An OpenPGP key of a test, and its public half as a keyring file."""

    home: Path
    fingerprint: str
    keyring: Path

    def clear(self, text: bytes, *options: str) -> bytes:
        return self._gpg(text, *options, "--clearsign")

    def detached(self, text: bytes) -> bytes:
        return self._gpg(text, "--detach-sign")

    def _gpg(self, text: bytes, *options: str) -> bytes:
        command = ["gpg", "--homedir", self.home, "--batch", "--quiet", "--pinentry-mode", "loopback"]
        return subprocess.run(
            [*command, "--passphrase", "", "--local-user", self.fingerprint, *options],
            input=text,
            capture_output=True,
            check=True,
        ).stdout


def make_signer(home: Path, *, algorithm: str = "ed25519", expires: str = "never", time: str = "") -> Signer:
    home.mkdir(mode=0o700)
    gpg = ["gpg", "--homedir", home, "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""]
    faked = ["--faked-system-time", time] if time else []
    subprocess.run(
        [*gpg, *faked, "--quick-gen-key", "Tester <tester@example.org>", algorithm, "sign", expires],
        check=True,
        capture_output=True,
    )
    listed = subprocess.run(
        [*gpg, "--with-colons", "--list-keys"], check=True, capture_output=True, text=True
    ).stdout
    fingerprint = next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr:"))
    keyring = home.parent / f"{home.name}.gpg"
    keyring.write_bytes(
        subprocess.run([*gpg, "--export", fingerprint], check=True, capture_output=True).stdout
    )
    return Signer(home, fingerprint, keyring)


def stop_agent(signer: Signer) -> None:
    subprocess.run(["gpgconf", "--homedir", signer.home, "--kill", "gpg-agent"], check=True)


@pytest.fixture(scope="session")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Signer]:
    made = make_signer(tmp_path_factory.mktemp("keys") / "archive")
    yield made
    stop_agent(made)


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Signer]:
    """A key that no keyring of the project holds."""
    made = make_signer(tmp_path_factory.mktemp("keys") / "stranger")
    yield made
    stop_agent(made)
