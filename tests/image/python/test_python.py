"""The layers of a Python service: the layout, path by path, and what their keys follow from."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.errors import Permanent
from shared.image import python, tar
from shared.image.plan import Layer
from shared.image.python_paths import manifest
from shared.model.image import ImageSpec
from tests.image.python.support import RUNFILES, SPEC, Files, content, demo, interpreter, shown
from tests.upstream.support import wheel_members

PYTHON = f"{RUNFILES}/python_x86_64-unknown-linux-gnu"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    directory = tmp_path / "src"
    (directory / "task").mkdir(parents=True)
    (directory / "main.py").write_text("import demo\n")
    (directory / "task/helper.py").write_text("y = 2\n")
    (directory / "run.sh").write_text("#!/bin/sh\n")
    (directory / "run.sh").chmod(0o700)
    return directory


@pytest.fixture
def files(tmp_path: Path) -> Files:
    directory = tmp_path / "cache"
    directory.mkdir()
    made = Files(directory)
    interpreter(made)
    made.wheel("demo", demo())
    made.wheel("Other.Thing", wheel_members("Other.Thing", "1.0", {"other/__init__.py": b""}))
    return made


def layers(files: Files, source: Path, spec: ImageSpec = SPEC) -> dict[str, Layer]:
    return {each.name: each for each in python.layers(spec, source, files.lock(spec), files.get())}


def test_the_layers_are_interpreter_packages_workload(files: Files, source: Path) -> None:
    assert [*layers(files, source)] == ["interpreter", "packages", "workload"]


def test_the_interpreter_lies_in_the_runfiles(files: Files, source: Path) -> None:
    found = shown(layers(files, source)["interpreter"].tree())
    assert found[f"{PYTHON}/bin/python3.11"] == (0o755, b"\x7fELF interpreter")
    assert found[f"{PYTHON}/bin/python3"] == "python3.11"
    assert found[f"{PYTHON}/lib/python3.11/os.py"] == (0o644, b"name = 'posix'\n")
    assert found[f"{PYTHON}/lib/python3.11/lib-dynload/_json.so"] == (0o644, b"\x7fELF")
    assert found[f"{PYTHON}/lib/python3.11/_data.py"] == "os.py"
    assert f"{PYTHON}/lib/python3.11/sitecustomize.py" not in found
    assert found["usr/share/doc/python3.11-minimal/copyright"] == (0o644, b"PSF")
    assert "usr/share/doc/python3.11-minimal/changelog" not in found  # by `exclude`
    assert "var/lib/dpkg/status.d/python3.11-minimal" in found
    assert not any(path.startswith(("usr/bin", "usr/lib/python", "etc/")) for path in found)


def test_packages_lie_side_by_side(files: Files, source: Path) -> None:
    found = shown(layers(files, source)["packages"].tree())
    assert found[f"{RUNFILES}/pypi_demo/site-packages/demo/__init__.py"] == (0o644, b"x = 1\n")
    assert f"{RUNFILES}/pypi_other_thing/site-packages/other/__init__.py" in found
    assert {path.split("/")[2] for path in found} == {"pypi_demo", "pypi_other_thing"}


def test_the_workload(files: Files, source: Path) -> None:
    tree = layers(files, source)["workload"].tree()
    found = shown(tree)
    assert set(found) == {
        "demo_service/demo_service",
        "demo_service/demo_service.runfiles_manifest",
        f"{RUNFILES}/_main/main.py",
        f"{RUNFILES}/_main/run.sh",
        f"{RUNFILES}/_main/task/helper.py",
    }
    assert found[f"{RUNFILES}/_main/run.sh"] == (0o755, b"#!/bin/sh\n")
    assert found[f"{RUNFILES}/_main/main.py"] == (0o644, b"import demo\n")
    mode, program = found["demo_service/demo_service"]
    assert mode == 0o755
    assert isinstance(program, bytes)
    assert program.decode().splitlines() == [
        f"#!/{PYTHON}/bin/python3 -IBu",
        "import runpy",
        "import sys",
        "",
        f'sys.path.insert(0, "/{RUNFILES}/_main")',
        "sys.path += [",
        f'    "/{RUNFILES}/pypi_demo/site-packages",',
        f'    "/{RUNFILES}/pypi_other_thing/site-packages",',
        "]",
        'runpy.run_module("main", run_name="__main__", alter_sys=True)',
    ]


def test_the_manifest_names_what_stands_below_the_runfiles(files: Files, source: Path) -> None:
    made = {name: layer.tree() for name, layer in layers(files, source).items()}
    lines = content(made["workload"].get("demo_service/demo_service.runfiles_manifest")).decode().splitlines()
    assert lines == sorted(lines)
    there = {path for tree in made.values() for path, _ in tree.entries()}
    for line in lines:
        path, target = line.split(" ")
        assert target == f"/{RUNFILES}/{path}"
        assert any(each == target[1:] or each.startswith(f"{target[1:]}/") for each in there)
    below = {path.removeprefix(f"{RUNFILES}/") for path in there if path.startswith(f"{RUNFILES}/")}
    named = [line.split(" ")[0] for line in lines]
    assert all(any(path == name or path.startswith(f"{name}/") for name in named) for path in below)


def test_odd_names_are_escaped_as_bazel_does() -> None:
    assert manifest([("b", "/b"), ("a b\\c", "/a b\\c")]) == b" a\\sb\\bc /a b\\bc\nb /b\n"


def test_the_configuration() -> None:
    config = python.config(SPEC)
    assert config.entrypoint == ("/demo_service/demo_service",)
    assert config.cmd == ("--verbose",)
    assert config.labels["tee.launch_policy.allow_env_override"] == "DMZ_SERVICE"
    assert config.labels["tee.launch_policy.log_redirect"] == "always"
    assert config.ports == (8080,)


def test_only_what_changed_has_another_key(files: Files, source: Path) -> None:
    before = {name: layer.key for name, layer in layers(files, source).items()}
    (source / "task/helper.py").write_text("y = 3\n")
    after = {name: layer.key for name, layer in layers(files, source).items()}
    assert {name for name in before if before[name] != after[name]} == {"workload"}
    (source / "run.sh").chmod(0o600)
    assert layers(files, source)["workload"].key != after["workload"]
    files.wheel("third", wheel_members("third", "1.0", {"third.py": b""}))
    more = {name: layer.key for name, layer in layers(files, source).items()}
    assert more["packages"] != before["packages"]
    assert more["interpreter"] == before["interpreter"]
    other = SPEC.model_copy(update={"exclude": ()})
    assert layers(files, source, other)["interpreter"].key != before["interpreter"]
    named = SPEC.model_copy(update={"name": "demo_two"})
    renamed = {name: layer.key for name, layer in layers(files, source, named).items()}
    assert not set(renamed.values()) & set(more.values())


def _variations(files: Files, source: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    yield "as it is"
    random.Random(3).shuffle(files.inputs)  # noqa: S311 - the same order each time
    yield "inputs in another order"
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    monkeypatch.setenv("LC_ALL", "tr_TR.UTF-8")
    yield "time zone and locale"
    umask = os.umask(0o077)
    try:
        yield "umask"
    finally:
        os.umask(umask)
    for path in source.rglob("*"):
        os.utime(path, (1, 1))
    (source / "main.py").chmod(0o600)
    yield "times and bits that do not count"
    (source / "__pycache__").mkdir()
    (source / "__pycache__/main.cpython-312.pyc").write_bytes(b"old")
    (source / ".git").mkdir()
    (source / ".git/HEAD").write_text("x")
    yield "what tools leave among the sources"


def test_the_same_bytes_under_every_variation(
    files: Files, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[tuple[bytes, ...], str] = {}
    for variation in _variations(files, source, monkeypatch):
        made = layers(files, source).values()
        archives = [
            part for layer in made for part in (layer.key.encode(), b"".join(tar.blocks(layer.tree())))
        ]
        seen[tuple(archives)] = variation
        assert len(seen) == 1, variation


def test_a_source_that_changes_while_it_is_built(files: Files, source: Path) -> None:
    layer = layers(files, source)["workload"]
    (source / "main.py").write_text("import evil\n")
    with pytest.raises(Permanent, match=r"main.py changed while the image was built"):
        for _ in tar.blocks(layer.tree()):
            pass


def test_sources_that_are_refused(files: Files, source: Path) -> None:
    (source / "passwd").symlink_to("/etc/passwd")
    with pytest.raises(Permanent, match="is a link or a device"):
        layers(files, source)
    (source / "passwd").unlink()
    (source / "main.py").unlink()
    with pytest.raises(Permanent, match=r"The program main.py is not among the sources"):
        layers(files, source)
    with pytest.raises(Permanent, match="it is no directory"):
        layers(files, source / "nowhere")


def test_a_lock_without_or_with_two_interpreters(files: Files, source: Path) -> None:
    files.deb("interpreter", "python3.13-minimal", {"usr/bin/python3.13": b"x"})
    with pytest.raises(Permanent, match=r"bring python3.11, python3.13; name those of one Python"):
        layers(files, source)["interpreter"].tree()
    files.inputs = [each for each in files.inputs if each.role != "interpreter"]
    with pytest.raises(Permanent, match="names no interpreter"):
        layers(files, source)
