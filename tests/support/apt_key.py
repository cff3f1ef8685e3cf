"""A repository's key that looks like one: tests of models and stages, which verify no signature."""

from __future__ import annotations

import base64

from shared.model.apt_source import AptSource

# A public key packet (RFC 9580, section 4.2.2: type 6, old format, two octets of length) with nothing sound in it.
KEY = (
    "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n"
    + base64.encodebytes(b"\x99\x00\x10" + bytes(16)).decode()
    + "-----END PGP PUBLIC KEY BLOCK-----\n"
)
SOURCE = AptSource(
    name="fuse",
    url="https://apt.test/repository",
    suite="fuse-trixie",
    components=("main",),
    packages=("fuse-tool",),
    key=KEY,
)
