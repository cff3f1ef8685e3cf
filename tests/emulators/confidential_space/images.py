"""Small images for tests, as OCI layouts: Debian's own Python out of the VMs' root image, and a program."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
PROGRAM = "/app/main.py"
ENV = ("PATH=/usr/local/bin:/usr/bin:/bin", "GREETING=hello")


@dataclass(frozen=True)
class Blob:
    digest: str
    size: int
    path: Path


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def tarred(entries: Sequence[tuple[tarfile.TarInfo, bytes | None]]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, content in entries:
            archive.addfile(info, None if content is None else io.BytesIO(content))
    return out.getvalue()


def entry(name: str, content: bytes | None = None, **fields: Any) -> tuple[tarfile.TarInfo, bytes | None]:
    """A file, or with `type` something else."""
    info = tarfile.TarInfo(name)
    info.mode, info.size = 0o755, len(content or b"")
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def python_layer(root: Path, to: Path) -> Blob:
    """Python, its standard library and what they are linked with."""
    wanted = [
        "usr/bin/python3",
        "usr/bin/python3.13",
        "usr/lib/python3.13",
        "etc/ssl/certs/ca-certificates.crt",
        "etc/ssl/openssl.cnf",
        "usr/lib/ssl",
        "etc/passwd",
        "etc/group",
    ]
    libraries = (
        "ld-linux",
        "libc.",
        "libm.",
        "libz.",
        "libexpat.",
        "libssl.",
        "libcrypto.",
        "libffi.",
        "libzstd.",
    )
    for place in ("usr/lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu", "usr/lib64"):
        found = (root / place).iterdir() if (root / place).is_dir() else ()
        wanted += [f"{place}/{path.name}" for path in found if path.name.startswith(libraries)]
    skipped = (
        "__pycache__", "test", "idlelib", "ensurepip", "pydoc_data", "lib2to3", "unittest", "multiprocessing",
        "asyncio", "tkinter", "curses",
        "dbm", "sqlite3", "xmlrpc", "wsgiref", "_pyrepl", "venv", "concurrent", "logging",
    )  # fmt: skip

    def kept(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
        if Path(info.name).name in skipped:
            return None
        info.uid = info.gid = 0
        info.uname = info.gname = ""
        return info

    with tarfile.open(to, "w", format=tarfile.PAX_FORMAT) as archive:
        for name in wanted:
            if (root / name).exists() or (root / name).is_symlink():
                archive.add(root / name, name, filter=kept)
        for name in ("lib", "lib64", "bin", "sbin"):
            if (root / name).is_symlink():
                archive.add(root / name, name, filter=kept)
    with to.open("rb") as file:
        return Blob(f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}", to.stat().st_size, to)


def layout(
    to: Path,
    base: Blob | None,
    program: str = "",
    *,
    layers: Sequence[bytes] = (),
    labels: Mapping[str, str] | None = None,
    config: Mapping[str, Any] | None = None,
) -> str:
    """Write an image to `to`; its manifest's digest."""
    blobs = to / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    found = []
    if base:
        (blobs / base.digest.removeprefix("sha256:")).symlink_to(base.path)
        found.append({"mediaType": LAYER, "digest": base.digest, "size": base.size})
    contents = [tarred([entry("app/main.py", program.encode())])] if program else []
    for content in (*contents, *layers):
        found.append({"mediaType": LAYER, **_write(blobs, content)})
    document = {
        "architecture": "amd64",
        "os": "linux",
        "config": {
            "Entrypoint": ["/usr/bin/python3", "-I", PROGRAM],
            "Env": list(ENV),
            "Labels": dict(labels or {}),
            **(config or {}),
        },
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in found]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, **_write(blobs, json.dumps(document).encode())},
        "layers": found,
    }
    described = {"mediaType": MANIFEST, **_write(blobs, json.dumps(manifest).encode())}
    (to / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [described]}))
    (to / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    return str(described["digest"])


def add_layer(image: Path, content: bytes) -> None:
    """Put one more layer on the image at `image`."""
    blobs = image / "blobs" / "sha256"
    index = json.loads((image / "index.json").read_text())
    manifest = json.loads((blobs / index["manifests"][0]["digest"][7:]).read_text())
    config = json.loads((blobs / manifest["config"]["digest"][7:]).read_text())
    added = _write(blobs, content)
    config["rootfs"]["diff_ids"].append(added["digest"])
    manifest["layers"].append({"mediaType": LAYER, **added})
    manifest["config"] |= _write(blobs, json.dumps(config).encode())
    index["manifests"][0] |= _write(blobs, json.dumps(manifest).encode())
    (image / "index.json").write_text(json.dumps(index))


def _write(blobs: Path, content: bytes) -> dict[str, Any]:
    name = digest(content)
    (blobs / name.removeprefix("sha256:")).write_bytes(content)
    return {"digest": name, "size": len(content)}
