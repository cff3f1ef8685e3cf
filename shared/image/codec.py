"""The three ways in which a layer's tar is stored, and what is learnt while it is written.

`gzip` is what every registry and scanner reads; `zstd` is smaller and several times as fast; `stored` is gzip without
compression, whose bytes no compression library has a say in. A library may give other bytes for the same input in
another version, and each of them would be another image: before its first use in a process, a codec compresses a
vector whose answer is known, and refuses if it is another one.
"""

from __future__ import annotations

import functools
import hashlib
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol, cast

import zstandard

from shared.errors import Permanent
from shared.image import deflate, inflate
from shared.image.lanes import Lane, processors
from shared.model.image import Codec
from shared.model.value import printable

BLOCK = 2**20
"""Bytes that a codec is given at a time: part of the format of a gzip layer."""
ZSTD_LEVEL, _ZSTD_VERSION = 3, (1, 5, 7)
_ZSTD_WORKERS = 2
"""One worker gives the same bytes, none gives others."""
_DEFLATING = 8
"""Threads, at most: each has two blocks in flight."""
_OCI, _DOCKER = "application/vnd.oci.image.layer.v1.", "application/vnd.docker.image.rootfs.diff."
_SUFFIXES = {"tar": "", "tar+gzip": ".gz", "tar.gzip": ".gz", "tar+zstd": ".zst", "tar.zstd": ".zst"}
_MOST = 2**40
"""Bytes of a tar, at most: a stream is read, never held."""
_KNOWN = {
    "gzip": "sha256:0012d69f92fe9897250e0a5ac9532da642170530e027cf27f7aba994821247ee",
    "zstd": "sha256:e22f27a40184cb4e6477cef6f44b8e5183cf769052ec17ed2f8220bbac318f19",
    "stored": "sha256:241a42c9d8185abebc0f930ab655895cf40229a24f165b19cf2d1f6e2e416874",
}
"""Digest of what each codec makes of the vector."""


@dataclass(frozen=True)
class Written:
    """A layer's blob as it was written."""

    digest: str
    diff_id: str
    size: int
    """Bytes of the blob."""


class _Compressor(Protocol):
    def add(self, block: bytes) -> Iterator[bytes]: ...
    def end(self) -> Iterator[bytes]: ...
    def close(self) -> None: ...


class _Zstd:
    def __init__(self) -> None:
        made = zstandard.ZstdCompressor(level=ZSTD_LEVEL, threads=_ZSTD_WORKERS, write_checksum=False)
        self._stream = made.compressobj()

    def add(self, block: bytes) -> Iterator[bytes]:
        yield self._stream.compress(block)

    def end(self) -> Iterator[bytes]:
        yield self._stream.flush()

    def close(self) -> None: ...


def media_type(codec: Codec) -> str:
    """https://github.com/opencontainers/image-spec/blob/v1.1.1/layer.md"""
    return f"{_OCI}tar+" + ("zstd" if codec == "zstd" else "gzip")


def identity(codec: Codec) -> str:
    """Names the bytes that a codec gives, for keys of caches: another codec or another version is another name."""
    return f"{codec} {_KNOWN[codec]}"


def is_layer(layer_type: str) -> bool:
    """Whether a media type is OCI's or Docker's for a tar that can be read here."""
    return _suffix(layer_type) is not None


def oci_type(layer_type: str) -> str:
    """Docker's media type of a layer as OCI's: the bytes are the same."""
    return (
        f"{_OCI}{layer_type.removeprefix(_DOCKER).replace('.', '+')}" if _DOCKER in layer_type else layer_type
    )


def _suffix(layer_type: str) -> str | None:
    if not layer_type.startswith((_OCI, _DOCKER)):
        return None
    return _SUFFIXES.get(layer_type.removeprefix(_OCI).removeprefix(_DOCKER))


def opened(path: Path, layer_type: str, what: str) -> IO[bytes]:
    """The tar inside a layer's blob, as a stream; Permanent, from its `read` too, if it cannot be decompressed."""
    suffix = _suffix(layer_type)
    if suffix is None:
        raise Permanent(f"{what} has the media type {printable(layer_type, 100)}, which is no layer's.")
    return inflate.inflated(path.open("rb"), suffix, _MOST, what)


def write(blocks: Iterable[bytes], codec: Codec, out: IO[bytes]) -> Written:
    """Compress `blocks` into `out`, in one pass; how they are cut means nothing.

    Permanent if the codec of this machine is not the one that the project's digests were made with.
    """
    prove(codec)
    return _write(blocks, codec, out)


@functools.cache
def prove(codec: Codec) -> None:
    """Permanent unless `codec` gives the known answer. Asked once per process."""
    found = answer(codec)
    if found != _KNOWN[codec] or (codec == "zstd" and zstandard.ZSTD_VERSION != _ZSTD_VERSION):
        library = {
            "gzip": f"zlib {zlib.ZLIB_RUNTIME_VERSION}",
            "zstd": f"zstd {'.'.join(map(str, zstandard.ZSTD_VERSION))}",
            "stored": "this Python",
        }[codec]
        other = "install the pinned requirements" if codec == "zstd" else "use a Python with stock zlib"
        raise Permanent(
            f"The codec {codec} ({library}) compresses a known text to other bytes than it should, so the image's "
            f"digest would be nobody else's: {other}, or build with --codec stored."
        )


def answer(codec: Codec) -> str:
    """Digest of what `codec` makes of the vector: of text, noise, tables, zeros, and of far repetitions of them."""
    once = _vector()
    times = 25 if codec == "zstd" else 1  # zstd cuts jobs of 8 MiB: one of them must be whole
    sink = _Null()
    return _write((once for _ in range(times)), codec, cast(IO[bytes], sink)).digest


class _Null:
    def write(self, data: bytes) -> int:
        return len(data)


def _vector() -> bytes:
    noise = hashlib.shake_256(b"package-dmz: known answer of the codecs").digest(2**16)
    letters = noise.translate(bytes(97 + i % 26 for i in range(256)))
    words = [letters[9 * i : 9 * i + 2 + noise[i] % 7] for i in range(200)]
    text = b" ".join([words[byte % 200] for byte in noise[: 2**14]])
    skewed = noise.translate(bytes(byte**3 >> 17 for byte in range(256)))
    table = b"".join(
        [(4 * i).to_bytes(4, "little") + b"\0\1\0\0" + noise[i : i + 1 + i % 3] for i in range(2**12)]
    )
    near = (text, noise[: 2**13], skewed, table, bytes(5000), noise[: 2**14].hex().encode())
    return b"".join((*near, text[1000:9000], table[7:20_000], noise[100:3000], text[::-1]))


def _write(blocks: Iterable[bytes], codec: Codec, out: IO[bytes]) -> Written:
    plain, packed = hashlib.sha256(), hashlib.sha256()
    crc = length = size = 0

    def put(pieces: Iterable[bytes]) -> None:
        nonlocal size
        for piece in pieces:
            packed.update(piece)
            out.write(piece)
            size += len(piece)

    def take(block: bytes) -> None:
        nonlocal crc, length
        plain.update(block)
        length += len(block)
        if codec != "zstd":
            crc = zlib.crc32(block, crc)

    with closing(_COMPRESSORS[codec]()) as compressor:
        if codec != "zstd":
            put((deflate.HEADER,))
        with Lane(take) as hashing, Lane(lambda block: put(compressor.add(block))) as packing:
            for block in even(blocks):
                hashing.put(block)
                packing.put(block)
        put(compressor.end())
        if codec != "zstd":
            put((deflate.trailer(crc, length),))
    return Written(f"sha256:{packed.hexdigest()}", f"sha256:{plain.hexdigest()}", size)


_COMPRESSORS: dict[Codec, Callable[[], _Compressor]] = {
    "gzip": lambda: deflate.Deflated(min(processors(), _DEFLATING)),
    "zstd": _Zstd,
    "stored": deflate.Stored,
}


def even(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in blocks of BLOCK, the last one shorter; an empty stream is none."""
    held = bytearray()
    for block in blocks:
        if not held and len(block) == BLOCK:
            yield block
            continue
        held += block
        while len(held) >= BLOCK:
            yield bytes(memoryview(held)[:BLOCK])
            del held[:BLOCK]
    if held:
        yield bytes(held)
