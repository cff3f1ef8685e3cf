"""The codecs: read back by other tools, the same bytes however they are fed, and refused when they are not ours."""

from __future__ import annotations

import gzip
import hashlib
import io
import subprocess
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import Permanent
from shared.image import codec, deflate
from shared.model.image import Codec

CODECS: list[Codec] = ["gzip", "zstd", "stored"]


def cut(data: bytes, seed: int) -> Iterator[bytes]:
    steps, at = [1, 1000, codec.BLOCK - 1, codec.BLOCK, codec.BLOCK, 3 * codec.BLOCK + 7, 5], 0
    while at < len(data):
        step = steps[(seed * 3 + at) % len(steps)]
        yield data[at : at + step]
        at += step


def noise(size: int) -> bytes:
    return hashlib.shake_256(b"noise").digest(size)


def packed(data: bytes, kind: Codec, seed: int | None = None) -> tuple[bytes, codec.Written]:
    out = io.BytesIO()
    written = codec.write([data] if seed is None else cut(data, seed), kind, out)
    return out.getvalue(), written


@pytest.fixture(autouse=True)
def _unproved() -> Iterator[None]:
    codec.prove.cache_clear()
    yield
    codec.prove.cache_clear()


SOME = st.builds(
    lambda seed, times, more: hashlib.shake_256(seed).digest(50_000) * times + more,
    st.binary(max_size=4),
    st.integers(0, 60),
    st.binary(max_size=100),
)


@given(SOME, st.sampled_from(CODECS), st.integers(0, 9))
@settings(max_examples=30)
def test_what_was_written_is_read_and_measured(data: bytes, kind: Codec, seed: int) -> None:
    blob, written = packed(data, kind, seed)
    back = (
        zstandard.ZstdDecompressor().decompressobj().decompress(blob)
        if kind == "zstd"
        else gzip.decompress(blob)
    )
    assert back == data
    assert written.digest == "sha256:" + hashlib.sha256(blob).hexdigest()
    assert written.diff_id == "sha256:" + hashlib.sha256(data).hexdigest()
    assert written.size == len(blob)
    assert blob == packed(data, kind)[0], "the cuts of the input must mean nothing"


@pytest.mark.parametrize("kind", CODECS)
@pytest.mark.parametrize("program", ["gzip", "zstd"])
def test_the_usual_programs_read_it(kind: Codec, program: str) -> None:
    if (program == "zstd") != (kind == "zstd"):
        return
    data = b"line of a tar\n" * 300_000
    blob, _ = packed(data, kind)
    read = subprocess.run([program, "-dc"], input=blob, capture_output=True, check=True)
    assert read.stdout == data


@pytest.mark.parametrize("kind", CODECS)
def test_as_many_cpus_as_there_are_mean_nothing(kind: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    data = noise(2**16) * 300  # two and more of zstd's jobs
    found = set()
    for count in (1, 2, 5):
        monkeypatch.setattr(codec, "processors", lambda count=count: count)
        monkeypatch.setattr(codec, "_ZSTD_WORKERS", count)
        found.add(packed(data, kind)[1])
    assert len(found) == 1


def test_the_header_tells_nothing_of_the_machine() -> None:
    for kind in ("gzip", "stored"):
        assert packed(b"x", kind)[0][:10] == b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"


def test_stored_uses_no_compressor(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(zlib, "compressobj", forbidden)
    data = noise(3 * codec.BLOCK + 70_001)
    assert gzip.decompress(packed(data, "stored")[0]) == data


def test_gzip_loses_little_by_its_cuts() -> None:
    data = codec._vector() * 12
    whole = len(zlib.compress(data, deflate.LEVEL))
    assert len(packed(data, "gzip")[0]) < whole * 1.005


def test_a_piece_of_gzip_knows_what_stands_before_it() -> None:
    random = noise(2**14)
    data = bytes(codec.BLOCK - 2**14) + random + random
    assert len(packed(data, "gzip")[0]) < 2**14 * 1.5


def test_another_zlib_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deflate, "LEVEL", 7)
    with pytest.raises(Permanent, match=r"^The codec gzip \(zlib .*--codec stored\.$"):
        packed(b"x", "gzip")
    packed(b"x", "stored")


def test_another_zstd_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "ZSTD_LEVEL", 4)
    with pytest.raises(Permanent, match=r"^The codec zstd \(zstd 1\.5\.7\).*pinned requirements"):
        packed(b"x", "zstd")


def test_zstd_without_workers_is_another_codec(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "_ZSTD_WORKERS", 0)
    with pytest.raises(Permanent, match="The codec zstd"):
        packed(b"x", "zstd")


def test_another_version_of_zstd_is_refused_whatever_it_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zstandard, "ZSTD_VERSION", (1, 5, 6))
    with pytest.raises(Permanent, match=r"zstd 1\.5\.6"):
        packed(b"x", "zstd")


@pytest.mark.parametrize("kind", CODECS)
def test_a_failure_on_the_way_comes_out_and_leaves_no_thread(kind: Codec) -> None:
    class Full(io.BytesIO):
        def write(self, data: object) -> int:
            if self.tell() > 10:  # the header still fits
                raise OSError(28, "No space left on device")
            return super().write(data)  # type: ignore[arg-type]

    def broken() -> Iterator[bytes]:
        yield b"x" * 5 * codec.BLOCK
        raise Permanent("The wheel is cut off.")

    before = threading.active_count()
    with pytest.raises(OSError, match="No space left"):
        codec.write([noise(2**20)] * 60, kind, Full())
    with pytest.raises(Permanent, match="cut off"):
        codec.write(broken(), kind, io.BytesIO())
    assert threading.active_count() == before


@pytest.mark.parametrize("kind", CODECS)
def test_a_blob_is_opened_by_its_media_type(kind: Codec, tmp_path: Path) -> None:
    path = tmp_path / "blob"
    path.write_bytes(packed(b"a tar", kind)[0])
    with codec.opened(path, codec.media_type(kind), "Layer 1") as stream:
        assert stream.read() == b"a tar"
    path.write_bytes(path.read_bytes()[:-3])
    with (
        codec.opened(path, codec.media_type(kind), "Layer 1") as stream,
        pytest.raises(Permanent, match="Layer 1"),
    ):
        stream.read()


def test_dockers_media_types_are_read_and_others_are_not(tmp_path: Path) -> None:
    path = tmp_path / "blob"
    path.write_bytes(gzip.compress(b"a tar"))
    with codec.opened(path, "application/vnd.docker.image.rootfs.diff.tar.gzip", "x") as stream:
        assert stream.read() == b"a tar"
    with pytest.raises(Permanent, match=r"no layer's\.$"):
        codec.opened(path, "application/json", "Layer 1")
