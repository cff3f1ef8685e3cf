"""Where a container's programs look for roots; and that nothing of the host's is read through an image's links."""

from __future__ import annotations

import datetime
import ssl
import subprocess
from pathlib import Path

import pytest

from shared.emulators.ca import CertificateAuthority
from shared.emulators.confidential_space import container
from shared.emulators.vm import trust, within

CERTIFI = "app/site-packages/certifi/cacert.pem"
GRPC = "usr/lib/python3/grpc/_cython/_credentials/roots.pem"
JAVA = "usr/lib/jvm/java-17/lib/security/cacerts"


@pytest.fixture(scope="module")
def authority() -> CertificateAuthority:
    return CertificateAuthority.create(datetime.datetime.now(datetime.UTC))


def place(root: Path, name: str, content: str = "", link: str = "") -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if link:
        path.symlink_to(link)
    else:
        path.write_text(content)
    return path


def test_every_store_that_an_image_has_gains_the_authority(
    tmp_path: Path, authority: CertificateAuthority
) -> None:
    root, other = tmp_path / "root", CertificateAuthority.create(datetime.datetime.now(datetime.UTC)).pem
    for name in (trust.BUNDLE[1:], CERTIFI, GRPC):
        place(root, name, other)
    place(root, JAVA, link="/etc/ssl/certs/java/cacerts")
    found = trust.stores(root, tmp_path / "none", authority.pem)
    for name in (trust.BUNDLE, f"/{CERTIFI}", f"/{GRPC}"):
        assert found[name].decode() == other + authority.pem
    assert "/etc/ssl/certs/java/cacerts" in found
    assert ssl.PEM_cert_to_DER_cert(authority.pem) in found["/etc/ssl/certs/java/cacerts"]
    hashed = subprocess.run(
        ["openssl", "x509", "-hash", "-noout"],
        input=authority.pem,
        capture_output=True,
        text=True,
        check=True,
    )
    assert found[f"/etc/ssl/certs/{hashed.stdout.strip()}.0"].decode() == authority.pem


def test_an_image_without_stores_gets_the_system_bundle_alone(
    tmp_path: Path, authority: CertificateAuthority
) -> None:
    found = trust.stores(tmp_path, tmp_path / "none", authority.pem)
    assert found[trust.BUNDLE].decode() == authority.pem
    assert len(found) == 2
    assert not trust.has_bundle(tmp_path)


def test_links_in_an_image_bring_nothing_of_the_host_into_it(
    tmp_path: Path, authority: CertificateAuthority
) -> None:
    secret = place(tmp_path / "host", "secret", "the host's own")
    pem = CertificateAuthority.create(datetime.datetime.now(datetime.UTC)).pem
    place(tmp_path / "host", "certs/ca-certificates.crt", pem)
    place(tmp_path / "host", "passwd", "root:x:7:7::/stolen:/bin/sh\n")
    root = tmp_path / "root"
    place(root, CERTIFI, link=str(secret))
    place(root, "etc/ssl/certs", link=str(tmp_path / "host" / "certs"))
    place(root, "etc/passwd", link=str(tmp_path / "host" / "passwd"))
    found = trust.stores(root, tmp_path / "none", authority.pem)
    assert all(b"own" not in content and pem.encode() not in content for content in found.values())
    assert container.user("0", root) == container.user("", root) == container.User(0, 0, (), "/")


def test_only_certificates_are_taken_over(tmp_path: Path, authority: CertificateAuthority) -> None:
    place(tmp_path, CERTIFI, f"# words\n{authority.pem}# more words\n")
    found = trust.stores(tmp_path, tmp_path / "none", authority.pem)
    assert found[f"/{CERTIFI}"].decode() == authority.pem * 2


def test_only_plain_files_are_read(tmp_path: Path) -> None:
    place(tmp_path, "a/b", "x")
    place(tmp_path, "c", link="a")
    assert within.read(tmp_path, "a/b") == b"x"
    assert within.read(tmp_path, "/a/b", 0) == b""
    assert [within.read(tmp_path, name) for name in ("c/b", "a", "a/../a/b", "none", "a/b/c")] == [None] * 5
