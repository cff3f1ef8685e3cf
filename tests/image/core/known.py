"""Digests that the sample has, however it is built."""

from __future__ import annotations

from shared.model.image import Codec

KNOWN: dict[Codec, str] = {
    "gzip": "sha256:c6952e719bf8e0fd63e412cb0467773af9381c7a62182e4f5dc468937d8814ca",
    "zstd": "sha256:d9c686039ae78160f37b1d22db41cefc5f4a2bb564d0d38f1bd31b5ec2c78350",
    "stored": "sha256:0c1d766e9c32a4ce6acdc20da92ee934091285bdc6b96df0c169be8ca3c65b01",
}
"""Manifests of the sample: a promise, as every image in the world depends on the same bytes."""
