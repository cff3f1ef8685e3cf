"""Provenance from a loopback index: where it may lie, what may come from there, and a real file with a real one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.carrier import Carrier
from shared.errors import Permanent, Transient
from shared.held_files import RECORDS, record_id
from shared.memory.machines import MemoryRegistry
from shared.memory.store import MemoryStore
from shared.model.lock import LockedPython
from shared.model.plan import Transfer
from shared.model.workload import Workload
from shared.ports.upstream import IndexFile
from shared.settings import Settings
from shared.upstream import connect
from shared.upstream.publishers import MAX_SIZE
from shared.upstream.pypi import PythonIndexClient
from shared.upstream.simple_page import HTML, JSON
from tests.upstream import attested
from tests.upstream.attested import CIRCLECI, GITHUB
from tests.upstream.support import Reply, Web

NAME, VERSION = "circleci-sign-publish-example", "0.0.1.dev137"
WHERE = f"/integrity/{NAME}/{VERSION}/{CIRCLECI.filename}/provenance"
NOBODY = Workload(
    name="nobody", runtime_version="none", accelerator_type="none", install="true", smoke="true"
)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.patience.time.sleep", lambda _: None)


@pytest.fixture
def index(web: Web) -> PythonIndexClient:
    return PythonIndexClient(f"{web.url}/simple/")


def serve(web: Web, provenance: Any, served: Reply | None = None) -> None:
    """The index with the real wheel; its page says `provenance`."""
    entry = {
        "filename": CIRCLECI.filename,
        "url": f"/files/{CIRCLECI.filename}",
        "hashes": {"sha256": CIRCLECI.sha256[7:]},
        "provenance": provenance,
    }
    page = {"meta": {"api-version": "1.3"}, "name": NAME, "files": [entry]}
    web.routes[f"/simple/{NAME}/"] = Reply(json.dumps(page).encode(), content_type=JSON)
    web.routes[f"/files/{CIRCLECI.filename}"] = Reply(attested.WHEEL)
    web.routes[WHERE] = served or Reply(
        CIRCLECI.served, content_type="application/vnd.pypi.integrity.v1+json"
    )


# --- the page ---


@pytest.mark.parametrize(
    ("said", "is_"),
    [
        ("https://index.test/integrity/x", "https://index.test/integrity/x"),
        (None, ""),
        (False, ""),
        ("", ""),
        (True, "True"),
        ({"url": "x"}, "{'url': 'x'}"),
        ("http://a\n", "http://a\\u000a"),
        ("x" * 5000, "x" * 2000 + "…"),
    ],
)
def test_what_a_page_says_is_kept_to_be_refused(
    web: Web, index: PythonIndexClient, said: Any, is_: str
) -> None:
    serve(web, said)
    (file,) = index.files(NAME)
    assert file.provenance == is_


def test_html_says_it_too(web: Web, index: PythonIndexClient) -> None:
    where = f"{web.url}{WHERE}"
    links = f'<a href="/f/demo-1.0.tar.gz#sha256={"a" * 64}" data-provenance="{where}">demo-1.0.tar.gz</a>'
    links += f'<a href="/f/demo-1.1.tar.gz#sha256={"a" * 64}">demo-1.1.tar.gz</a>'
    web.routes["/simple/demo/"] = Reply(
        f"<!DOCTYPE html><html><body>{links}</body></html>".encode(), content_type=HTML
    )
    assert [file.provenance for file in index.files("demo")] == [where, ""]


# --- where it lies ---


def test_it_comes_from_the_index(web: Web, index: PythonIndexClient) -> None:
    serve(web, "unused")
    assert index.provenance(CIRCLECI.filename, f"{web.url}{WHERE}") == CIRCLECI.served


@pytest.mark.parametrize(
    "elsewhere",
    [
        "http://169.254.169.254/computeMetadata/v1/instance/service-accounts/default/token",
        "http://metadata.google.internal/",
        "http://localhost:{port}/integrity",
        "http://127.0.0.2:{port}/integrity",
        "http://127.0.0.1:1/integrity",
        "https://127.0.0.1:{port}/integrity",
        "http://127.0.0.1:{port}@example.org/",
        "http://user@127.0.0.1:{port}/integrity",
        "//127.0.0.1:{port}/integrity",
        "/integrity",
        "file:///etc/passwd",
        "http://[",
        "http://127.0.0.1:{port}\\u000d\\u000aHost: x/",
        "True",
    ],
)
def test_another_place_is_never_asked(web: Web, index: PythonIndexClient, elsewhere: str) -> None:
    port = web.url.rpartition(":")[2]
    with pytest.raises(Permanent, match=r"not the index's own address .*; the file is refused"):
        index.provenance(CIRCLECI.filename, elsewhere.replace("{port}", port))
    assert web.requests == []


@pytest.mark.parametrize("there", ["/integrity/other", "http://169.254.169.254/", "https://pypi.org/"])
def test_a_redirect_is_not_followed(web: Web, index: PythonIndexClient, there: str) -> None:
    web.routes["/integrity/other"] = Reply(CIRCLECI.served)
    serve(web, "unused", Reply(status=302, headers={"Location": there}))
    with pytest.raises(Permanent, match=r"redirects.*which is refused"):
        index.provenance(CIRCLECI.filename, f"{web.url}{WHERE}")
    assert [request.path for request in web.requests] == [WHERE]


def test_a_huge_one_is_not_read(web: Web, index: PythonIndexClient) -> None:
    serve(web, "unused", Reply(b" " * (MAX_SIZE + 1)))
    with pytest.raises(Permanent, match=f"more than {MAX_SIZE} bytes"):
        index.provenance(CIRCLECI.filename, f"{web.url}{WHERE}")


@pytest.mark.parametrize(
    ("reply", "error", "words"),
    [
        (Reply(status=404), Permanent, "where nothing is; the file is refused"),
        (Reply(status=403), Permanent, "status 403"),
        (Reply(status=503), Transient, "status 503"),
        (Reply(CIRCLECI.served, cut=100), Transient, "cannot be reached"),
    ],
    ids=["404", "403", "503", "cut"],
)
def test_an_index_that_does_not_serve_it(
    web: Web, index: PythonIndexClient, reply: Reply, error: type[Exception], words: str
) -> None:
    serve(web, "unused", reply)
    with pytest.raises(error, match=words):
        index.provenance(CIRCLECI.filename, f"{web.url}{WHERE}")


# --- a file, from the index into a repository ---


@pytest.fixture
def bring(web: Web, tmp_path: Path) -> Callable[[], tuple[MemoryRegistry, MemoryStore]]:
    """Looks the wheel up, fetches, proves and uploads it, with the clients of the stage itself."""
    registry, store = MemoryRegistry(), MemoryStore()

    def done() -> tuple[MemoryRegistry, MemoryStore]:
        settings = Settings(project="test", python_index=f"{web.url}/simple/")
        upstream = connect.upstream(settings, NOBODY)
        (file,) = upstream.index.files(NAME)
        carrier = Carrier(store, registry, upstream, settings, lambda: 0.0, "run")
        carrier.bring(Transfer(repository="dmz-python", python=_locked(file)), tmp_path)
        return registry, store

    return done


def _locked(file: IndexFile) -> LockedPython:
    return LockedPython(
        name=NAME,
        version=VERSION,
        filename=file.filename,
        sha256=file.sha256,
        url=file.url,
        record=None,
        provenance=file.provenance,
    )


def test_a_real_wheel_with_its_real_attestation(
    web: Web, bring: Callable[[], tuple[MemoryRegistry, MemoryStore]]
) -> None:
    serve(web, f"{web.url}{WHERE}")
    registry, store = bring()
    assert [each.sha256 for each in registry.stored("dmz-python")] == [CIRCLECI.sha256]
    record = store.get(RECORDS, record_id("dmz-python", CIRCLECI.sha256)) or {}
    assert record["publishers"] == [CIRCLECI.publisher.model_dump()]
    assert record["attested"] is True


@pytest.mark.parametrize(
    ("said", "served", "words"),
    [
        (WHERE, CIRCLECI.served, "not the index's own address"),
        ("{web}" + WHERE, GITHUB.served, "about another file"),
        ("{web}" + WHERE, CIRCLECI.served[:4000], "is not valid"),
        ("{web}" + WHERE, CIRCLECI.changed(project_id="0"), "not that of the publisher whom it names"),
    ],
    ids=["place", "swapped", "truncated", "publisher"],
)
def test_a_wheel_whose_attestation_proves_nothing_is_not_uploaded(
    web: Web,
    bring: Callable[[], tuple[MemoryRegistry, MemoryStore]],
    said: str,
    served: bytes,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    uploads: list[Any] = []
    monkeypatch.setattr(MemoryRegistry, "upload_python", lambda *words: uploads.append(words))
    serve(web, said.replace("{web}", web.url), Reply(served))
    with pytest.raises(Permanent, match=words):
        bring()
    assert uploads == []
