"""The same image whatever differs from machine to machine, one thing after the other, and all of it at once.

Every variation is shown to be one: a builder that lets it into the image (`leak`) comes out different under it.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.emulators.registry.support import need
from tests.image.kit.world import Build, copied_checkout, shuffled

Vary = Callable[[Build, Path], Build]


def leaking(build: Build, name: str) -> Build:
    return replace(build, environment={**build.environment, "KIT_LEAK": name})


def environment(build: Build, **variables: str) -> Build:
    return replace(build, environment={**build.environment, **variables})


def namespace(build: Build, *command: str) -> Build:
    return replace(build, command=(need("unshare", "util-linux"), "--user", *command, *build.command))


def elsewhere(build: Build, tmp: Path) -> Build:
    deep = tmp / "an other place" / ("x" * 100)
    deep.parent.mkdir()
    return replace(build, world=build.world.copy(deep))


def at_home(build: Build, tmp: Path) -> Build:
    (tmp / "home").mkdir()
    return environment(build, HOME=str(tmp / "home"))


def with_shuffled_lock(build: Build, tmp: Path) -> Build:
    moved = replace(build, world=build.world.copy(tmp / "shuffled"))
    shuffled(moved.world.spec, 5)
    return moved


def under_faketime(build: Build, when: str = "2031-02-03 04:05:06") -> Build:
    changed = environment(build, FAKETIME_DONT_FAKE_MONOTONIC="1")
    return replace(changed, command=(need("faketime", "faketime"), when, *build.command))


def on_one_processor(build: Build) -> Build:
    return replace(build, command=(need("taskset", "util-linux"), "--cpu-list", "0", *build.command))


def named(build: Build, host: str = "other-host") -> Build:
    shell = ("sh", "-c", f'hostname {host} && exec "$@"', "sh")
    return namespace(build, "--map-root-user", "--uts", *shell)


VARIATIONS: dict[str, tuple[str, Vary]] = {
    "time zone": ("zone", lambda build, _: environment(build, TZ="Pacific/Kiritimati")),
    "umask": ("umask", lambda build, _: replace(build, umask=0o077)),
    "open umask": ("umask", lambda build, _: replace(build, umask=0)),
    "user": ("user", lambda build, _: namespace(build, "--map-user=4321", "--map-group=4321")),
    "checkout": (
        "checkout",
        lambda build, tmp: replace(build, root=copied_checkout(tmp / "checkout", build.root)),
    ),
    "path of the spec": ("place", elsewhere),
    "home": ("home", at_home),
    "host name": ("host", lambda build, _: named(build)),
    "clock": ("clock", lambda build, _: under_faketime(build)),
    "clock of Python alone": ("year", lambda build, _: environment(build, KIT_CLOCK="150000000")),
    "clock before 1980": ("clock", lambda build, _: under_faketime(build, "1971-01-01 00:00:01")),
    "order of directories": ("order", lambda build, _: environment(build, KIT_SHUFFLE="7")),
    "one processor": ("processors", lambda build, _: on_one_processor(build)),
    "hash seed": ("hash", lambda build, _: environment(build, PYTHONHASHSEED="4242")),
    "order of the lock": ("lock", with_shuffled_lock),
}


@pytest.mark.parametrize("name", VARIATIONS)
def test_one_thing_differs(name: str, plain: Build, expected: str, tmp_path: Path) -> None:
    leak, vary = VARIATIONS[name]
    if leak == "hash":
        plain = environment(plain, PYTHONHASHSEED="1")
    if leak == "processors":
        assert len(os.sched_getaffinity(0)) > 1, "with one processor there is nothing to take away"
    varied = vary(plain, tmp_path)
    assert varied.run() == expected
    caught = leaking(varied, leak).run()
    assert caught not in (expected, leaking(plain, leak).run()), f"the kit would not see {leak}"


@pytest.mark.parametrize("charset", ["UTF-8", "ISO-8859-9"])
def test_turkish(plain: Build, expected: str, turkish: Path, charset: str) -> None:
    """The second takes the bytes of file names for other letters."""
    varied = environment(plain, LC_ALL=f"tr_TR.{charset}", LOCPATH=str(turkish))
    assert varied.run() == expected
    assert leaking(varied, "locale").run() != leaking(plain, "locale").run()


def test_no_locale_at_all(plain: Build, expected: str) -> None:
    assert environment(plain, LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0").run() == expected


@pytest.mark.parametrize("codec", ["zstd", "stored"])
def test_other_codecs_on_one_processor(codec: str, plain: Build, expected: str) -> None:
    """The digest of the configuration is the same: it covers what the layers hold."""
    one = replace(plain, codec=codec)
    found = one.run()
    assert on_one_processor(environment(one, TZ="Asia/Tokyo", PYTHONHASHSEED="3")).run() == found
    assert found.split()[0] != expected.split()[0]
    assert found.split()[1] == expected.split()[1]


@contextmanager
def disordered(folder: Path) -> Iterator[Path]:
    """`folder` with its directories in random order, by disorderfs."""
    seen = folder.with_name("disordered")
    seen.mkdir()
    command = [need("disorderfs", "disorderfs"), "--shuffle-dirents=yes", "--quiet", str(folder), str(seen)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"FUSE is not to be had here, so the order is only shuffled in Python: {done.stderr}")
    try:
        yield seen
    finally:
        subprocess.run(["fusermount", "-u", "-z", str(seen)], check=True)


def test_a_file_system_that_gives_another_order_each_time(
    plain: Build, expected: str, tmp_path: Path
) -> None:
    with disordered(plain.world.copy(tmp_path / "copy").folder) as folder:
        varied = replace(plain, world=replace(plain.world, folder=folder))
        assert {varied.run() for _ in range(2)} == {expected}
        assert len({leaking(varied, "order").run() for _ in range(4)}) > 1


def test_layers_from_the_cache(plain: Build, expected: str, tmp_path: Path) -> None:
    warm = replace(plain, layers=tmp_path / "layers")
    assert [warm.run() for _ in range(2)] == [expected] * 2
    assert leaking(warm, "cache").run() != leaking(plain, "cache").run()


@pytest.mark.parametrize("into", [b"", b"x" * 100, None])
def test_a_cache_that_was_damaged(plain: Build, expected: str, tmp_path: Path, into: bytes | None) -> None:
    """Every file of it, emptied, overwritten, or with one bit turned; and the layout of the build before as well."""
    build = replace(plain, layers=tmp_path / "layers", out=tmp_path / "out")
    assert build.run() == expected
    damaged = 0
    for path in [*(tmp_path / "layers").rglob("*"), *(tmp_path / "out" / "blobs").rglob("*")]:
        if path.is_file() and path.stat().st_size:
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 1
            path.write_bytes(bytes(data) if into is None else into)
            damaged += 1
    assert damaged > 8
    assert build.run() == expected
    assert replace(build, out=tmp_path / "fresh").run() == expected


def test_inputs_that_were_damaged_are_fetched_anew(plain: Build, expected: str, tmp_path: Path) -> None:
    world = plain.world.copy(tmp_path / "copy")
    files = [path for path in world.inputs.rglob("*") if path.is_file()]
    for number, path in enumerate(files):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data) if number % 2 else path.unlink()
    assert len(files) >= 4
    before = len(plain.world.web.requests)
    assert replace(plain, world=world).run() == expected
    assert len(plain.world.web.requests) - before == len(files)


def test_builds_that_are_killed(plain: Build, expected: str, tmp_path: Path) -> None:
    """At random moments, over the same caches and the same layout; then a whole one."""
    build = replace(
        plain, layers=tmp_path / "layers", out=tmp_path / "out", world=plain.world.copy(tmp_path / "copy")
    )
    began = time.monotonic()
    assert build.run() == expected
    took, moments, killed = time.monotonic() - began, random.Random(20261121), 0  # noqa: S311 - moments, no secret
    for _ in range(8):
        if moments.random() < 0.5:
            shutil.rmtree(tmp_path / "layers", ignore_errors=True)
        shutil.rmtree(tmp_path / "copy" / "inputs", ignore_errors=True)
        child = build.start()
        try:
            child.communicate(timeout=took * moments.uniform(0.3, 1.0))
        except subprocess.TimeoutExpired:
            child.kill()
            child.communicate()
            killed += 1
    assert killed >= 3, "no build was interrupted"
    assert build.run() == expected
    assert replace(build, out=tmp_path / "fresh", layers=tmp_path / "cold").run() == expected


def test_everything_at_once(plain: Build, expected: str, tmp_path: Path, turkish: Path) -> None:
    varied = with_shuffled_lock(at_home(plain, tmp_path), tmp_path)
    varied = named(under_faketime(on_one_processor(varied)))
    variables = {
        "TZ": "America/St_Johns", "LC_ALL": "tr_TR.UTF-8", "LOCPATH": str(turkish),
        "PYTHONHASHSEED": "99", "KIT_SHUFFLE": "3",
    }  # fmt: skip
    varied = environment(
        replace(varied, umask=0o027, root=copied_checkout(tmp_path / "c", plain.root)), **variables
    )
    assert varied.run() == expected


MODELS = ("qemu64", "Nehalem", "EPYC", "max")


def test_other_processors(plain: Build) -> None:
    """The codecs under an emulated processor, old and new: nothing else of a build computes."""
    words = [sys.executable, "-P", "-m", "tests.image.kit.child", "codecs"]
    here = plain.run(words)
    qemu = need("qemu-x86_64", "qemu-user")
    told = environment(plain, KIT_LEAK="features")
    seen = set()
    for model in MODELS:
        said = told.run([qemu, "-cpu", model, *words])
        assert said.split()[:3] == here.split()[:3], model
        seen.add(said.split()[3])
    assert len(seen) >= 3, "the models do not differ"
