"""Whatever was damaged, killed or written by another beside it: the next build gives the same digest."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from shared.errors import Permanent
from shared.image.oci import blob_path, read_layout
from shared.image.store import LayerStore
from tests.image.core.known import KNOWN
from tests.image.core.support import file, files, made, sample

DAMAGE = [
    lambda path: path.write_bytes(b""),
    lambda path: path.write_bytes(path.read_bytes()[:-1]),
    lambda path: path.write_bytes(path.read_bytes()[:-1] + b"\0"),
    lambda path: path.unlink(),
    lambda path: path.write_bytes(b"garbage\n{}"),
]


@pytest.mark.parametrize("number", range(len(DAMAGE)))
@pytest.mark.parametrize(
    "part", ["layers", "blobs", "checked", "out/blobs/sha256", "out/index.json", "out/oci-layout"]
)
@pytest.mark.parametrize("fresh", [False, True])
def test_damage_means_the_same_digest(part: str, number: int, fresh: bool, tmp_path: Path) -> None:
    made(tmp_path, codec="stored")
    wanted = files(tmp_path / "out")
    place = tmp_path / part if part.startswith("out") else tmp_path / "cache" / part
    hurt = sorted(place.iterdir()) if place.is_dir() else [place]
    if part == "out/index.json" and number != 3:
        return  # not replaced but refused: see below
    for path in hurt:
        DAMAGE[number](path)
    if fresh:
        shutil.rmtree(tmp_path / "out")
    again = made(tmp_path, codec="stored")
    assert again.manifest == KNOWN["stored"]
    assert files(tmp_path / "out") == wanted
    read_layout(tmp_path / "out")


@pytest.mark.parametrize("field", [b'"digest":"sha256:', b'"diff_id":"sha256:', b'"size":'])
def test_a_record_that_names_something_else_is_not_believed(field: bytes, tmp_path: Path) -> None:
    made(tmp_path, codec="stored")
    for path in (tmp_path / "cache" / "layers").iterdir():
        data = bytearray(path.read_bytes())
        at = data.index(field) + len(field)
        data[at] = ord("1") if data[at] != ord("1") else ord("2")
        path.write_bytes(data)
    assert made(tmp_path, codec="stored", out="other").manifest == KNOWN["stored"]


def test_one_byte_changed_at_once_is_seen_though_size_and_time_are_the_same(tmp_path: Path) -> None:
    """An edit that restores the time of change, as `cp -p` or rsync would."""
    built = made(tmp_path, codec="stored")
    path = blob_path(tmp_path / "out", built.layers[0].digest)
    time.sleep(0.1)
    made(tmp_path, codec="stored")  # now the file is old enough to be marked
    store = LayerStore(tmp_path / "cache")
    assert store.was_checked(path, built.layers[0].digest, built.layers[0].size)
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    with path.open("r+b") as stream:
        stream.write(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not store.was_checked(path, built.layers[0].digest, built.layers[0].size)
    with pytest.raises(Permanent, match=r"^base: the blob .* was changed"):
        read_layout(tmp_path / "out")
    made(tmp_path, codec="stored")
    read_layout(tmp_path / "out")


def test_a_tampered_image_does_not_reach_the_cache_nor_other_images(tmp_path: Path) -> None:
    built = made(tmp_path, out="one")
    made(tmp_path, out="two")
    blob_path(tmp_path / "one", built.layers[0].digest).write_bytes(b"tampered")
    read_layout(tmp_path / "two")
    made(tmp_path, out="three")
    read_layout(tmp_path / "three")


def test_a_key_that_says_too_little_is_found_out(tmp_path: Path) -> None:
    made(tmp_path)
    for blob in (tmp_path / "cache" / "blobs").iterdir():
        blob.unlink()
    with pytest.raises(Permanent, match="The layer app came out other than last time"):
        made(tmp_path, out="other", plan=sample(app={"sample/main.py": file(b"print(2)\n")}))


def test_a_killed_build_leaves_the_old_image_and_the_next_one_is_whole(tmp_path: Path) -> None:
    made(tmp_path)
    before = files(tmp_path / "out")
    program = f"""
import time
from tests.image.core.support import *
class Slow(io.BytesIO):
    def read(self, size=-1):
        print("reading", flush=True)
        time.sleep(0.1 if self.tell() < 2**22 else 60)
        return super().read(min(size, 2**20))
data = noise(2**23)
slow = File(Content(len(data), lambda: Slow(data)), 0o644)
made(Path({str(tmp_path)!r}), plan=sample(layer("slow", {{"slow": slow}})), codec="stored")
"""
    running = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert running.stdout
    for _ in range(5):
        running.stdout.readline()
    time.sleep(0.2)
    left = list((tmp_path / "cache" / "tmp").iterdir())
    assert any(path.stat().st_size > 2**20 for path in left), "it was to be killed while it writes"
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert files(tmp_path / "out") == before
    assert made(tmp_path, out="new").manifest == KNOWN["gzip"]
    for path in left:
        os.utime(path, (0, 0))
    made(tmp_path)
    assert list((tmp_path / "cache" / "tmp").iterdir()) == []


def test_a_file_that_another_build_writes_is_not_swept(tmp_path: Path) -> None:
    store = LayerStore(tmp_path / "cache")
    with store.temporary() as held:
        os.utime(held.path, (0, 0))
        made(tmp_path)
        assert held.path.exists()


def test_killed_while_it_publishes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the index is replaced, a reader finds the old image; a new directory holds none."""
    from shared.image import publish

    made(tmp_path)

    def dies(_: bytes) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(publish, "index_document", dies)
    changed = sample(app={"x": file(b"y")}, app_key="changed")
    for out in ("out", "fresh"):
        with pytest.raises(KeyboardInterrupt):
            made(tmp_path, out=out, plan=changed)
    monkeypatch.undo()
    assert read_layout(tmp_path / "out").manifest.digest == KNOWN["gzip"]
    with pytest.raises(Permanent, match="holds no whole image"):
        read_layout(tmp_path / "fresh")
    assert made(tmp_path).manifest == KNOWN["gzip"]
    assert made(tmp_path, out="fresh").manifest == KNOWN["gzip"]
    assert files(tmp_path / "out") == files(tmp_path / "fresh")


def test_builds_at_once_into_one_place(tmp_path: Path) -> None:
    digests: list[str] = []
    plans = [sample(), sample(app={"x": file(b"y")}, app_key="2")] * 4
    threads = [
        threading.Thread(target=lambda plan=plan: digests.append(made(tmp_path, plan=plan).manifest))
        for plan in plans
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(digests) == 8
    assert read_layout(tmp_path / "out").manifest.digest in digests


def test_what_is_no_layout_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years of work")
    with pytest.raises(Permanent, match="left as it is"):
        made(tmp_path)
    assert files(tmp_path / "out") == {"thesis.txt": b"years of work"}


@pytest.mark.parametrize("index", ["", "[]", '{"manifests": []}', '{"manifests": [{}, {}]}', "{}"])
def test_a_layout_of_several_images_is_left_alone(index: str, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "index.json").write_text(index)
    with pytest.raises(Permanent, match="left as it is"):
        made(tmp_path)
