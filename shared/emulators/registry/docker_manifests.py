"""What a docker repository takes as a manifest (https://github.com/opencontainers/image-spec/blob/v1.1.1/manifest.md)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Any

from shared.emulators.registry.problems import Problem

LIMIT = 4 << 20
"""Bytes; the distribution specification lets a registry refuse more."""
_IMAGES = {
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
}
_INDEXES = {
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
}
SizeOf = Callable[[str, bool], int | None]
"""Bytes of a digest's content in this image's repository, None if it is not there; True: of a manifest."""


def checked(content: bytes, media_type: str, size_of: SizeOf) -> tuple[str, dict[str, Any]]:
    """The digest, and what is worth listing.

    Checks: (1) the type is an image's or an index's; (2) it is what the content says; (3) everything that it names is
    here, with that size.
    """
    if media_type not in _IMAGES | _INDEXES:  # 1
        raise _invalid(f"The media type {media_type[:100]!r} is not supported.")
    try:
        manifest = json.loads(content)
    except ValueError as error:
        raise _invalid(f"The manifest is not JSON: {error}.") from error
    if not isinstance(manifest, dict) or manifest.get("schemaVersion") != 2:
        raise _invalid("The manifest has not the schema version 2.")
    if manifest.get("mediaType", media_type) != media_type:  # 2
        raise _invalid("The manifest's mediaType is not its Content-Type.")
    is_index = media_type in _INDEXES
    size = len(content)
    for named, digest, said in _named(manifest, is_index):  # 3
        held = size_of(digest, is_index)
        if held is None:
            raise Problem(404, f"{named} {digest[:80]} is not there.", oci="MANIFEST_BLOB_UNKNOWN")
        if held != said:
            raise _invalid(f"{named} {digest[:80]} has {held} bytes, the manifest says {said!r}.")
        size += held
    return "sha256:" + hashlib.sha256(content).hexdigest(), {"media_type": media_type, "image_size": size}


def _named(manifest: dict[str, Any], is_index: bool) -> Iterator[tuple[str, str, Any]]:
    entries = (
        manifest.get("manifests") if is_index else [manifest.get("config"), *(manifest.get("layers") or [])]
    )
    for entry in entries or []:
        digest = entry.get("digest") if isinstance(entry, dict) else None
        if not isinstance(digest, str):
            raise _invalid("The manifest has a descriptor without a digest.")
        yield "The manifest" if is_index else "The blob", digest, entry.get("size")


def _invalid(message: str) -> Problem:
    return Problem(400, message, oci="MANIFEST_INVALID")
