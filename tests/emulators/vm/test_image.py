"""The root image: what is in it, that it is built once a day, and what serves when it cannot be built."""

from __future__ import annotations

import datetime
import fcntl
import os
import tarfile
from pathlib import Path

import pytest

from shared.emulators.vm import idmap, image, trust
from shared.emulators.vm.engine import Engine
from shared.errors import Permanent, Transient
from tests.emulators.vm.conftest import inside, spec

DAY = datetime.date(2026, 3, 1)


@pytest.fixture
def mmdebstrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in that writes a tiny tar, or fails while the file `broken` exists; it counts its runs in `runs`."""
    tools = tmp_path / "tools"
    tools.mkdir()
    with tarfile.open(tools / "root.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("hello"))
    script = tools / "mmdebstrap"
    script.write_text(
        f"#!/bin/sh\necho x >> {tools}/runs\ncat > /dev/null\n"
        f"if [ -e {tools}/broken ]; then echo 'E: no network' >&2; exit 1; fi\ncat {tools}/root.tar\n"
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    return tools


def runs(tools: Path) -> int:
    return len((tools / "runs").read_text().split())


def test_it_is_built_once_a_day(mmdebstrap: Path, tmp_path: Path) -> None:
    first = image.prepare(tmp_path / "cache", DAY)
    assert (first.root / "hello").is_file()
    assert (first.built, first.stale) == ("20260301", None)
    assert image.prepare(tmp_path / "cache", DAY) == first
    assert runs(mmdebstrap) == 1
    second = image.prepare(tmp_path / "cache", DAY + datetime.timedelta(1))
    assert runs(mmdebstrap) == 2
    assert second.root != first.root
    assert not first.root.exists()  # yesterday's is removed


def test_an_older_one_serves_when_it_cannot_be_built_and_says_so(mmdebstrap: Path, tmp_path: Path) -> None:
    first = image.prepare(tmp_path / "cache", DAY)
    (mmdebstrap / "broken").touch()
    said: list[str] = []
    later = image.prepare(tmp_path / "cache", DAY + datetime.timedelta(3), said.append)
    assert later.root == first.root
    assert later.stale
    assert "one from 20260301 serves" in later.stale
    assert "E: no network" in later.stale
    assert later.stale in said


def test_with_no_older_one_the_failure_is_said(mmdebstrap: Path, tmp_path: Path) -> None:
    (mmdebstrap / "broken").touch()
    with pytest.raises(Transient, match="mmdebstrap failed: E: no network"):
        image.prepare(tmp_path / "cache", DAY)
    assert not list((tmp_path / "cache").glob("*.partial"))


def test_a_missing_tool_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Permanent, match=r"mmdebstrap is missing: install .* `mmdebstrap`"):
        image.prepare(tmp_path / "cache", DAY)


def test_a_root_in_use_is_not_pruned(mmdebstrap: Path, tmp_path: Path) -> None:
    first = image.prepare(tmp_path / "cache", DAY)
    held = image.hold(first)
    image.prepare(tmp_path / "cache", DAY + datetime.timedelta(1))
    assert first.root.is_dir()
    os.close(held)
    image.prepare(tmp_path / "cache", DAY + datetime.timedelta(2))
    assert not first.root.exists()


def test_an_unpacking_that_was_killed_is_done_again(mmdebstrap: Path, tmp_path: Path) -> None:
    first = image.prepare(tmp_path / "cache", DAY)
    first.root.rename(first.root.with_suffix(".unpacking"))
    assert (image.prepare(tmp_path / "cache", DAY).root / "hello").is_file()


def test_two_at_once_build_one(mmdebstrap: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    with (tmp_path / "cache" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        child = os.fork()
        if child == 0:
            lock.close()
            image.prepare(tmp_path / "cache", DAY)
            os._exit(0)
        assert not (mmdebstrap / "runs").exists()
        fcntl.flock(lock, fcntl.LOCK_UN)
        image.prepare(tmp_path / "cache", DAY)
        assert os.waitpid(child, 0)[1] == 0
    assert runs(mmdebstrap) == 1


def test_the_guest_is_debian_13_with_three_signed_suites(engine: Engine, root: Path) -> None:
    engine.boot(spec())
    done = inside(
        engine,
        "vm",
        "sh",
        "-c",
        ". /etc/os-release; echo $VERSION_CODENAME; cat /etc/apt/sources.list.d/*; ls /etc/apt/sources.list.d",
    )
    assert done.stdout == f"trixie\n{image.SOURCES}debian.sources\n"
    if idmap.as_root():
        assert (root / "etc/passwd").stat().st_uid == idmap.BASE


def test_the_trust_store_holds_image_host_and_local_authority() -> None:
    pem = "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n"
    common, only_host, ours = pem.format("AAAA"), pem.format("BBBB"), pem.format("CCCC")
    files = trust.files(common, f"# a comment\n{common}{only_host}", ours)
    assert files[trust.BUNDLE] == common + only_host + ours
    extra = {path: text for path, text in files.items() if path != trust.BUNDLE}
    assert sorted(extra.values()) == [only_host, ours]
    assert all(
        path.startswith("/usr/local/share/ca-certificates/") and path.endswith(".crt") for path in extra
    )


def test_updating_the_trust_store_inside_keeps_the_local_authority(engine: Engine) -> None:
    engine.boot(spec())
    done = inside(
        engine,
        "vm",
        "sh",
        "-c",
        "update-ca-certificates >/dev/null && curl -sS https://pubsub.googleapis.com/",
    )
    assert '"status": "PERMISSION_DENIED"' in done.stdout, done.stderr
