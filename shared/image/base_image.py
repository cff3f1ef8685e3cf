"""A base that is somebody's image, by digest: its layers go into ours byte for byte.

The lock holds its manifest, its configuration and its layers, each by digest: a registry that changes or drops one
cannot change what is built. What counts of the configuration are the layers' diff_ids and the environment.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from shared.errors import Permanent
from shared.image.plan import Inputs, Ready
from shared.image.registry_documents import DOCKER_MANIFEST, OCI_MANIFEST, Manifest, read_manifest
from shared.image.registry_reference import Reference
from shared.model.image import ImageLock, LockedInput
from shared.model.value import Digest, printable

_URL = re.compile(r"https?://([^/]+)/v2/(.+)/(manifests|blobs)/(sha256:[0-9a-f]{64})", re.ASCII)
_DIFF_ID = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)
_MAX_CONFIG = 8 * 1024**2


class Images(Protocol):
    """A registry, as far as a base needs it."""

    def manifest(self, reference: Reference) -> Manifest: ...
    def pull_blob(self, reference: Reference, digest: Digest, size: int, to: Path) -> None: ...


@dataclass(frozen=True)
class BaseImage:
    layers: tuple[Ready, ...]
    """The lowest first."""
    env: Mapping[str, str]


def locked(image: str, images: Images) -> Iterator[LockedInput]:
    """What the lock holds of `image`, HOST/REPOSITORY@sha256:DIGEST; of an index the part for linux/amd64."""
    reference = Reference.parse(image)
    if not reference.digest:
        raise Permanent(
            f"The base image {printable(image, 200)} has no digest: write HOST/REPOSITORY@sha256:…."
        )
    manifest = images.manifest(reference)
    root = f"{reference.base}/v2/{reference.repository}"
    yield LockedInput(
        role="image",
        name="manifest",
        url=f"{root}/manifests/{manifest.digest}",
        sha256=manifest.digest,
        size=len(manifest.body),
    )
    for name, blob in [
        ("config", manifest.config),
        *((f"layer-{number:03}", layer) for number, layer in enumerate(manifest.layers, 1)),
    ]:
        yield LockedInput(
            role="image", name=name, url=f"{root}/blobs/{blob.digest}", sha256=blob.digest, size=blob.size
        )


def fetch(wanted: LockedInput, to: Path, images: Images) -> None:
    """Write one part of a base image to `to`; by digest, so what arrives is what was locked."""
    match = _URL.fullmatch(wanted.url)
    if match is None or match[4] != wanted.sha256:
        raise Permanent(
            f"The lock gives {wanted.name} the address {printable(wanted.url, 200)}, which is no blob's."
        )
    host, repository, kind, digest = match.groups()
    reference = Reference.parse(f"{host}/{repository}@{digest}")
    if kind == "blobs":
        images.pull_blob(reference, digest, wanted.size, to)
        return
    manifest = images.manifest(reference)
    if manifest.digest != digest:
        raise Permanent(f"{reference} is an index now; lock the image again.")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=".part-", dir=to.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(manifest.body)
        Path(temporary).replace(to)
    except OSError as error:
        raise Permanent(f"{to} cannot be written: {error.strerror}.") from error


def base_image(lock: ImageLock, inputs: Inputs) -> BaseImage:
    """The base's layers and environment, from the lock's inputs of the role `image`."""
    parts = {each.name: each for each in lock.inputs if each.role == "image"}
    if "manifest" not in parts or "config" not in parts:
        raise Permanent("The lock holds no whole base image; lock the image again.")
    manifest = _manifest(parts["manifest"], inputs)
    config = _config(parts["config"], inputs)
    diff_ids = config.get("rootfs", {}).get("diff_ids", []) if isinstance(config.get("rootfs"), dict) else []
    layers = [parts.get(f"layer-{number:03}") for number in range(1, len(manifest.layers) + 1)]
    sound = (
        parts["config"].sha256 == manifest.config.digest
        and isinstance(diff_ids, list)
        and len(diff_ids) == len(layers)
        and all(isinstance(each, str) and _DIFF_ID.fullmatch(each) for each in diff_ids)
    )
    if not sound or [each.sha256 if each else "" for each in layers] != [
        each.digest for each in manifest.layers
    ]:
        raise Permanent(
            "The base image's manifest, configuration and layers in the lock do not belong together."
        )
    return BaseImage(
        tuple(
            Ready(f"base-{number}", inputs(each), each.sha256, diff_id, layer.media_type)
            for number, (each, layer, diff_id) in enumerate(
                zip(filter(None, layers), manifest.layers, diff_ids, strict=True), 1
            )
        ),
        dict(_environment(config)),
    )


def _manifest(part: LockedInput, inputs: Inputs) -> Manifest:
    body = inputs(part).read_bytes()
    try:
        said = json.loads(body).get("mediaType", OCI_MANIFEST)
    except (ValueError, AttributeError, RecursionError) as error:
        raise Permanent("The base image's manifest is not JSON.") from error
    return read_manifest(
        body, DOCKER_MANIFEST if said == DOCKER_MANIFEST else OCI_MANIFEST, part.sha256, "The base"
    )


def _config(part: LockedInput, inputs: Inputs) -> dict[str, Any]:
    if part.size > _MAX_CONFIG:
        raise Permanent(
            f"The base image's configuration has {part.size} bytes, which is refused as too large."
        )
    try:
        config = json.loads(inputs(part).read_bytes())
    except (ValueError, RecursionError) as error:
        raise Permanent("The base image's configuration is not JSON.") from error
    if not isinstance(config, dict) or (config.get("os"), config.get("architecture")) != ("linux", "amd64"):
        raise Permanent("The base image is not for linux/amd64.")
    return config


def _environment(config: dict[str, Any]) -> Iterator[tuple[str, str]]:
    inner = config.get("config")
    lines = inner.get("Env") if isinstance(inner, dict) else None
    for line in lines or ():
        name, equals, value = str(line).partition("=")
        if not equals or not name:
            raise Permanent(
                f"The base image's environment has '{printable(str(line), 100)}', which is no NAME=VALUE."
            )
        yield name, value
