"""dmz-fetch: from the URL and noted in the outer VM, from the lock and held to its hash in the inner one."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import pytest

from shared.guest import artifacts, fetch, inventory, web
from shared.guest.config import generic_id
from shared.guest.failure import GuestError
from shared.guest.metadata import Metadata
from tests.guest.parts import Answer, config, server, sha256, token_answer

_URL = "https://files.example/licence.txt"


def test_the_outer_vm_notes_what_came(tmp_path: Path) -> None:
    journal, to = tmp_path / "fetched.jsonl", tmp_path / "deep/licence.txt"
    with server(lambda *_: (200, b"do as you like\n")) as url:
        entry = fetch.from_internet(f"{url}/licence.txt", to, journal)
        fetch.from_internet(f"{url}/licence.txt", to, journal)
    assert entry == {
        "url": f"{url}/licence.txt",
        "sha256": sha256(to),
        "size": 15,
        "path": str(to),
    }
    assert inventory.generic(journal) == [entry]


@pytest.mark.parametrize("bad", ["http://files.example/x", "file:///etc/passwd", "https://a b/", "--help"])
def test_only_plain_https_urls_are_fetched(bad: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert fetch.main([bad, "/tmp/x"]) == 1
    assert "https URLs" in capsys.readouterr().err


def _inner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stored: bytes, locked: bytes) -> Path:
    """Fetch through the lock from a repository that stores `stored` where the lock says `locked`."""
    (tmp_path / "locked").write_bytes(locked)
    digest = sha256(tmp_path / "locked")
    monkeypatch.setattr(fetch, "LOCK", tmp_path / "lock.json")
    monkeypatch.setattr(inventory, "FETCHED", tmp_path / "fetched.jsonl")
    fetch.LOCK.write_text(json.dumps({"generic": [{"url": _URL, "sha256": digest, "size": len(locked)}]}))
    seen = []

    def answer(method: str, path: str, body: bytes, headers: dict[str, str]) -> Answer:
        if path.endswith("/token"):
            return token_answer()
        seen.append((path, headers.get("Authorization")))
        return 200, stored

    with server(answer) as url:
        monkeypatch.setattr(artifacts, "HOST", url)
        to = tmp_path / "out"
        fetch.from_lock(config("inner"), Metadata(url), _URL, to)
    place = f"/v1/projects/proj/locations/us-central1/repositories/generic/files/{generic_id(digest)}"
    assert seen == [(f"{place}:download?alt=media", "Bearer ya29.test")]
    return to


def test_the_inner_vm_gets_the_locked_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _inner(tmp_path, monkeypatch, b"same", b"same").read_bytes() == b"same"
    assert [each["url"] for each in inventory.generic(inventory.FETCHED)] == [_URL]


def test_other_bytes_are_refused_and_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(GuestError, match="not used"):
        _inner(tmp_path, monkeypatch, b"other", b"same")
    assert not (tmp_path / "out").exists()


def test_what_the_lock_does_not_name_is_not_to_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "LOCK", tmp_path / "lock.json")
    fetch.LOCK.write_text('{"generic": []}')
    with pytest.raises(GuestError, match="holds nothing for"):
        fetch.from_lock(config("inner"), Metadata("http://127.0.0.1:9"), _URL, tmp_path / "out")


def test_a_passing_error_is_tried_again_and_a_final_one_is_not(tmp_path: Path) -> None:
    calls = {"/busy": 0, "/gone": 0}

    def answer(method: str, path: str, body: bytes, headers: dict[str, str]) -> Answer:
        calls[path] += 1
        return (404, b"no such file") if path == "/gone" else (200 if calls[path] == 2 else 503, b"here")

    with server(answer) as url:
        assert web.download(f"{url}/busy", tmp_path / "x")[1] == 4
        with pytest.raises(GuestError, match="HTTP 404 Not Found no such file"):
            web.download(f"{url}/gone", tmp_path / "y")
        assert calls == {"/busy": 2, "/gone": 1}
    with pytest.raises(GuestError, match=r"did not give /busy: .*refused"):
        web.download(f"{url}/busy", tmp_path / "z", patience=0)
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize(
    ("to", "kept"),
    [("https://artifactregistry.googleapis.com/y", True), ("https://storage.googleapis.com/y", False)],
)
def test_a_redirect_takes_no_token_to_another_host(to: str, kept: bool) -> None:
    asked = urllib.request.Request(
        "https://artifactregistry.googleapis.com/x", headers={"Authorization": "Bearer ya29.test"}
    )
    followed = web._SafeRedirect().redirect_request(asked, None, 302, "Found", {}, to)
    assert followed is not None
    assert followed.has_header("Authorization") is kept


def test_a_redirect_leads_to_https_only() -> None:
    asked = urllib.request.Request("https://files.example/x")
    with pytest.raises(GuestError, match="not https"):
        web._SafeRedirect().redirect_request(asked, None, 302, "Found", {}, "http://files.example/x")
