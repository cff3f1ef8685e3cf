"""The documents of an image: configuration, manifest, index, and the reader that believes none of them.

https://github.com/opencontainers/image-spec/tree/v1.1.1: config.md, manifest.md, image-layout.md. Each document is
written in one form only (sorted keys, no white space); one bare manifest, no index before it and nothing beside it,
because Confidential Space reports the digest that a reference resolves to.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from shared.errors import Permanent
from shared.image.codec import is_layer
from shared.image.labels import labels as labels
from shared.image.lanes import processors
from shared.image.plan import Config
from shared.model.image import BuiltLayer
from shared.model.value import canonical, printable, sha256

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
TAG = "latest"
"""By which other tools find the one image of a layout (`skopeo inspect oci:DIR:latest`)."""
MARKER = canonical({"imageLayoutVersion": "1.0.0"})
"""The file `oci-layout`."""
EPOCH = "1970-01-01T00:00:00Z"
_AUTHOR = "package-dmz"
_PLATFORM = {"architecture": "amd64", "os": "linux"}
_LARGEST_DOCUMENT = 4 * 2**20
"""Bytes; the limit of the distribution specification for manifests."""


class Document(NamedTuple):
    """A JSON document whose bytes have this digest."""

    data: bytes
    digest: str
    fields: dict[str, Any]


class StoredLayer(NamedTuple):
    name: str
    """As the history says, or its number where it says nothing."""
    path: Path
    digest: str
    size: int
    media_type: str
    diff_id: str


class Layout(NamedTuple):
    """The one image of a layout."""

    manifest: Document
    config: Document
    layers: tuple[StoredLayer, ...]


def config_document(config: Config, layers: Sequence[BuiltLayer]) -> bytes:
    """The configuration. Its digest is Confidential Space's `image_id`: it covers what the layers hold, not how they
    are compressed."""
    inner: dict[str, Any] = {
        "Entrypoint": list(config.entrypoint),
        "Env": sorted(f"{name}={value}" for name, value in config.env.items()),
        "User": config.user,
        "WorkingDir": config.workdir,
    }
    if config.cmd:
        inner["Cmd"] = list(config.cmd)
    if config.labels:
        inner["Labels"] = dict(config.labels)
    if config.ports:
        inner["ExposedPorts"] = {f"{port}/tcp": {} for port in config.ports}
    history = [{"comment": layer.name, "created": EPOCH, "created_by": _AUTHOR} for layer in layers]
    rootfs = {"diff_ids": [layer.diff_id for layer in layers], "type": "layers"}
    return canonical({**_PLATFORM, "config": inner, "created": EPOCH, "history": history, "rootfs": rootfs})


def manifest_document(config: bytes, layers: Sequence[BuiltLayer]) -> bytes:
    """The manifest. Its digest is the image's: Confidential Space's `image_digest`."""
    blobs = [{"digest": e.digest, "mediaType": e.media_type, "size": e.size} for e in layers]
    return canonical(
        {"config": _descriptor(CONFIG, config), "layers": blobs, "mediaType": MANIFEST, "schemaVersion": 2}
    )


def index_document(manifest: bytes) -> bytes:
    """`index.json` of a layout on disk, which no registry sees."""
    entry = {
        **_descriptor(MANIFEST, manifest),
        "annotations": {"org.opencontainers.image.ref.name": TAG},
        "platform": _PLATFORM,
    }
    return canonical({"manifests": [entry], "mediaType": INDEX, "schemaVersion": 2})


def blob_path(directory: Path, digest: str) -> Path:
    return directory / "blobs" / "sha256" / digest.removeprefix("sha256:")


def read_layout(directory: Path, *, check_layers: bool = True) -> Layout:
    """The image of the layout in `directory`, whoever wrote it there. Permanent unless

    1. it is a layout, of version 1.0.0,
    2. its index lists one entry, a manifest for linux/amd64 or for no platform,
    3. every blob is a plain file with the size and the sha256 by which it is named,
    4. no document names a key twice, and each has the fields that it must have,
    5. there are as many layers as the configuration says, each of a known media type.

    Without `check_layers`, the layers' bytes are not looked at; for whoever looks at them himself.
    """
    marker = _json(_small(directory / "oci-layout", "oci-layout", directory), "oci-layout", directory)
    if marker.get("imageLayoutVersion") != "1.0.0":  # 1
        raise Permanent(f"{directory} is an image layout of an unknown version; only 1.0.0 is read.")
    index = _json(_small(directory / "index.json", "index.json", directory), "index.json", directory)
    entries = index.get("manifests")
    if not isinstance(entries, list) or len(entries) != 1:  # 2
        raise Permanent(f"{directory} should hold one image; its index.json lists none or several.")
    manifest = _document(directory, entries[0], (MANIFEST,), "the manifest")
    config = _document(directory, manifest.fields.get("config"), (CONFIG,), "the configuration")
    names = (config.fields.get("architecture"), config.fields.get("os"))
    if names != ("amd64", "linux"):  # 2
        raise Permanent(f"The image in {directory} is for {names[1]}/{names[0]}; only linux/amd64 is read.")
    layers = _layers(directory, manifest, config)
    if check_layers:
        with ThreadPoolExecutor(processors()) as pool:
            list(pool.map(lambda each: check_blob(each.path, each.digest, each.size, each.name), layers))  # 3
    return Layout(manifest, config, layers)


def check_blob(path: Path, digest: str, size: int, what: str) -> None:
    """Permanent unless the file has this size and sha256."""
    try:
        if path.is_symlink() or not path.is_file():
            raise Permanent(f"{what}: the blob {path} is missing; build or fetch the image again.")
        with path.open("rb") as stream:
            found = "sha256:" + hashlib.file_digest(stream, "sha256").hexdigest()
            length = stream.tell()
    except OSError as error:
        raise Permanent(f"{what}: the blob {path} cannot be read: {error.strerror}.") from error
    if length != size:
        raise Permanent(f"{what}: the blob {path} has {length} bytes, it should have {size}.")
    if found != digest:
        raise Permanent(f"{what}: the blob {path} was changed; its sha256 is {found[7:]}.")


def _layers(directory: Path, manifest: Document, config: Document) -> tuple[StoredLayer, ...]:
    blobs, rootfs = manifest.fields.get("layers"), config.fields.get("rootfs")
    diff_ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if not isinstance(blobs, list) or not isinstance(diff_ids, list) or len(blobs) != len(diff_ids):  # 5
        raise Permanent(
            f"The manifest and the configuration in {directory} do not name the same number of layers."
        )
    names = _names(config, len(blobs))
    found = []
    for name, blob, diff_id in zip(names, blobs, diff_ids, strict=True):
        digest, size, media_type = _named(blob, f"the layer {name}", directory)
        if not is_layer(media_type) or not _is_digest(diff_id):  # 5
            raise Permanent(
                f"The layer {name} in {directory} has the media type {printable(media_type, 100)} and the diff_id "
                f"{printable(str(diff_id), 80)}: no layer of an image has."
            )
        found.append(StoredLayer(name, blob_path(directory, digest), digest, size, media_type, diff_id))
    return tuple(found)


def _names(config: Document, count: int) -> list[str]:
    history = config.fields.get("history")
    steps = [step for step in history if isinstance(step, dict)] if isinstance(history, list) else []
    said = [str(step.get("comment") or "") for step in steps if not step.get("empty_layer")]
    said += [""] * count
    return [printable(said[n], 60) or str(n + 1) for n in range(count)]


def _descriptor(media_type: str, data: bytes) -> dict[str, Any]:
    return {"digest": sha256(data), "mediaType": media_type, "size": len(data)}


def _document(directory: Path, descriptor: object, types: tuple[str, ...], what: str) -> Document:
    digest, size, media_type = _named(descriptor, what, directory)
    if media_type not in types:  # 2
        raise Permanent(
            f"{directory}: {what} has the media type {printable(media_type, 100)}, not {types[0]}."
        )
    path = blob_path(directory, digest)
    data = _small(path, what, directory)
    if len(data) != size or sha256(data) != digest:  # 3
        raise Permanent(
            f"{directory}: {what} ({path.name[:12]}…) was changed: it does not have its sha256 and size."
        )
    return Document(data, digest, _json(data, what, directory))


def _named(descriptor: object, what: str, directory: Path) -> tuple[str, int, str]:
    """Digest, size and media type of a descriptor."""
    if isinstance(descriptor, dict):
        digest, size, media_type = (descriptor.get(key) for key in ("digest", "size", "mediaType"))
        if _is_digest(digest) and type(size) is int and size >= 0 and isinstance(media_type, str):  # 4
            return str(digest), size, media_type
    raise Permanent(f"{directory}: what names {what} lacks its digest (sha256), size or media type.")


def _is_digest(text: object) -> bool:
    return (
        isinstance(text, str)
        and len(text) == 71
        and text.startswith("sha256:")
        and set(text[7:]) <= set("0123456789abcdef")
    )


def _small(path: Path, what: str, directory: Path) -> bytes:
    try:
        if path.is_symlink() or (path.exists() and not path.is_file()):  # 3
            raise Permanent(f"{directory}: {path.name} is no plain file; a layout holds nothing else.")
        with path.open("rb") as stream:
            data = stream.read(_LARGEST_DOCUMENT + 1)
    except FileNotFoundError as error:
        raise Permanent(
            f"{directory} holds no whole image: {what} is missing. Is it an image layout, and was its build finished?"
        ) from error
    except OSError as error:
        raise Permanent(f"{directory}: {what} cannot be read: {error.strerror}.") from error
    if len(data) > _LARGEST_DOCUMENT:
        raise Permanent(
            f"{directory}: {what} is larger than {_LARGEST_DOCUMENT // 2**20} MiB, which no image needs."
        )
    return data


def _json(data: bytes, what: str, directory: Path) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({name for name, _ in pairs}) != len(pairs):  # 4
            raise ValueError("a key stands twice in one object")
        return dict(pairs)

    try:
        found = json.loads(data.decode(), object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise Permanent(
            f"{directory}: {what} is no JSON document that two readers agree on: {error}."
        ) from error
    if not isinstance(found, dict):
        raise Permanent(f"{directory}: {what} is no JSON object.")
    return found
