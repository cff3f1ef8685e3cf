"""The index client over loopback, and the choice of the file that a VM says it installed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.errors import Permanent, Transient
from shared.model.manifest import DirectUrl, PythonPackage
from shared.ports.upstream import IndexFile
from shared.upstream import pypi
from shared.upstream.pypi import PythonIndexClient, select
from shared.upstream.simple_page import JSON
from tests.upstream.support import Reply, Request, Web

A = "sha256:" + "a" * 64


def listing(name: str, *filenames: str) -> Reply:
    files = [{"filename": f, "url": f"/files/{f}", "hashes": {"sha256": "a" * 64}} for f in filenames]
    return Reply(
        json.dumps({"meta": {"api-version": "1.0"}, "name": name, "files": files}).encode(), 200, JSON
    )


@pytest.fixture
def index(web: Web, monkeypatch: pytest.MonkeyPatch) -> PythonIndexClient:
    monkeypatch.setattr("shared.patience.time.sleep", lambda _: None)
    return PythonIndexClient(f"{web.url}/simple")


def test_a_page_is_asked_for_once_by_its_normalized_name(web: Web, index: PythonIndexClient) -> None:
    web.routes["/simple/typing-extensions/"] = listing("typing_extensions", "typing_extensions-4.0.tar.gz")
    assert [file.filename for file in index.files("Typing.Extensions")] == ["typing_extensions-4.0.tar.gz"]
    assert index.files("typing-extensions")
    (request,) = web.requests
    assert request.headers["accept"].startswith(JSON)


def test_an_unknown_project_is_empty(index: PythonIndexClient) -> None:
    assert index.files("nobody") == ()


def test_a_passing_failure_is_tried_again(web: Web, index: PythonIndexClient) -> None:
    def sometimes(request: Request) -> Reply:
        return Reply(status=503) if request.number < 3 else listing("demo", "demo-1.0.tar.gz")

    web.routes["/simple/demo/"] = sometimes
    assert len(index.files("demo")) == 1


def test_an_index_out_of_reach_is_transient(web: Web, index: PythonIndexClient) -> None:
    web.routes["/simple/demo/"] = Reply(status=502)
    with pytest.raises(Transient, match="status 502"):
        index.files("demo")
    web.routes["/simple/cut/"] = Reply(b"x" * 100, cut=10, content_type="text/html")
    with pytest.raises(Transient, match="cannot be reached"):
        index.files("cut")
    with pytest.raises(Transient, match="cannot be reached"):
        PythonIndexClient("http://127.0.0.1:9/simple/").files("demo")


def test_a_refusal_is_permanent(web: Web, index: PythonIndexClient) -> None:
    web.routes["/simple/demo/"] = Reply(status=403)
    with pytest.raises(Permanent, match="status 403"):
        index.files("demo")


def test_a_huge_page_is_refused(web: Web, index: PythonIndexClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pypi, "_MAX_PAGE", 10_000)
    web.routes["/simple/demo/"] = Reply(b"x" * 20_000, content_type="text/html")
    with pytest.raises(Permanent, match="too large"):
        index.files("demo")


def test_a_name_cannot_leave_the_index(web: Web, index: PythonIndexClient) -> None:
    for name in ("../../etc", "a/b", "", "x" * 300, "a%2fb", "a?b"):
        with pytest.raises(Permanent, match="name"):
            index.files(name)
    assert web.requests == []


def test_prefetch_asks_for_all_at_once(web: Web, index: PythonIndexClient) -> None:
    names = [f"demo-{number}" for number in range(40)]
    for name in names:
        web.routes[f"/simple/{name}/"] = listing(name, f"{name.replace('-', '_')}-1.0.tar.gz")
    index.prefetch(names + names)
    assert all(len(index.files(name)) == 1 for name in names)
    assert len(web.requests) == 40


# --- select -----------------------------------------------------------------------------------------------------


def claim(**changes: Any) -> PythonPackage:
    fields = {"name": "demo", "version": "1.0", "tags": ("py3-none-any",), "record": A, "requested": True}
    return PythonPackage(**{**fields, "in_base": False, **changes})


def files(*names: str) -> list[IndexFile]:
    return [
        IndexFile(name, f"https://files.example/{name}", "sha256:" + f"{number:064x}", "", False)
        for number, name in enumerate(names)
    ]


def chosen(index_files: list[IndexFile], **changes: Any) -> str:
    return select(index_files, claim(**changes)).filename


def test_the_wheel_with_all_tags_is_taken() -> None:
    candidates = files(
        "demo-1.0.tar.gz",
        "demo-1.0-cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
        "demo-1.0-cp313-cp313-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
        "demo-1.0-py3-none-any.whl",
        "demo-1.1-py3-none-any.whl",
    )
    tags = ("cp313-cp313-manylinux2014_x86_64", "cp313-cp313-manylinux_2_17_x86_64")
    assert chosen(candidates, tags=tags) == candidates[2].filename
    assert chosen(candidates) == "demo-1.0-py3-none-any.whl"
    assert chosen(candidates, version="1.0.0") == "demo-1.0-py3-none-any.whl"


def test_the_build_number_counts() -> None:
    candidates = files(
        "demo-1.0-1-py3-none-any.whl", "demo-1.0-2abc-py3-none-any.whl", "demo-1.0-py3-none-any.whl"
    )
    assert chosen(candidates, build="2abc") == "demo-1.0-2abc-py3-none-any.whl"
    assert chosen(candidates, build="1") == "demo-1.0-1-py3-none-any.whl"
    assert chosen(candidates, build="") == "demo-1.0-py3-none-any.whl"


def test_a_compressed_tag_set_in_wheel_is_understood() -> None:
    assert chosen(files("demo-1.0-py2.py3-none-any.whl"), tags=("py2.py3-none-any",))


def test_a_wheel_that_shares_a_tag_is_taken_if_it_is_the_only_one() -> None:
    tags = ("cp313-cp313-manylinux_2_17_x86_64",)
    one = "demo-1.0-cp313-cp313-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"
    two = "demo-1.0-cp313-cp313-manylinux_2_17_x86_64.manylinux_2_28_x86_64.whl"
    assert chosen(files(one, "demo-1.0.tar.gz"), tags=tags) == one
    with pytest.raises(Permanent, match="several wheels"):
        chosen(files(one, two), tags=tags)


def test_what_was_built_on_the_vm_comes_from_its_source() -> None:
    candidates = files("demo-1.0.zip", "demo-1.0.tar.gz", "demo-1.0-cp313-cp313-win_amd64.whl")
    assert chosen(candidates, tags=("cp313-cp313-linux_x86_64",)) == "demo-1.0.tar.gz"
    assert chosen(candidates, tags=()) == "demo-1.0.tar.gz"


def test_what_came_from_a_url_is_found_by_its_hash() -> None:
    candidates = files("demo-1.0-py3-none-any.whl", "demo-1.0.tar.gz")
    url = DirectUrl(url="https://elsewhere.example/demo.tar.gz", sha256=candidates[1].sha256)
    assert chosen(candidates, direct_url=url) == "demo-1.0.tar.gz"
    for other in (A, None):
        with pytest.raises(Permanent, match="installed from https://elsewhere"):
            chosen(
                candidates, direct_url=DirectUrl(url="https://elsewhere.example/demo.tar.gz", sha256=other)
            )


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ((), "no project of that name"),
        (("demo-2.0-py3-none-any.whl", "demo-1.1.tar.gz"), "none of that version"),
        (("demo-1.0-cp39-cp39-win_amd64.whl",), "no wheel with the installed tags"),
        (("other-1.0-py3-none-any.whl", "demo-1.0.exe", "garbage.whl"), "none of that version|no wheel"),
    ],
)
def test_no_file_is_a_sentence(names: tuple[str, ...], words: str) -> None:
    with pytest.raises(Permanent, match=words):
        chosen(files(*names))


def test_a_version_that_is_none_is_a_sentence() -> None:
    with pytest.raises(Permanent, match="not a version"):
        chosen(files("demo-1.0-py3-none-any.whl"), version="1.0-foo-bar")
