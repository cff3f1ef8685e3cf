"""Which advisories a local platform judges by: named, current, the last download, the snapshot; never silently."""

from __future__ import annotations

import gzip
import os
import threading
import time
import zipfile
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from functions.local import advisories
from functions.local.advisories import SNAPSHOT, SNAPSHOT_NAME, ZIPS_NAME, Choice
from shared.advisories.joined import beside
from shared.errors import Permanent

KEV = '{"dateReleased":"2026-11-20T17:04:19.9Z","count":1,"vulnerabilities":[{"cveID":"CVE-2021-44228"}]}'
EPSS = "#model_version:v2025.03.14,score_date:2026-11-21T12:55:00Z\ncve,epss,percentile\nCVE-2021-44228,0.9,0.9\n"
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def osv(tmp_path: Path) -> Iterator[str]:
    """A server of two small zips."""
    for ecosystem in ("PyPI", "Debian"):
        (tmp_path / "osv" / ecosystem).mkdir(parents=True)
        with zipfile.ZipFile(tmp_path / "osv" / ecosystem / "all.zip", "w") as content:
            content.writestr("X-1.json", '{"id":"X-1","modified":"2026-11-20T00:00:00Z"}')

    (tmp_path / "osv" / "kev.json").write_text(KEV)
    (tmp_path / "osv" / "epss.csv.gz").write_bytes(gzip.compress(EPSS.encode()))

    class Quiet(SimpleHTTPRequestHandler):
        def __init__(self, *given: object) -> None:
            super().__init__(*given, directory=os.fspath(tmp_path / "osv"))  # type: ignore[arg-type]

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def said(_: str) -> None: ...


def choose(cache: Path, policy: str, named: str, progress: advisories.Progress, url: str) -> Choice:
    """What is exploited comes from the same server."""
    return advisories.choose(cache, policy, named, progress, url, (f"{url}/kev.json", f"{url}/epss.csv.gz"))


def test_current_data_is_fetched_and_judged_by_the_default_policy(tmp_path: Path, osv: str) -> None:
    chosen = choose(tmp_path / "cache", "", "", said, osv)
    assert (chosen.policy, chosen.name) == ("default", ZIPS_NAME)
    assert (Path(chosen.advisories) / "Debian" / "all.zip").is_file()
    assert chosen.environment()["DMZ_ADVISORIES"] == chosen.advisories
    assert chosen.note == "Advisories are current (OSV.dev)."


def test_what_is_exploited_is_fetched_beside_them_and_told_in_one_line(tmp_path: Path, osv: str) -> None:
    lines: list[str] = []
    chosen = choose(tmp_path / "cache", "", "", lines.append, osv)
    kev, epss = beside(Path(chosen.advisories), "", "")
    assert kev.now().cves == {"CVE-2021-44228"}
    assert epss.now().of(["CVE-2021-44228"]) == {"CVE-2021-44228": 0.9}
    assert "what is exploited, CISA KEV: 0.0 MB" in lines
    assert "what is exploited, FIRST EPSS: 0.0 MB" in lines


def test_what_is_exploited_and_cannot_be_had_is_said_and_the_advisories_serve(
    tmp_path: Path, osv: str
) -> None:
    (tmp_path / "osv" / "kev.json").unlink()
    chosen = choose(tmp_path / "cache", "", "", said, osv)
    assert (chosen.policy, chosen.name) == ("default", ZIPS_NAME)
    assert "What is exploited is not: There are no advisories at" in chosen.note
    assert "kev.json" in chosen.note
    kev, epss = beside(Path(chosen.advisories), "", "")
    assert epss.now().snapshot.date == "2026-11-21T12:55:00Z"
    with pytest.raises(Permanent, match="cannot be read"):
        kev.now()


def test_the_snapshot_knows_what_is_exploited() -> None:
    kev, _ = beside(SNAPSHOT, "", "")
    assert kev.now().snapshot.date == "2025-08-25T17:04:19.9796Z"
    assert len(kev.now().cves) == 1404


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
