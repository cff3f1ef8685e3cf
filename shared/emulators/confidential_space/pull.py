"""Gets the image that a reference names, with every byte proved against a digest.

From a registry by `shared.image.registry`, or from an OCI image layout on disk, which stands for a registry in tests
and without one. Checks:
1. manifest, configuration and layers have the digests and sizes that name them (a registry's, while they arrive);
2. a reference with a digest gets the image of that digest; what the launcher reports is what the reference resolved
   to, the index's digest if it was an index;
3. each layer's uncompressed bytes have the configuration's diff_id (in `unpack`, where they pass anyway).
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.errors import DmzError, Permanent, Transient
from shared.image.registry import Registry, read_layout
from shared.image.registry_documents import Descriptor, Manifest
from shared.image.registry_logins import with_token
from shared.image.registry_reference import Reference

LAYOUT = "layout:"
"""Before a directory in place of a registry's address."""
_CONFIG_LIMIT = 4 * 2**20


@dataclass(frozen=True)
class Layer:
    path: Path
    media_type: str
    diff_id: str


@dataclass(frozen=True)
class Image:
    """`digest`: what the reference resolved to (`image_digest`); `config_digest`: the configuration's (`image_id`)."""

    digest: str
    config_digest: str
    config: Mapping[str, Any]
    """The configuration's `config` object (https://github.com/opencontainers/image-spec/blob/v1.1.1/config.md)."""
    layers: tuple[Layer, ...]


@dataclass(frozen=True)
class Puller:
    """`origins`: host of a reference to `http://HOST:PORT` or `layout:DIRECTORY`; other hosts do not exist here."""

    origins: Mapping[str, str]

    def pull(self, text: str, token: Callable[[], str], to: Path) -> Image:
        """The image `text`; `to`, not there yet, may receive it. Permanent or Transient, in the launcher's words."""
        try:
            reference = Reference.parse(text)
            if not reference.name:
                reference = Reference(reference.host, reference.repository, "latest")
            layout, digest = self._fetch(reference, token, to)
            return _read(layout, digest)
        except Transient as error:
            raise Transient(
                f"failed to pull image with retries, the last error is: cannot pull the image: {error}"
            ) from error
        except DmzError as error:
            raise Permanent(f"cannot pull the image: {error}") from error

    def _fetch(self, reference: Reference, token: Callable[[], str], to: Path) -> tuple[Path, str]:
        """Where the layout is, and what the reference resolved to."""
        origin = self.origins.get(reference.host)
        if origin is None:
            raise Permanent(f"failed to do request: lookup {reference.host}: no such host")
        if origin.startswith(LAYOUT):
            layout = Path(origin.removeprefix(LAYOUT))
            manifest = read_layout(layout)
            if reference.digest not in ("", manifest.digest):  # check 2
                raise Permanent(f"{reference}: not found")
            for blob in manifest.blobs:
                _check_blob(layout, blob)
            return layout, manifest.digest
        registry = Registry(with_token(token), {reference.host: origin})
        pulled = registry.pull(reference, to)
        return pulled.layout, pulled.index or pulled.manifest


def _read(layout: Path, digest: str) -> Image:
    manifest = read_layout(layout)
    try:
        if manifest.config.size > _CONFIG_LIMIT:
            raise Permanent(f"the configuration has {manifest.config.size} bytes; {_CONFIG_LIMIT} are taken")
        document = json.loads(_blob(layout, manifest.config.digest).read_bytes())
        return Image(
            digest, manifest.config.digest, document.get("config") or {}, _layers(layout, manifest, document)
        )
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise Permanent(f"the configuration {manifest.config.digest} is malformed: {error!r:.200}") from None


def _layers(layout: Path, manifest: Manifest, document: Mapping[str, Any]) -> tuple[Layer, ...]:
    diff_ids = document["rootfs"]["diff_ids"]
    if len(diff_ids) != len(manifest.layers):
        raise Permanent(
            f"the manifest has {len(manifest.layers)} layers, but the configuration lists {len(diff_ids)}"
        )
    return tuple(
        Layer(_blob(layout, layer.digest), layer.media_type, str(diff_id))
        for layer, diff_id in zip(manifest.layers, diff_ids, strict=True)
    )


def _check_blob(layout: Path, blob: Descriptor) -> None:  # check 1
    path = _blob(layout, blob.digest)
    try:
        with path.open("rb") as file:
            found = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
        size = path.stat().st_size
    except OSError as error:
        raise Permanent(f"{layout} lacks the blob {blob.digest}: {error.strerror}") from None
    if (found, size) != (blob.digest, blob.size):
        raise Permanent(f"{layout} is damaged: the blob {blob.digest} is {found} with {size} bytes")


def _blob(layout: Path, digest: str) -> Path:
    return layout / "blobs" / "sha256" / digest.removeprefix("sha256:")
