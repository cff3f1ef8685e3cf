"""What stands between the parts: the resolver's cache, and what the base image provides."""

from __future__ import annotations

import calendar
import shutil
from pathlib import Path

import pytest

from shared.errors import Permanent
from shared.model.lock import LockedPython
from shared.model.package import Release
from shared.upstream import connect
from shared.upstream.apt import AptIndexClient
from shared.upstream.download import Downloader
from shared.upstream.mirrors import Mirrors
from tests.support import built
from tests.upstream.apt_repository import Suite, stanza
from tests.upstream.conftest import Signer
from tests.upstream.support import Reply, Web, digest, wheel_members, zipped


@pytest.fixture(autouse=True)
def _temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect.tempfile, "tempdir", str(tmp_path))


def test_the_cache_stays(tmp_path: Path) -> None:
    first = connect._cache()
    assert first == connect._cache()
    assert first.stat().st_mode & 0o077 == 0


def test_a_cache_that_others_can_write_is_not_used(tmp_path: Path) -> None:
    usual = connect._cache()
    usual.chmod(0o777)
    assert connect._cache() != usual
    usual.rmdir()
    (tmp_path / "theirs").mkdir()
    usual.symlink_to(tmp_path / "theirs")
    other = connect._cache()
    assert other != usual
    assert other.stat().st_mode & 0o077 == 0


def offered(web: Web, content: bytes) -> LockedPython:
    filename = "lib-1.0-py3-none-any.whl"
    web.routes[f"/{filename}"] = Reply(content)
    url = f"{web.url}/{filename}"
    return LockedPython(
        name="lib", version="1.0", filename=filename, sha256=digest(content), url=url, record=None
    )


def test_a_wheels_record_is_proved_from_its_bytes(web: Web, tmp_path: Path) -> None:
    made = built.wheel("lib", "1.0")
    assert connect._record(Downloader())(offered(web, made.content)) == made.record
    assert list(tmp_path.iterdir()) == []


def test_a_wheel_that_is_not_as_its_own_record_says_is_no_replacement(web: Web) -> None:
    members = wheel_members("lib", "1.0", {"lib.py": b"good = 1"}) | {"lib.py": b"evil = 1"}
    with pytest.raises(Permanent, match=r"'lib\.py' is not what RECORD says"):
        connect._record(Downloader())(offered(web, zipped(members)))


def test_what_the_base_provides_counts(web: Web, signer: Signer, tmp_path: Path) -> None:
    (tmp_path / "keyrings").mkdir()
    shutil.copy(signer.keyring, tmp_path / "keyrings" / "debian-13.gpg")
    stanzas = (
        stanza("mawk", "1.3.4-1", Provides="awk"),
        stanza("app", "1.0", Depends="awk, libc6 (>= 2.41)"),
        stanza("tool", "1.0", Architecture="all", Depends="gawk"),
    )
    Suite(signer, stanzas=stanzas).publish(web)
    Suite(signer, "trixie-updates").publish(web)
    Suite(signer, "trixie-security", "/debian-security").publish(web)
    apt = AptIndexClient(
        Mirrors(f"{web.url}/debian", f"{web.url}/debian-security"),
        tmp_path / "keyrings",
        clock=lambda: float(calendar.timegm((2026, 11, 21, 20, 0, 0))),
    )
    trixie = Release(id="debian", version_id="13", codename="trixie", architecture="amd64")
    archives, check = apt.archives(trixie), connect._unmet(apt)
    base = {("mawk", "amd64"): "1.3.4-1", ("libc6", "amd64"): "2.41-12", ("tzdata", "all"): "2026a"}
    assert check(archives["app", "amd64"], base) == ""
    assert "needs 'gawk'" in check(archives["tool", "all"], base)
    del base["mawk", "amd64"]
    assert "needs 'awk'" in check(archives["app", "amd64"], base)
