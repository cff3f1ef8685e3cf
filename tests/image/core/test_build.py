"""Images as built: the same digests however, wherever and however often; read by skopeo and umoci too."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from shared.errors import Permanent
from shared.image.build import Progress, build
from shared.image.oci import blob_path, read_layout
from shared.image.plan import Layer, Plan, Ready
from shared.image.tree import Content, File, Tree
from shared.model.image import Codec, LockedInput
from tests.image.core.known import KNOWN
from tests.image.core.support import APP, BASE, CONFIG, LOCK, SPEC, file, files, layer, made, noise, sample

KNOWN_CONFIG = "sha256:00ac0fc772fde9d2ec21a8bbe4676dcba2d65ca2613262e6fd3772587312e9f4"


@pytest.mark.parametrize("codec", KNOWN)
def test_known_image(codec: Codec, tmp_path: Path) -> None:
    built = made(tmp_path, codec=codec)
    assert (built.manifest, built.config) == (KNOWN[codec], KNOWN_CONFIG)
    assert (built.name, built.codec, built.lock) == ("sample", codec, LOCK.digest)
    read = read_layout(tmp_path / "out")
    assert (read.manifest.digest, read.config.digest) == (built.manifest, built.config)
    assert [each.digest for each in read.layers] == [each.digest for each in built.layers]
    assert [each.name for each in read.layers] == ["base", "app"]


def test_the_configuration_is_one_line_of_sorted_keys(tmp_path: Path) -> None:
    made(tmp_path)
    data = read_layout(tmp_path / "out").config.data
    assert data == json.dumps(json.loads(data), sort_keys=True, separators=(",", ":")).encode()
    config = json.loads(data)
    assert config["created"] == "1970-01-01T00:00:00Z"
    assert config["config"]["Env"] == ["LANG=C.UTF-8", "PATH=/usr/bin"]
    assert config["config"]["ExposedPorts"] == {"8080/tcp": {}}
    assert config["config"]["Entrypoint"] == ["/sample/sample"]
    assert config["config"]["Cmd"] == ["--port", "8080"]
    assert (config["architecture"], config["os"]) == ("amd64", "linux")
    assert len(config["history"]) == len(config["rootfs"]["diff_ids"]) == 2


@pytest.mark.parametrize("codec", KNOWN)
def test_skopeo_reads_it_and_finds_the_same_digest(codec: Codec, tmp_path: Path) -> None:
    built = made(tmp_path, codec=codec)
    said = subprocess.run(
        ["skopeo", "inspect", f"oci:{tmp_path / 'out'}:latest"], capture_output=True, check=True, text=True
    )
    found = json.loads(said.stdout)
    assert found["Digest"] == built.manifest
    assert found["Layers"] == [each.digest for each in built.layers]
    copied = f"dir:{tmp_path / 'copy'}"
    subprocess.run(["skopeo", "copy", "-q", f"oci:{tmp_path / 'out'}:latest", copied], check=True)


@pytest.mark.parametrize("codec", ["gzip", "stored"])  # Debian's umoci knows no zstd
def test_umoci_unpacks_it(codec: Codec, tmp_path: Path) -> None:
    made(tmp_path, codec=codec)
    subprocess.run(
        ["umoci", "unpack", "--rootless", "--image", f"{tmp_path / 'out'}:latest", tmp_path / "bundle"],
        check=True,
        capture_output=True,
    )
    root = tmp_path / "bundle" / "rootfs"
    assert (root / "usr/lib/libbig.so").read_bytes() == noise(1_200_000)
    assert (root / "bin").readlink() == Path("usr/bin")
    assert (root / "sample/sample").stat().st_mode & 0o777 == 0o755


def test_the_second_time_nothing_is_built(tmp_path: Path) -> None:
    def forbidden() -> Tree:
        raise AssertionError

    made(tmp_path)
    plan = Plan(
        tuple(Layer(each.name, each.key, forbidden) for each in sample().layers if isinstance(each, Layer)),
        CONFIG,
    )
    told: list[Progress] = []
    again = build(plan, SPEC, LOCK, tmp_path / "other", "gzip", tmp_path / "cache", told.append)
    assert again.manifest == KNOWN["gzip"]
    assert sorted((each.layer, each.state, each.number, each.of) for each in told) == [
        ("app", "cached", 2, 2),
        ("base", "cached", 1, 2),
    ]
    assert files(tmp_path / "out") == files(tmp_path / "other")


def test_only_the_layer_that_changed_is_built(tmp_path: Path) -> None:
    made(tmp_path)
    before = files(tmp_path / "out")
    kept = blob_path(tmp_path / "out", read_layout(tmp_path / "out").layers[0].digest)
    inode = kept.stat().st_ino
    told: list[Progress] = []
    plan = sample(app={**APP, "sample/main.py": file(b"print(2)\n")}, app_key="changed")
    build(plan, SPEC, LOCK, tmp_path / "out", "gzip", tmp_path / "cache", told.append)
    assert [(each.layer, each.state) for each in told if each.state == "built"] == [("app", "built")]
    assert kept.stat().st_ino == inode, "what is there and right stays there"
    after = files(tmp_path / "out")
    assert len(after) == len(before), "what no document names any more is removed"
    read_layout(tmp_path / "out")


def test_a_ready_layer_goes_in_byte_for_byte(tmp_path: Path) -> None:
    first = made(tmp_path, out="first")
    base = first.layers[0]
    blob = blob_path(tmp_path / "first", base.digest)
    docker = "application/vnd.docker.image.rootfs.diff.tar.gzip"
    ready = Ready("base", blob, base.digest, base.diff_id, docker)
    plan = Plan((ready, layer("app", APP)), CONFIG)
    assert made(tmp_path, out="second", plan=plan).manifest == first.manifest
    blob.write_bytes(b"tampered")
    with pytest.raises(Permanent, match="The layer base cannot be had"):
        made(tmp_path, out="third", plan=plan)
    with pytest.raises(Permanent, match="cannot be taken over"):
        made(tmp_path, plan=Plan((Ready("base", blob, base.digest, base.diff_id, "text/plain"),), CONFIG))


def test_a_layer_that_fails_ends_the_build_with_its_sentence(tmp_path: Path) -> None:
    def endless() -> Tree:
        class Endless:
            def __enter__(self) -> Endless:
                return self

            def __exit__(self, *_: object) -> None: ...

            def read(self, size: int) -> bytes:
                return bytes(size)

        tree = Tree()
        tree.add("endless", File(Content(2**50, lambda: Endless()), 0o644))  # type: ignore[arg-type,return-value]
        return tree

    broken = layer("broken", {"x": File(Content(5, lambda: open(os.devnull, "rb")), 0o644)})  # noqa: SIM115, PTH123
    plan = Plan((Layer("endless", "endless", endless), broken), CONFIG)
    with pytest.raises(Permanent, match=r"^x should have 5 bytes and has 5 fewer"):
        made(tmp_path, plan=plan, codec="zstd")
    assert not (tmp_path / "out").exists()
    assert list((tmp_path / "cache" / "tmp").iterdir()) == []


def test_a_disk_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Permanent, match=r"^The image sample cannot be written: Not a directory"):
        build(sample(), SPEC, LOCK, tmp_path / "file" / "out", "gzip", tmp_path / "cache")
    with pytest.raises(Permanent, match="name another place in XDG_CACHE_HOME"):
        build(sample(), SPEC, LOCK, tmp_path / "out", "gzip", tmp_path / "file" / "cache")


def test_time_zone_locale_umask_and_hash_seed_mean_nothing(tmp_path: Path) -> None:
    program = (
        "import os, sys\nfrom tests.image.core.support import *\nos.umask(int(sys.argv[2], 8))\n"
        "print(made(Path(sys.argv[1])).manifest)"
    )
    variations = [
        ({"TZ": "Asia/Tokyo", "LC_ALL": "C", "PYTHONHASHSEED": "1"}, "077", "a"),
        (
            {"TZ": "America/Lima", "LC_ALL": "tr_TR.UTF-8", "PYTHONHASHSEED": "2", "HOME": "/"},
            "000",
            "b" * 100,
        ),
    ]
    for environment, umask, name in variations:
        (tmp_path / name).mkdir()
        done = subprocess.run(
            [sys.executable, "-X", "utf8=0", "-c", program, tmp_path / name, umask],
            env=environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stdout.strip() == KNOWN["gzip"]


def test_the_order_in_which_a_tree_was_filled_means_nothing(tmp_path: Path) -> None:
    turned = Plan(
        (layer("base", dict(reversed(BASE.items()))), layer("app", dict(reversed(APP.items())))), CONFIG
    )
    assert made(tmp_path, plan=turned).manifest == KNOWN["gzip"]


def test_the_order_of_a_lock_means_nothing(tmp_path: Path) -> None:
    inputs = [
        LockedInput(
            role="wheel", name=name, url=f"https://example/{name}", sha256="sha256:" + "0" * 64, size=1
        )
        for name in "ab"
    ]
    digests = {
        build(
            sample(),
            SPEC,
            LOCK.model_copy(update={"inputs": tuple(order)}),
            tmp_path / "out",
            "gzip",
            tmp_path / "c",
        )
        for order in (inputs, inputs[::-1])
    }
    assert len(digests) == 1


def test_a_codec_that_is_not_ours_builds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from shared.image import codec, deflate

    monkeypatch.setattr(deflate, "LEVEL", 1)
    codec.prove.cache_clear()
    with pytest.raises(Permanent, match="The codec gzip"):
        made(tmp_path)
    codec.prove.cache_clear()
    assert not (tmp_path / "out").exists()


def test_memory_does_not_follow_the_size(tmp_path: Path) -> None:
    """Peak memory of a process that builds two layers of 400 MB beside each other."""
    program = """
import sys
from tests.image.core.support import *
class Pattern(io.RawIOBase):
    def __init__(self, size): self.left = size; self.block = noise(2**20)
    def read(self, size=-1):
        data = self.block[: min(size, self.left)]; self.left -= len(data); return data
big = 400 * 2**20
plan = Plan(tuple(layer(n, {n: File(Content(big, lambda: Pattern(big)), 0o644)}) for n in "ab"), CONFIG)
made(Path(sys.argv[1]), plan=plan, codec=sys.argv[2])
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path, "zstd"], capture_output=True, text=True, check=True
    )
    assert int(re.findall(r"\d+", done.stdout)[-1]) < 300 * 1024
