"""Every single difference between two images is named, and named right."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Permanent
from shared.image.explain import Difference, compare
from shared.image.oci import blob_path, index_document, read_layout
from shared.image.plan import Config, Plan
from shared.image.tar_compare import parting
from shared.image.tree import Directory, Link, Node
from shared.model.image import Codec
from shared.model.value import canonical, sha256
from tests.image.core.support import APP, BASE, CONFIG, file, layer, made, noise, sample


def differ(tmp: Path, plan: Plan, codec: Codec = "gzip") -> Difference:
    made(tmp, out="a", codec=codec)
    made(tmp, out="b", plan=plan, codec=codec, cache="cache-b")
    found = compare(tmp / "a", tmp / "b")
    assert found is not None
    assert found.sentence[0].isupper()
    assert found.sentence.endswith(".")
    back = compare(tmp / "b", tmp / "a")
    assert back is not None
    assert (back.level, back.layer, back.field, back.left, back.right) == (
        found.level, found.layer, found.field, found.right, found.left,
    )  # fmt: skip
    return found


def app(changed: dict[str, Node]) -> Plan:
    return sample(app={**APP, **changed})


def test_the_same_image_is_no_difference(tmp_path: Path) -> None:
    made(tmp_path, out="a")
    made(tmp_path, out="b", cache="other")
    assert compare(tmp_path / "a", tmp_path / "b") is None


@pytest.mark.parametrize("codec", ["gzip", "zstd", "stored"])
def test_one_byte_of_one_file(codec: Codec, tmp_path: Path) -> None:
    data = bytearray(noise(1_200_000))
    data[1_145_678] ^= 0xFF
    base = {**BASE, "usr/lib/libbig.so": file(bytes(data))}
    found = differ(tmp_path, Plan((layer("base", base), layer("app", APP)), CONFIG), codec)
    assert (found.level, found.layer, found.name) == ("layer", 1, "base")
    assert (found.path, found.field, found.offset) == ("usr/lib/libbig.so", "content", 1_145_678)
    was = noise(1_200_000)[1_145_678]
    assert (found.left, found.right) == (f"0x{was:02x}", f"0x{was ^ 0xFF:02x}")
    assert "Layer 1 (base), usr/lib/libbig.so: byte 1145678 is" in found.sentence


CHANGES: list[tuple[dict[str, Node], str, str, str]] = [
    ({"sample/sample": file(b"#!/usr/bin/python3\n", 0o700)}, "mode", "755", "700"),
    ({"sample/main.py": file(b"print(1)\n#")}, "size", "9", "10"),
    ({"sample/main.py": file(b"print(2)\n#")}, "content", "0x31", "0x32"),
    ({"sample/main.py": Link("x")}, "size", "9", "0"),
    ({"sample/new": Directory()}, "member", "sample/sample", "sample/new"),
    ({"sample/zzz": Directory()}, "member", "missing", "there"),
    ({"sample": Directory(0o700)}, "mode", "755", "700"),
]


@pytest.mark.parametrize(("changed", "field", "left", "right"), CHANGES)
def test_a_member(changed: dict[str, Node], field: str, left: str, right: str, tmp_path: Path) -> None:
    found = differ(tmp_path, app(changed))
    assert (found.level, found.layer, found.name) == ("layer", 2, "app")
    assert (found.field, found.left, found.right) == (field, left, right)


def test_a_link(tmp_path: Path) -> None:
    base = {**BASE, "bin": Link("usr/sbin")}
    found = differ(tmp_path, Plan((layer("base", base), layer("app", APP)), CONFIG))
    assert (found.path, found.field, found.left, found.right) == ("bin", "link name", "usr/bin", "usr/sbin")


CONFIGS: list[tuple[Config, str]] = [
    (replace(CONFIG, entrypoint=("/sample/other",)), "config.Entrypoint[0]"),
    (replace(CONFIG, cmd=("--port", "8080", "-v")), "config.Cmd[2]"),
    (replace(CONFIG, env={**CONFIG.env, "LD_PRELOAD": "x"}), "config.Env[1]"),
    (replace(CONFIG, labels={}), "config.Labels"),
    (replace(CONFIG, ports=(8081,)), "config.ExposedPorts.8080/tcp"),
    (replace(CONFIG, user="1:1"), "config.User"),
]


@pytest.mark.parametrize(("config", "field"), CONFIGS)
def test_a_field_of_the_configuration(config: Config, field: str, tmp_path: Path) -> None:
    found = differ(tmp_path, Plan(sample().layers, config))
    assert (found.level, found.field) == ("config", field)


def test_a_layer_more(tmp_path: Path) -> None:
    found = differ(tmp_path, sample(layer("more", APP)))
    assert (found.level, found.layer, found.name, found.left, found.right) == ("layers", 3, "more", "2", "3")


def test_only_the_compression(tmp_path: Path) -> None:
    made(tmp_path, out="a", codec="gzip")
    made(tmp_path, out="b", codec="zstd")
    found = compare(tmp_path / "a", tmp_path / "b")
    assert found is not None
    assert (found.level, found.layer) == ("compression", 1)
    assert "only the compression differs" in found.sentence


def rewritten(directory: Path, change: Callable[[dict[str, object]], object], form: bool = False) -> None:
    """The manifest changed, with digests that fit."""
    fields = dict(read_layout(directory).manifest.fields)
    change(fields)
    data = json.dumps(fields).encode() if form else canonical(fields)
    blob_path(directory, sha256(data)).write_bytes(data)
    (directory / "index.json").write_bytes(index_document(data))


def test_a_field_of_the_manifest(tmp_path: Path) -> None:
    made(tmp_path, out="a")
    made(tmp_path, out="b")
    rewritten(tmp_path / "b", lambda fields: fields.update(annotations={"built": "today"}))
    found = compare(tmp_path / "a", tmp_path / "b")
    assert found is not None
    assert (found.level, found.field, found.left) == ("manifest", "annotations", "nothing")


def test_the_same_manifest_in_another_form(tmp_path: Path) -> None:
    made(tmp_path, out="a")
    made(tmp_path, out="b")
    rewritten(tmp_path / "b", lambda _: None, form=True)
    found = compare(tmp_path / "a", tmp_path / "b")
    assert found is not None
    assert (found.level, found.field, found.offset) == ("manifest", "form", 10)


@pytest.mark.parametrize("codec", ["gzip", "zstd", "stored"])
def test_a_damaged_layer_is_found_though_the_digests_are_equal(codec: Codec, tmp_path: Path) -> None:
    made(tmp_path, out="a", codec=codec)
    built = made(tmp_path, out="b", codec=codec)
    path = blob_path(tmp_path / "b", built.layers[0].digest)
    data = bytearray(path.read_bytes())
    at = len(data) // 2
    data[at] ^= 1
    path.write_bytes(data)
    found = compare(tmp_path / "a", tmp_path / "b")
    assert found is not None
    assert (found.level, found.layer, found.name) == ("damage", 1, "base")
    assert f"yte {at} of the blob" in found.sentence
    if codec == "stored":
        assert (found.path, found.field) == ("usr/lib/libbig.so", "content")
    path.unlink()
    gone = compare(tmp_path / "b", tmp_path / "a")
    assert gone is not None
    assert "is missing" in gone.sentence


def test_a_damaged_manifest_is_refused(tmp_path: Path) -> None:
    built = made(tmp_path, out="a")
    made(tmp_path, out="b")
    blob_path(tmp_path / "b", built.manifest).write_bytes(b"{}")
    with pytest.raises(Permanent, match=r"the manifest .* was changed"):
        compare(tmp_path / "a", tmp_path / "b")


FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


def foreign(kind: str, names: list[str], **changed: object) -> io.BytesIO:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=FORMATS[kind]) as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = 5
            if name == names[-1]:
                for key, value in changed.items():
                    setattr(info, key, value)
            archive.addfile(info, io.BytesIO(b"12345"))
    made.seek(0)
    return made


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    ("key", "one", "other", "field"),
    [
        ("uid", 0, 7, "uid"),
        ("mtime", 1, 2, "mtime"),
        ("uname", "a", "b", "user name"),
        ("mode", 0o644, 0o600, "mode"),
    ],
)
def test_archives_of_others(kind: str, key: str, one: object, other: object, field: str) -> None:
    names = ["a", "long/" * 30 + "name"]
    found = parting(foreign(kind, names, **{key: one}), foreign(kind, names, **{key: other}), "x")
    assert found is not None
    assert (found.path, found.field) == (names[-1], field)
    assert parting(foreign(kind, names), foreign(kind, names), "x") is None


def test_other_forms_of_the_same_name() -> None:
    found = parting(foreign("gnu", ["n" * 120]), foreign("pax", ["n" * 120]), "x")
    assert found is not None
    assert found.path == "n" * 120


def test_extended_attributes_are_named() -> None:
    attribute = {"SCHILY.xattr.user.x": "1"}
    found = parting(foreign("pax", ["a"]), foreign("pax", ["a"], pax_headers=attribute), "x")
    assert found == ("a", "pax SCHILY.xattr.user.x", None, "nothing", "1")


@given(st.binary(max_size=3000), st.integers(0, 3000))
def test_what_is_no_archive_is_one_sentence(data: bytes, cut: int) -> None:
    whole = foreign("pax", ["n" * 120, "b"]).getvalue()
    for hurt in (data, whole[:cut], whole[: cut % 2500] + data):
        with suppress(Permanent):
            parting(io.BytesIO(hurt), io.BytesIO(whole), "The layer base")
