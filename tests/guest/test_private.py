"""An inner VM's configuration leads to the private repositories alone, and shows its token to nobody."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.guest import private, web
from shared.guest.metadata import Metadata
from tests.guest.parts import config, server, token_answer


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    folder = tmp_path / "etc"
    (folder / "apt/sources.list.d").mkdir(parents=True)
    (folder / "apt/sources.list").write_text("deb http://deb.debian.org/debian trixie main\n")
    (folder / "apt/sources.list.d/debian.sources").write_text(
        "Types: deb\nURIs: http://deb.debian.org/debian\n"
    )
    (folder / "apt/sources.list.d/google.list").write_text(
        "deb https://packages.cloud.google.com/apt x main\n"
    )
    return folder


@pytest.mark.parametrize(
    ("key", "suffix"), [(b"-----BEGIN PGP PUBLIC KEY BLOCK-----", "asc"), (b"\x99\x01", "gpg")]
)
def test_apt_has_one_source(etc: Path, key: bytes, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(web, "request", lambda url, **_: asked.append(url) or key)
    access = private.Access(config("inner"), Metadata("http://127.0.0.1:9"), etc)
    access.replace_sources()
    assert asked == ["https://us-central1-apt.pkg.dev/doc/repo-signing-key.gpg"]
    (left,) = [
        path for path in (etc / "apt").rglob("*") if path.is_file() and path.suffix in (".list", ".sources")
    ]
    assert left.read_text() == (
        "Types: deb\nURIs: https://us-central1-apt.pkg.dev/projects/proj\nSuites: trixie\nComponents: main\n"
        f"Signed-By: {etc}/apt/keyrings/dmz.{suffix}\n"
    )
    assert (etc / f"apt/keyrings/dmz.{suffix}").read_bytes() == key


def test_credentials_are_in_files_for_root_only_and_only_while_needed(etc: Path, tmp_path: Path) -> None:
    netrc, apt = tmp_path / ".netrc", etc / "apt/auth.conf.d/dmz.conf"
    with server(lambda *_: token_answer()) as url:
        access = private.Access(config("inner"), Metadata(url), etc, netrc)
        with access:
            entry = "login oauth2accesstoken password ya29.test\n"
            assert netrc.read_text() == f"machine us-central1-python.pkg.dev {entry}"
            assert apt.read_text() == f"machine https://us-central1-apt.pkg.dev/ {entry}"
            assert [path.stat().st_mode & 0o777 for path in (netrc, apt)] == [0o600, 0o600]
        access.write_credentials()  # a refresh that comes late
    assert not netrc.exists()
    assert not apt.exists()
    assert access.index_url == "https://us-central1-python.pkg.dev/proj/python/simple/"
