"""The bundles of trusted certificates that ca-certificates and ca-certificates-java write when they are installed.

For OpenSSL and most others: /etc/ssl/certs/ca-certificates.crt, sorted by file name. For Java: a key store of type
JKS (version 2, https://docs.oracle.com/en/java/javase/17/docs/specs/security/standard-names.html#keystore-types), which
carries a time for each certificate: here the epoch.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import struct

from shared.errors import Permanent
from shared.image.spool import constant
from shared.image.tree import File, Link, Tree

BUNDLE = "etc/ssl/certs/ca-certificates.crt"
JAVA = "etc/ssl/certs/java/cacerts"
_SOURCE = "usr/share/ca-certificates/"
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----\s+([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----")
_PASSWORD = "changeit"  # noqa: S105 - everybody's: it guards a list of public certificates against accidents
_WHITENER = b"Mighty Aphrodite"


def bundle(tree: Tree) -> None:
    """Add the bundles to `tree` if the package ca-certificates is in it."""
    files = {
        path: node for path, node in tree.entries() if path.startswith(_SOURCE) and path.endswith(".crt")
    }
    pem: dict[str, bytes] = {}
    for path in sorted(files):
        node = files[path]
        if isinstance(node, File):
            with node.content.open() as stream:
                pem[path.removeprefix(_SOURCE)] = stream.read().rstrip(b"\n") + b"\n"
    if not pem:
        return
    if tree.get(BUNDLE) is None:
        tree.add(BUNDLE, File(constant(b"".join(pem.values())), 0o644))
    openssl = any(path.startswith("usr/lib/x86_64-linux-gnu/libssl.so") for path, _ in tree.entries())
    if openssl and tree.get("usr/lib/ssl/cert.pem") is None:
        # OpenSSL looks for this file or for hashed names in certs/, which c_rehash would make.
        tree.add("usr/lib/ssl/cert.pem", Link(f"/{BUNDLE}"))
    if any(path.startswith("usr/lib/jvm/") for path, _ in tree.entries()) and tree.get(JAVA) is None:
        tree.add(JAVA, File(constant(key_store(pem)), 0o644))


def key_store(pem: dict[str, bytes]) -> bytes:
    """A JKS key store of trusted certificates, by file name."""
    entries = []
    for name in sorted(pem):
        der = [_der(match, name) for match in _PEM.findall(pem[name])]
        for number, certificate in enumerate(der):
            stem = name.rpartition("/")[2].removesuffix(".crt").lower()
            alias = f"debian:{stem}.pem" if len(der) == 1 else f"debian:{stem}-{number}.pem"
            entries.append(
                struct.pack(">I", 2)
                + _text(alias)
                + struct.pack(">Q", 0)
                + _text("X.509")
                + struct.pack(">I", len(certificate))
                + certificate
            )
    content = struct.pack(">III", 0xFEEDFEED, 2, len(entries)) + b"".join(entries)
    # The format's own check against accidents; nothing's safety hangs on it.
    return (
        content
        + hashlib.sha1(_PASSWORD.encode("utf-16-be") + _WHITENER + content, usedforsecurity=False).digest()
    )


def _der(text: bytes, name: str) -> bytes:
    try:
        return base64.b64decode(b"".join(text.split()), validate=True)
    except binascii.Error as error:
        raise Permanent(f"The certificate {name} is no PEM file.") from error


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack(">H", len(data)) + data
