"""What a base needs beside its packages: accounts, places, certificates, and names that alternatives give."""

from __future__ import annotations

import base64
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from shared.errors import Permanent
from shared.image import certificates, debian, rootfs
from shared.image.spool import constant
from shared.image.tree import Directory, File, Link, Tree
from tests.image.inputs import debs
from tests.image.inputs.debs import content


def tree_of(*paths: str, **contents: bytes) -> Tree:
    tree = Tree()
    for path in paths:
        tree.add(path, File(constant(contents.get(path, b"")), 0o755))
    return tree


def completed(*paths: str, user: str = "0:0") -> Tree:
    tree = tree_of(*paths)
    rootfs.complete(tree, user)
    return tree


def pem(name: str) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime(2026, 1, 1, tzinfo=UTC)
    builder = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    )
    builder = builder.serial_number(7).not_valid_before(now).not_valid_after(now + timedelta(days=9000))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def test_places_accounts_and_links() -> None:
    tree = completed()
    assert [tree.get(name) for name in ("bin", "sbin", "lib", "lib64")] == [
        Link(f"usr/{name}") for name in ("bin", "sbin", "lib", "lib64")
    ]
    assert tree.get("libx32") is None
    assert tree.get("tmp") == tree.get("var/tmp") == Directory(0o1777)
    assert tree.get("root") == Directory(0o700)
    assert content(tree, "etc/passwd").splitlines()[0] == b"root:x:0:0:root:/root:/usr/sbin/nologin"
    assert content(tree, "etc/group") == b"root:x:0:\nnonroot:x:65532:\nnogroup:x:65534:\n"
    assert b"hosts: files dns" in content(tree, "etc/nsswitch.conf")


def test_the_services_own_user_has_a_name() -> None:
    tree = completed(user="1234:55")
    assert b"\nservice:x:1234:55:service:/home:" in content(tree, "etc/passwd")
    assert b"service:x:55:" in content(tree, "etc/group")
    assert content(completed(user="65532:65532"), "etc/passwd") == content(completed(), "etc/passwd")


def test_what_packages_bring_stays(tmp_path: Path) -> None:
    mine = debs.write(tmp_path, "aa", ("./etc/passwd", b"mine"), debs.directory("./tmp", 0o1700))
    tree = debian.package_tree([mine])
    rootfs.complete(tree, "0:0")
    assert content(tree, "etc/passwd") == b"mine"
    assert tree.get("tmp") == Directory(0o1700)


def test_java_has_its_names() -> None:
    jvm = "usr/lib/jvm/java-{}-openjdk-amd64/bin/{}"
    tree = completed(
        jvm.format(17, "java"), jvm.format(9, "java"), jvm.format(9, "old"), "usr/lib/jvm/x/bin/no"
    )
    assert tree.get("usr/bin/java") == Link("../lib/jvm/java-17-openjdk-amd64/bin/java")
    assert tree.get("usr/bin/old") == Link("../lib/jvm/java-9-openjdk-amd64/bin/old")
    assert tree.get("usr/bin/no") is None


def test_compilers_have_their_names() -> None:
    tree = completed("usr/bin/clang-9", "usr/bin/clang-16", "usr/bin/clang++-16")
    assert tree.get("usr/bin/clang") == Link("clang-16")
    assert (tree.get("usr/bin/cc"), tree.get("usr/bin/c++")) == (Link("clang"), Link("clang++"))
    both = completed("usr/bin/clang-16", "usr/bin/gcc", "usr/bin/gcc-12")
    assert both.get("usr/bin/cc") == Link("gcc")
    assert completed("usr/bin/x").get("usr/bin/cc") is None


def with_certificates(names: list[str], *paths: str) -> tuple[Tree, dict[str, bytes]]:
    tree, made = tree_of(*paths), {}
    for name in names:
        made[name] = pem(name)
        tree.add(f"usr/share/ca-certificates/mozilla/{name}.crt", File(constant(made[name]), 0o644))
    rootfs.complete(tree, "0:0")
    return tree, made


def test_the_bundle_is_sorted_and_whole() -> None:
    tree, made = with_certificates(["zz", "aa", "mm"])
    assert content(tree, certificates.BUNDLE) == made["aa"] + made["mm"] + made["zz"]
    assert tree.get(certificates.JAVA) is None
    assert tree.get("usr/lib/ssl/cert.pem") is None
    openssl, _ = with_certificates(["a"], "usr/lib/x86_64-linux-gnu/libssl.so.3")
    assert openssl.get("usr/lib/ssl/cert.pem") == Link("/etc/ssl/certs/ca-certificates.crt")
    assert completed().get(certificates.BUNDLE) is None


def test_javas_key_store_is_the_same_each_time_and_java_reads_it(tmp_path: Path) -> None:
    made = {f"mozilla/{name}.crt": pem(name) for name in ("Zeta", "alpha", "Főtanúsítvány")}
    store = certificates.key_store(made)
    assert store == certificates.key_store(dict(reversed(made.items())))
    assert store[:12].hex() == "feedfeed0000000200000003"
    keytool = shutil.which("keytool")
    if keytool is None:
        pytest.skip("no keytool on this machine; the network test asks the image's own")
    path = tmp_path / "cacerts"
    path.write_bytes(store)
    listed = subprocess.run(
        [keytool, "-list", "-keystore", path, "-storepass", "changeit"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert listed.count("trustedCertEntry") == 3


def test_java_gets_its_store() -> None:
    tree, made = with_certificates(["a"], "usr/lib/jvm/java-17-openjdk-amd64/bin/java")
    der = base64.b64decode(b"".join(made["a"].splitlines()[1:-1]))
    assert der in content(tree, certificates.JAVA)


def test_what_is_no_certificate_is_refused() -> None:
    broken = b"-----BEGIN CERTIFICATE-----\nAAA\n-----END CERTIFICATE-----\n"
    with pytest.raises(Permanent, match=r"mozilla/x\.crt is no PEM"):
        certificates.key_store({"mozilla/x.crt": broken})
