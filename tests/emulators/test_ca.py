"""The local CA: trusted for Google's zones, and worth nothing for any other name."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading

import pytest

from shared.emulators.ca import CertificateAuthority

NOW = datetime.datetime.now(datetime.UTC)
AUTHORITY = CertificateAuthority.create(NOW)


def handshake(names: list[str], asked: str, trusted: CertificateAuthority = AUTHORITY) -> str | None:
    """The error of a client that asks a server with a leaf for `names`; None if it is satisfied."""
    server = AUTHORITY.server_context(names, NOW)
    here, there = socket.socketpair()

    def serve() -> None:
        try:
            with server.wrap_socket(there, server_side=True) as secured:
                secured.recv(1)
        except OSError:
            pass

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        context = ssl.create_default_context(cadata=trusted.pem)
        with context.wrap_socket(here, server_hostname=asked):
            return None
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    finally:
        here.close()
        thread.join()


@pytest.mark.parametrize(
    ("names", "asked"),
    [
        (["pubsub.googleapis.com"], "pubsub.googleapis.com"),
        (["us-central1-python.pkg.dev", "pubsub.googleapis.com"], "us-central1-python.pkg.dev"),
        (["*.pkg.dev"], "europe-west4-apt.pkg.dev"),
    ],
)
def test_a_leaf_serves_its_names(names: list[str], asked: str) -> None:
    assert handshake(names, asked) is None


def test_a_leaf_serves_no_other_name() -> None:
    assert "Hostname mismatch" in (handshake(["pubsub.googleapis.com"], "storage.googleapis.com") or "")


@pytest.mark.parametrize("name", ["pypi.org", "deb.debian.org", "google.com", "notpkg.dev"])
def test_a_name_outside_googles_zones_is_not_believed(name: str) -> None:
    assert handshake([name], name) == "permitted subtree violation"


def test_another_run_s_authority_is_not_believed() -> None:
    other = CertificateAuthority.create(NOW)
    assert handshake(["pubsub.googleapis.com"], "pubsub.googleapis.com", trusted=other) is not None
