"""Wheels as files of an image: where each file goes, and every check with a wheel that only it can refuse."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import random
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from shared.errors import Permanent
from shared.image import tar, wheel_install
from shared.image.python_paths import Paths
from shared.image.tree import File, Tree
from tests.image.python.support import RUNFILES, Files, content, demo, shown
from tests.upstream.support import wheel_members, zipped

SITE = f"{RUNFILES}/pypi_demo/site-packages"
INFO = f"{SITE}/demo-1.0.dist-info"
PYTHON = f"#!/{RUNFILES}/python_x86_64-unknown-linux-gnu/bin/python3 -IBu\n".encode()


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def installed(files: Files) -> Tree:
    paths = Paths("demo_service", tuple(each.name for each in files.inputs))
    return wheel_install.packages_tree(files.inputs, files.get(), paths)


def refused(files: Files, words: str) -> None:
    """By the plan of the tree or, for contents, by whoever reads it."""
    with pytest.raises(Permanent, match=words) as found:
        for _ in tar.blocks(installed(files)):
            pass
    said = str(found.value)
    assert said.endswith(".")
    assert "\n" not in said


def edited(members: Mapping[str, bytes], change: Callable[[str], str]) -> dict[str, bytes]:
    record = "demo-1.0.dist-info/RECORD"
    return {**members, record: change(members[record].decode()).encode()}


def rows(tree: Tree, info: str = INFO) -> dict[str, tuple[str, str]]:
    text = content(tree.get(f"{info}/RECORD")).decode()
    return {path: (digest, size) for path, digest, size in csv.reader(io.StringIO(text))}


def test_each_kind_of_file_goes_to_its_place(files: Files) -> None:
    data = {
        "demo-1.0.data/purelib/demo/pure.py": b"pure",
        "demo-1.0.data/platlib/demo/native.so": b"\x7fELF",
        "demo-1.0.data/headers/demo.h": b"int x;",
        "demo-1.0.data/data/share/demo/table.csv": b"1,2\n",
        "demo-1.0.data/scripts/tool": b"#!/bin/sh\nexit 0\n",
        "demo-1.0.data/scripts/pytool": b"#!python\nimport demo\n",
        "demo-1.0.dist-info/entry_points.txt": b"[console_scripts]\ndemo = demo:main\n"
        b"[gui_scripts]\nwin = demo.gui:App.run [x]\n",
    }
    files.wheel("demo", wheel_members("demo", "1.0", {"demo/__init__.py": b"x = 1\n"} | data))
    found = shown(installed(files))
    root = f"{RUNFILES}/pypi_demo"
    assert found[f"{SITE}/demo/__init__.py"] == (0o644, b"x = 1\n")
    assert found[f"{SITE}/demo/pure.py"] == (0o644, b"pure")
    assert found[f"{SITE}/demo/native.so"] == (0o644, b"\x7fELF")
    assert found[f"{root}/include/demo/demo.h"] == (0o644, b"int x;")
    assert found[f"{root}/share/demo/table.csv"] == (0o644, b"1,2\n")
    assert found[f"{root}/bin/tool"] == (0o755, b"#!/bin/sh\nexit 0\n")
    assert found[f"{root}/scripts/pytool"] == (0o644, b"#!python\nimport demo\n")
    for name, calls in (
        ("demo", b"from demo import main\n\nsys.exit(main())\n"),
        ("win", b"from demo.gui import App\n\nsys.exit(App.run())\n"),
        ("pytool", f'runpy.run_path("/{root}/scripts/pytool", run_name="__main__")\n'.encode()),
    ):
        mode, script = found[f"{root}/bin/{name}"]
        assert mode == 0o755
        assert isinstance(script, bytes)
        assert script.startswith(PYTHON)
        assert script.endswith(calls)
        assert f'"/{SITE}",'.encode() in script
        compile(script, name, "exec")
    assert not any(".data/" in path for path in found)


def test_record_lists_what_is_there_sorted_with_hashes(files: Files) -> None:
    entry = b"[console_scripts]\ndemo = demo:main\n"
    files.wheel(
        "demo", demo(**{"demo-1.0.dist-info__entry_points.txt": entry, "demo-1.0.data__data__etc__x": b"y"})
    )
    tree = installed(files)
    record = rows(tree)
    assert list(record) == sorted(record)
    there = {path: node for path, node in tree.entries() if isinstance(node, File)}
    assert len(record) == len(there)
    for path, (digest, size) in record.items():
        place = f"{RUNFILES}/pypi_demo/{path[3:]}" if path.startswith("../") else f"{SITE}/{path}"
        data = content(there[place])
        if path.endswith("/RECORD"):
            assert (digest, size) == ("", "")
            continue
        expected = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        assert (digest, size) == (f"sha256={expected}", str(len(data)))
    assert content(tree.get(f"{INFO}/INSTALLER")) == b"package-dmz\n"
    assert "../bin/demo" in record


def test_what_other_installers_leave_is_not_taken_over(files: Files) -> None:
    more = {
        "demo-1.0.dist-info/INSTALLER": b"pip\n",
        "demo-1.0.dist-info/direct_url.json": b"{}",
        "demo/__pycache__/x.cpython-311.pyc": b"old",
        "demo/kept.pyc": b"a module without its source",
    }
    files.wheel("demo", wheel_members("demo", "1.0", {"demo/__init__.py": b""} | more))
    found = shown(installed(files))
    assert found[f"{INFO}/INSTALLER"] == (0o644, b"package-dmz\n")
    assert f"{INFO}/direct_url.json" not in found
    assert not any("__pycache__" in path for path in found)
    assert f"{SITE}/demo/kept.pyc" in found


def test_modes_are_two(files: Files) -> None:
    members = demo()
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, (name, data) in enumerate(members.items()):
            info = zipfile.ZipInfo(name)
            info.create_system = 3
            info.external_attr = (0o100000 | (0o4770, 0o600, 0o444)[number % 3]) << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, data)
    files.add("wheel", "demo", "demo-1.0-py3-none-any.whl", stream.getvalue())
    modes = {mode for mode, _ in shown(installed(files)).values() if isinstance(mode, int)}
    assert modes == {0o644, 0o755}


def test_stored_and_large_members_and_small_reads(files: Files) -> None:
    big = hashlib.shake_256(b"big").digest(3_000_001)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in demo(demo__big=big, demo__zeros=bytes(5_000_000), demo__empty=b"").items():
            archive.writestr(name, data, zipfile.ZIP_STORED if "big" in name else zipfile.ZIP_DEFLATED)
    files.add("wheel", "demo", "demo-1.0-py3-none-any.whl", stream.getvalue())
    tree = installed(files)
    for name, data in (("big", big), ("zeros", bytes(5_000_000)), ("empty", b"")):
        node = tree.get(f"{SITE}/demo/{name}")
        assert isinstance(node, File)
        assert content(node) == data
        with node.content.open() as opened:
            pieces = iter(lambda: opened.read(70_001), b"")
            assert b"".join(pieces) == data


@pytest.mark.parametrize("packed", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_file_that_is_not_what_record_says(files: Files, packed: int) -> None:
    wrong = {**demo(), "demo/table.bin": bytes(9 * 256)}
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", packed) as archive:
        for name, data in wrong.items():
            archive.writestr(name, data)
    files.add("wheel", "demo", "demo-1.0-py3-none-any.whl", stream.getvalue())
    refused(files, "demo-1.0-py3-none-any.whl: 'demo/table.bin' is not what RECORD says")


def test_the_empty_file_is_proved_too(files: Files) -> None:
    other = base64.urlsafe_b64encode(hashlib.sha256(b"x").digest()).rstrip(b"=").decode()
    empty = base64.urlsafe_b64encode(hashlib.sha256(b"").digest()).rstrip(b"=").decode()
    files.wheel("demo", edited(demo(demo__none=b""), lambda text: text.replace(empty, other)))
    refused(files, "'demo/none' is not what RECORD says")


def test_a_wrong_size(files: Files) -> None:
    files.wheel("demo", edited(demo(), lambda text: text.replace(",2304", ",2305")))
    refused(files, "'demo/table.bin' is not what RECORD says")


def test_a_file_that_record_does_not_list(files: Files) -> None:
    files.wheel("demo", {**demo(), "demo/extra.py": b"import os"})
    refused(files, "holds 'demo/extra.py', which RECORD does not list")


def test_a_file_that_is_not_there(files: Files) -> None:
    files.wheel("demo", {name: data for name, data in demo().items() if name != "demo/table.bin"})
    refused(files, "RECORD lists 'demo/table.bin', which is not in the wheel")


def test_a_row_without_hash(files: Files) -> None:
    files.wheel(
        "demo",
        edited(
            demo(),
            lambda text: "".join(
                "demo/table.bin,,\n" if line.startswith("demo/table.bin") else line
                for line in text.splitlines(True)
            ),
        ),
    )
    refused(files, "gives 'demo/table.bin' no sha256 or better")


def test_no_record(files: Files) -> None:
    files.wheel("demo", {name: data for name, data in demo().items() if not name.endswith("RECORD")})
    refused(files, "has no demo-1.0.dist-info/RECORD")


@pytest.mark.parametrize("name", ["../evil.py", "demo/../../evil.py", "/etc/passwd", "demo\\evil.py"])
def test_a_path_that_leads_elsewhere(files: Files, name: str) -> None:
    files.wheel("demo", wheel_members("demo", "1.0", {"demo/__init__.py": b"", name: b"x"}))
    refused(files, "path")


def test_two_files_for_one_place(files: Files) -> None:
    members = wheel_members(
        "demo", "1.0", {"demo/__init__.py": b"x", "demo-1.0.data/platlib/demo/__init__.py": b"y"}
    )
    files.wheel("demo", members)
    refused(files, "Two inputs of one layer bring the path .*demo/__init__.py")


def test_a_script_over_an_entry_point(files: Files) -> None:
    more = {
        "demo-1.0.data/scripts/demo": b"#!/bin/sh\n",
        "demo-1.0.dist-info/entry_points.txt": b"[console_scripts]\ndemo = demo:main\n",
    }
    files.wheel("demo", wheel_members("demo", "1.0", {"demo/__init__.py": b""} | more))
    refused(files, "Two inputs of one layer bring the path .*bin/demo")


def test_a_place_that_no_wheel_has(files: Files) -> None:
    files.wheel("demo", wheel_members("demo", "1.0", {"demo-1.0.data/sbin/x": b"", "demo.py": b""}))
    refused(files, "a wheel has no place of that name")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"[console_scripts]\n../x = demo:main\n", "has a script of the name '../x'"),
        (b"[console_scripts]\nx = os;import demo:main\n", "calls no plain object"),
        (b"[console_scripts]\nx = demo\n", "calls no plain object"),
        (b"[console_scripts]\nx = demo:main\nx = demo:other\n", "entry_points.txt that cannot be read"),
        (b"\xff", "entry_points.txt that cannot be read"),
    ],
)
def test_entry_points_that_are_refused(files: Files, text: bytes, words: str) -> None:
    files.wheel(
        "demo", wheel_members("demo", "1.0", {"demo.py": b"", "demo-1.0.dist-info/entry_points.txt": text})
    )
    refused(files, words)


def test_a_format_of_the_future(files: Files) -> None:
    members = wheel_members("demo", "1.0", {"demo.py": b""})
    members = {**members, "demo-1.0.dist-info/WHEEL": b"Wheel-Version: 2.0\n"}
    files.wheel("demo", _recorded(members))
    refused(files, "of format version 2.0")


def test_a_wheel_of_another_project(files: Files) -> None:
    files.add("wheel", "other", "demo-1.0-py3-none-any.whl", zipped(demo()))
    refused(files, "not a wheel of other, as the lock says")


def test_one_package_twice(files: Files) -> None:
    files.wheel("demo", demo())
    files.wheel("Demo", demo(demo__y=b""))
    refused(files, "one package twice")


def test_a_wheel_that_ends_early(files: Files) -> None:
    made = files.wheel("demo", demo())
    path = files.paths[made.url]
    path.write_bytes(path.read_bytes()[:-40])
    refused(files, "broken zip file")


def test_order_of_inputs_and_zip_members_means_nothing(tmp_path: Path) -> None:
    archives = []
    for seed in range(4):
        files = Files(tmp_path / str(seed))
        files.directory.mkdir()
        shuffle = random.Random(seed).shuffle  # noqa: S311 - the same order each time
        for name in ("demo", "other-thing", "third"):
            members = [
                *wheel_members(
                    name.replace("-", "_"), "1.0", {f"{name}/a.py": b"1", f"{name}/b.py": b"2"}
                ).items()
            ]
            shuffle(members)
            files.wheel(name, dict(members))
        shuffle(files.inputs)
        archives.append(b"".join(tar.blocks(installed(files))))
    assert len(set(archives)) == 1


def _recorded(members: Mapping[str, bytes]) -> dict[str, bytes]:
    """`members` with a RECORD that fits them."""
    record = "demo-1.0.dist-info/RECORD"
    lines = [
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()},{len(data)}\n"
        for name, data in members.items()
        if name != record
    ]
    return {**members, record: ("".join(lines) + f"{record},,\n").encode()}


def test_no_flipped_byte_changes_what_is_installed(files: Files) -> None:
    """Whatever byte of a wheel is flipped, it is refused with a sentence or comes to the same contents. (Permissions
    stand in no RECORD: the lock's sha256 of the whole wheel is what vouches for them.)"""
    made = files.wheel("demo", demo(**{"demo-1.0.data__scripts__tool": b"#!/bin/sh\n" + bytes(300)}))
    path = files.paths[made.url]
    sound = path.read_bytes()

    def contents() -> dict[str, bytes]:
        try:
            return {name: content(node) for name, node in installed(files).entries()}
        except Permanent as error:
            return {"refused": str(error).encode()}

    same, refusals = contents(), 0
    for place in range(0, len(sound), 3):
        path.write_bytes(sound[:place] + bytes([sound[place] ^ 0x41]) + sound[place + 1 :])
        found = contents()
        refusals += "refused" in found
        assert found == same or found["refused"].endswith(b"."), place
    assert refusals > len(sound) // 12
