"""Manifests and indexes as a registry gives them: bytes until they were checked, then what they name.

Media types: https://github.com/opencontainers/image-spec/blob/v1.1.1/media-types.md and Docker's schema 2.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import orjson

from shared.errors import Permanent
from shared.model.value import canonical, printable

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
MANIFESTS = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
INDEXES = frozenset({OCI_INDEX, DOCKER_INDEX})
CONFIGS = frozenset(
    {"application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"}
)
LAYERS = frozenset(
    {
        "application/vnd.oci.image.layer.v1.tar",
        "application/vnd.oci.image.layer.v1.tar+gzip",
        "application/vnd.oci.image.layer.v1.tar+zstd",
        "application/vnd.docker.image.rootfs.diff.tar",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
    }
)
"""Not among them: layers that are fetched from elsewhere by URL."""
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)
_MOST_LAYERS = 500
_MOST_MANIFESTS = 1000


@dataclass(frozen=True)
class Descriptor:
    """What one document says of a blob. Size in bytes."""

    media_type: str
    digest: str
    size: int


@dataclass(frozen=True)
class Manifest:
    """An image's manifest that was checked against its digest."""

    digest: str
    media_type: str
    body: bytes
    config: Descriptor
    layers: tuple[Descriptor, ...]

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """Each once, whatever the number of layers that share it."""
        return tuple({each.digest: each for each in (self.config, *self.layers)}.values())


def read_manifest(body: bytes, media_type: str, digest: str, what: str) -> Manifest:
    """`body`, whose digest is `digest`, as a manifest; Permanent if it is not a plain image's."""
    content = _content(body, media_type, MANIFESTS, what)
    layers = content.get("layers")
    if not isinstance(layers, list) or not 0 < len(layers) <= _MOST_LAYERS:
        raise Permanent(f"{what} has no list of 1 to {_MOST_LAYERS} layers.")
    config = _descriptor(content.get("config"), CONFIGS, f"{what}, configuration")
    found = tuple(_descriptor(each, LAYERS, f"{what}, layer {n}") for n, each in enumerate(layers, 1))
    sizes: dict[str, int] = {}
    for each in (config, *found):
        if sizes.setdefault(each.digest, each.size) != each.size:
            raise Permanent(f"{what} gives {each.digest} two sizes.")
    return Manifest(digest, media_type, body, config, found)


def choose(body: bytes, media_type: str, what: str) -> Descriptor:
    """The index's one manifest for linux/amd64."""
    manifests = _content(body, media_type, INDEXES, what).get("manifests")
    if not isinstance(manifests, list) or len(manifests) > _MOST_MANIFESTS:
        raise Permanent(f"{what} has no list of at most {_MOST_MANIFESTS} manifests.")
    fitting = [each for each in manifests if _is_for_us(each)]
    if len(fitting) != 1:
        raise Permanent(
            f"{what} is an index with {len(fitting)} images for linux/amd64, where there must be one; name the image "
            "that is meant by its own digest."
        )
    return _descriptor(fitting[0], MANIFESTS, what)


def index_of(manifest: Manifest) -> bytes:
    """The `index.json` of a layout that holds this manifest alone."""
    entry = {"mediaType": manifest.media_type, "digest": manifest.digest, "size": len(manifest.body)}
    return canonical({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]})


def _content(body: bytes, media_type: str, allowed: frozenset[str], what: str) -> dict[str, Any]:
    if media_type not in allowed:
        raise Permanent(
            f"{what} is of the type '{printable(media_type, 100)}', which is refused: only images of OCI or Docker's "
            "version 2 are taken."
        )
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Permanent(f"{what} is no JSON: {error}.") from error
    if not isinstance(content, dict) or content.get("schemaVersion") != 2:
        raise Permanent(f"{what} is no manifest of schema version 2.")
    if content.get("mediaType", media_type) != media_type:
        raise Permanent(f"{what} is of the type {media_type}, but says itself that it is of another.")
    return content


def _descriptor(value: Any, allowed: frozenset[str], what: str) -> Descriptor:
    if not isinstance(value, dict):
        raise Permanent(f"{what}: there is no descriptor.")
    media_type, digest, size = value.get("mediaType"), value.get("digest"), value.get("size")
    if media_type not in allowed:
        raise Permanent(f"{what} has the media type '{printable(str(media_type), 100)}', which is refused.")
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise Permanent(f"{what} has no sha256 digest.")
    if type(size) is not int or size < 0:
        raise Permanent(f"{what} has no size.")
    return Descriptor(media_type, digest, size)


def _is_for_us(entry: Any) -> bool:
    platform = entry.get("platform") if isinstance(entry, dict) else None
    return isinstance(platform, dict) and (platform.get("os"), platform.get("architecture")) == (
        "linux",
        "amd64",
    )
