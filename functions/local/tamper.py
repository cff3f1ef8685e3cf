"""One byte of an image changed, as somebody would who wants the data: what `./dmz run --tamper` launches.

The change is consistent, layer, configuration and manifest: the image is a good one in every way but that nobody who
built it from source gets it.
"""

from __future__ import annotations

import io
import re
import shutil
import tarfile
from pathlib import Path

from shared.errors import Permanent
from shared.image import codec, oci
from shared.model.value import canonical, sha256

_DOCSTRING = re.compile(rb'"""([A-Za-z])')
_LARGEST = 64 * 2**20


def tamper(layout: Path, out: Path) -> str:
    """Write to `out` the image of `layout` with one byte of its last layer changed; the manifest's digest.

    The byte stands in a comment where there is one, so that the service runs as before.
    """
    image = oci.read_layout(layout)
    layer = image.layers[-1]
    with codec.opened(layer.path, layer.media_type, f"The layer {layer.name}") as stream:
        content = bytearray(stream.read(_LARGEST + 1))
    if len(content) > _LARGEST:
        raise Permanent(f"The layer {layer.name} is too large to be tampered with here.")
    place = _place(bytes(content))
    content[place] ^= 0x20  # a letter's other case
    shutil.rmtree(out, ignore_errors=True)
    blobs = out / "blobs" / "sha256"
    shutil.copytree(layout / "blobs" / "sha256", blobs)
    changed = io.BytesIO()
    written = codec.write([bytes(content)], "stored", changed)
    config, manifest = dict(image.config.fields), dict(image.manifest.fields)
    diff_ids = [each.diff_id for each in image.layers[:-1]] + [written.diff_id]
    config["rootfs"] = {"diff_ids": diff_ids, "type": "layers"}
    blob = {"digest": written.digest, "mediaType": codec.media_type("stored"), "size": written.size}
    manifest["layers"] = [*image.manifest.fields["layers"][:-1], blob]
    data = canonical(config)
    manifest["config"] = {**manifest["config"], "digest": sha256(data), "size": len(data)}
    stated = canonical(manifest)
    for each in (changed.getvalue(), data, stated):
        oci.blob_path(out, sha256(each)).write_bytes(each)
    (out / "oci-layout").write_bytes(oci.MARKER)
    (out / "index.json").write_bytes(oci.index_document(stated))
    return oci.read_layout(out).manifest.digest


def _place(content: bytes) -> int:
    """Offset of the byte: in the first Python docstring, else the last byte of the last file."""
    last = -1
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for member in archive:
            if not member.isfile() or not member.size:
                continue
            last = member.offset_data + member.size - 1
            found = _DOCSTRING.search(content, member.offset_data, member.offset_data + member.size)
            if member.name.endswith(".py") and found:
                return found.start(1)
    if last < 0:
        raise Permanent("The image's last layer holds no file, so no byte of it can be changed.")
    return last
