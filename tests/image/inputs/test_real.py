"""The committed locks against the real archives: every input is to be had, and the bases run."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from shared.image import debian
from shared.image import lock as locks
from shared.image import spec as specs
from shared.image.inputs import Cache
from shared.image.lock import Sources
from shared.model.image import ImageLock

pytestmark = [
    pytest.mark.network,
    pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap runs what the images hold"),
]
ALL = specs.built_in()
DIFFERENT = sorted(
    {
        specs.resolved_from(specs.read(specs.find(name)), specs.BUILT_IN): name for name in reversed(ALL)
    }.values()
)
"""Of the specs that ask for the same inputs, one."""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    kept = os.environ.get("DMZ_TEST_CACHE")
    return Cache(Path(kept) if kept else tmp_path_factory.mktemp("inputs"))


def lock_of(name: str) -> ImageLock:
    path = specs.find(name)
    return specs.read_lock(specs.read(path), path)


def run(root: Path, *command: str, tmp: Path | None = None) -> str:
    """The output of `command` in a sandbox that has nothing but `root`."""
    writable: Sequence[str | Path] = ("--bind", tmp, "/tmp") if tmp else ("--tmpfs", "/tmp")
    done = subprocess.run(
        [
            *(
                "bwrap",
                "--ro-bind",
                root,
                "/",
                "--proc",
                "/proc",
                "--dev",
                "/dev",
                *writable,
                "--unshare-all",
            ),
            *("--clearenv", "--setenv", "PATH", "/usr/bin", "--chdir", "/tmp", *command),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("name", DIFFERENT)
def test_every_input_is_to_be_had(name: str, cache: Cache) -> None:
    locked = lock_of(name)
    cache.prefetch(locked.inputs)
    for each in locked.inputs:
        assert cache.path(each).stat().st_size == each.size


@pytest.mark.parametrize("name", DIFFERENT)
def test_layers_have_no_conflict(name: str, cache: Cache) -> None:
    path = specs.find(name)
    spec, locked = specs.read(path), lock_of(name)
    assert debian.base_layer(spec, locked, cache.path).tree().get("usr/lib/x86_64-linux-gnu/libc.so.6")
    upper = [each for each in locked.inputs if each.role in ("interpreter", "native")]
    if upper:
        assert len(debian.packages_layer("upper", upper, cache.path, spec.exclude).tree()) > len(upper)


def test_who_asks_for_the_same_gets_the_same() -> None:
    inputs: dict[str, set[object]] = {}
    for name in ALL:
        resolved = specs.resolved_from(specs.read(specs.find(name)), specs.BUILT_IN)
        inputs.setdefault(resolved, set()).add(lock_of(name).inputs)
    assert {len(each) for each in inputs.values()} == {1}


def test_a_java_base_runs_java(cache: Cache, tmp_path: Path) -> None:
    path = specs.find("sample_java")
    tree = debian.base_layer(specs.read(path), lock_of("sample_java"), cache.path).tree()
    debian.write(tree, tmp_path / "root")
    assert 'openjdk version "17.' in run(tmp_path / "root", "java", "-version")
    trusted = run(tmp_path / "root", "keytool", "-list", "-cacerts", "-storepass", "changeit")
    assert trusted.count("trustedCertEntry") > 100


def test_a_python_base_and_its_interpreter_run(cache: Cache, tmp_path: Path) -> None:
    locked = lock_of("quickstart_data")
    archives = [cache.path(each) for each in locked.inputs if each.role in ("base", "interpreter")]
    debian.unpack(archives, tmp_path / "root")
    program = (
        "import bz2, ctypes, curses, lzma, pwd, readline, sqlite3, ssl, uuid, zlib\n"
        "print(len(ssl.create_default_context().get_ca_certs()), pwd.getpwuid(0).pw_name)"
    )
    number, user = run(tmp_path / "root", "python3.11", "-c", program).split()
    assert int(number) > 100
    assert user == "root"


def test_a_compile_sandbox_compiles(cache: Cache, tmp_path: Path) -> None:
    locked = lock_of("sample_jni")
    debian.unpack(
        [cache.path(each) for each in locked.inputs if each.role in ("jdk", "compiler")], tmp_path / "root"
    )
    work = tmp_path / "work"
    work.mkdir()
    (work / "a.cc").write_text(
        "#include <iostream>\n#include <jni.h>\nint main() { std::cout << JNI_VERSION_10; }\n"
    )
    (work / "A.java").write_text(
        'class A { public static void main(String[] a) { System.out.print("ran"); } }\n'
    )
    headers = "/usr/lib/jvm/java-17-openjdk-amd64/include"
    flags = ("-std=c++17", "-stdlib=libc++", "-fuse-ld=lld", f"-I{headers}", f"-I{headers}/linux")
    run(tmp_path / "root", "c++", *flags, "a.cc", "-o", "a", tmp=work)
    run(tmp_path / "root", "javac", "A.java", tmp=work)
    assert run(tmp_path / "root", "java", "A", tmp=work) == "ran"
    assert run(tmp_path / "root", "./a", tmp=work) == str(0x000A0000)


def test_resolving_twice_gives_one_lock(cache: Cache) -> None:
    spec = specs.read(specs.find("quickstart_data"))
    assert locks.resolve(spec, Sources(cache)) == locks.resolve(spec, Sources(cache))
