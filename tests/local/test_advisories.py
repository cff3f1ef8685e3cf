"""Which advisories a local platform judges by: named, current, the last download, the snapshot; never silently."""

from __future__ import annotations

import os
import threading
import time
import zipfile
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from functions.local.advisories import SNAPSHOT, SNAPSHOT_NAME, ZIPS_NAME, choose
from shared.errors import Permanent

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def osv(tmp_path: Path) -> Iterator[str]:
    """A server of two small zips."""
    for ecosystem in ("PyPI", "Debian"):
        (tmp_path / "osv" / ecosystem).mkdir(parents=True)
        with zipfile.ZipFile(tmp_path / "osv" / ecosystem / "all.zip", "w") as content:
            content.writestr("X-1.json", '{"id":"X-1","modified":"2026-11-20T00:00:00Z"}')

    class Quiet(SimpleHTTPRequestHandler):
        def __init__(self, *given: object) -> None:
            super().__init__(*given, directory=os.fspath(tmp_path / "osv"))  # type: ignore[arg-type]

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def said(_: str) -> None: ...


def test_current_data_is_fetched_and_judged_by_the_default_policy(tmp_path: Path, osv: str) -> None:
    chosen = choose(tmp_path / "cache", "", "", said, osv)
    assert (chosen.policy, chosen.name) == ("default", ZIPS_NAME)
    assert (Path(chosen.advisories) / "Debian" / "all.zip").is_file()
    assert chosen.environment()["DMZ_ADVISORIES"] == chosen.advisories


def test_without_a_network_the_snapshot_serves_under_the_offline_policy_and_says_so(tmp_path: Path) -> None:
    chosen = choose(tmp_path, "", "", said, NOWHERE)
    assert (chosen.policy, chosen.name, chosen.advisories) == ("offline", SNAPSHOT_NAME, os.fspath(SNAPSHOT))
    assert "cannot be reached" in chosen.note
    assert "snapshot" in chosen.note


def test_a_policy_that_was_named_is_never_replaced(tmp_path: Path) -> None:
    assert choose(tmp_path, "default", "", said, NOWHERE).policy == "default"


def age(cache: Path, hours: float) -> None:
    then = time.time() - hours * 3600
    for path in cache.rglob("all.zip"):
        os.utime(path, (then, then))


def test_the_last_download_is_better_than_the_snapshot_for_a_day(tmp_path: Path, osv: str) -> None:
    choose(tmp_path / "cache", "", "", said, osv)
    age(tmp_path / "cache", 23)
    chosen = choose(tmp_path / "cache", "", "", said, NOWHERE)
    assert (chosen.policy, chosen.name) == ("default", ZIPS_NAME)
    assert "last download" in chosen.note
    age(tmp_path / "cache", 25)
    assert choose(tmp_path / "cache", "", "", said, NOWHERE).name == SNAPSHOT_NAME


def test_a_directory_that_was_named_serves(tmp_path: Path, osv: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    chosen = choose(tmp_path / "cache", "", "osv", said, osv)
    assert chosen.advisories == os.fspath(tmp_path / "osv"), "a stage runs in another directory"


def test_what_was_named_and_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(Permanent, match="There is no directory of advisories at"):
        choose(tmp_path, "", str(tmp_path / "none"), said, NOWHERE)
    with pytest.raises(Permanent, match="There is no policy 'lenient'"):
        choose(tmp_path, "lenient", "", said, NOWHERE)


def test_a_policy_file_is_given_by_its_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from shared.policy.read import BUILT_IN

    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text((BUILT_IN / "default.yaml").read_text())
    assert choose(tmp_path, "mine.yaml", "", said, NOWHERE).policy == os.fspath(tmp_path / "mine.yaml")
