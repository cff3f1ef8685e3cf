"""An image's layout on disk, put there so that a reader finds the old image or the new one, never half of either.

Blobs come first, each under its own sha256; then `index.json` is replaced in one step, which is the moment of change;
then what no index names any more is removed.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from shared.errors import Permanent
from shared.image.lanes import processors
from shared.image.oci import MARKER, blob_path, check_blob, index_document
from shared.image.store import LayerStore
from shared.model.image import BuiltLayer
from shared.model.value import sha256

_PARTIAL = ".partial-"
_LARGE = 4 * 2**20
"""Bytes from which on waiting until a file is old enough to be marked as checked costs less than hashing it again."""
Source = Callable[[bool], Path]
"""Where a layer's blob is; asked a second time, with True, when the bytes there turned out to be others."""


def publish(
    out: Path, manifest: bytes, config: bytes, layers: dict[BuiltLayer, Source], store: LayerStore
) -> None:
    """Make `out` the layout of this image. What was there must be a layout with one image, or nothing.

    Permanent if `out` is something else, or if a layer's bytes cannot be had.
    """
    with _locked(out):
        _check_replaceable(out)
        (out / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(processors()) as pool:
            list(pool.map(lambda layer: _place(out, layer, layers[layer], store), layers))
        for data in (manifest, config):
            _put(blob_path(out, sha256(data)), data)
        _put(out / "oci-layout", MARKER)
        _put(out / "index.json", index_document(manifest))
        _sweep(out, {sha256(manifest), sha256(config), *(layer.digest for layer in layers)})
        for layer in layers:
            _mark(blob_path(out, layer.digest), layer, store)


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    """One build at a time writes to `out`."""
    out.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(out, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _check_replaceable(out: Path) -> None:
    """Nobody's files are removed but those of a layout that a build wrote."""
    names = {path.name for path in out.iterdir() if not path.name.startswith(_PARTIAL)}
    index = out / "index.json"
    try:
        several = index.exists() and len(json.loads(index.read_bytes())["manifests"]) != 1
    except (ValueError, KeyError, TypeError) as error:
        raise Permanent(
            f"{index} cannot be read, so {out} is left as it is; name another directory."
        ) from error
    if names - {"blobs", "index.json", "oci-layout"} or several:
        raise Permanent(
            f"{out} holds something else than one image, and is left as it is; name another directory."
        )


def _place(out: Path, layer: BuiltLayer, source: Source, store: LayerStore) -> None:
    """See to it that the layer's blob is in `out`, and is what it should be."""
    target = blob_path(out, layer.digest)
    if store.was_checked(target, layer.digest, layer.size) or _right(target, layer):
        return
    for again in (False, True):
        partial = target.with_name(f"{_PARTIAL}{secrets.token_hex(8)}")
        try:
            if _copy(source(again), partial) and _right(partial, layer):
                partial.replace(target)
                return
        finally:
            partial.unlink(missing_ok=True)
    raise Permanent(f"The layer {layer.name} cannot be had: its bytes are not those of {layer.digest}.")


def _right(path: Path, layer: BuiltLayer) -> bool:
    try:
        check_blob(path, layer.digest, layer.size, layer.name)
    except Permanent:
        return False
    return True


def _copy(source: Path, target: Path) -> bool:
    """Copy in the kernel: where the file system can, both share their blocks. False if there is nothing to copy."""
    try:
        read = source.open("rb")
    except OSError:
        return False
    with read, target.open("xb") as write:
        while True:
            try:
                copied = os.copy_file_range(read.fileno(), write.fileno(), 2**30)
            except OSError:  # between some file systems not possible
                copied = os.sendfile(write.fileno(), read.fileno(), None, 2**30)
            if not copied:
                return True


def _put(path: Path, data: bytes) -> None:
    """Write the whole file or nothing; leave it alone if it is that already."""
    if not path.is_symlink() and path.is_file() and path.read_bytes() == data:
        return
    partial = path.with_name(f"{_PARTIAL}{secrets.token_hex(8)}")
    try:
        partial.write_bytes(data)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _sweep(out: Path, named: set[str]) -> None:
    """Remove blobs that no document names, and what a killed build left."""
    wanted = {digest.removeprefix("sha256:") for digest in named}
    for path in (out / "blobs" / "sha256").iterdir():
        if path.name not in wanted:
            path.unlink()
    for path in out.glob(f"{_PARTIAL}*"):
        path.unlink()


def _mark(path: Path, layer: BuiltLayer, store: LayerStore) -> None:
    if store.was_checked(path, layer.digest, layer.size) or store.checked(path, layer.digest):
        return
    if layer.size >= _LARGE:
        time.sleep(0.06)
        store.checked(path, layer.digest)
