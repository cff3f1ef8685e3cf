"""What an index says of versions itself, over loopback: well, badly, slowly and not at all."""

from __future__ import annotations

import hashlib
import json
import threading
from typing import Any

import pytest

from shared.model.case import Facts
from shared.model.package import Package
from shared.ports.judgement import FactKind
from shared.settings import Settings
from shared.upstream import connect, http
from shared.upstream.facts import PypiFacts
from shared.upstream.pypi import PythonIndexClient
from shared.upstream.simple_page import JSON
from tests.upstream.support import Reply, Request, Web, sdist

ALL: tuple[FactKind, ...] = ("licences", "uploaded", "yanked")
METADATA = (
    b"Metadata-Version: 2.4\nName: demo\nVersion: 1.0\nLicense-Expression: MIT OR Apache-2.0\n\nA text.\n"
)


def package(name: str = "demo", version: str = "1.0") -> Package:
    return Package(ecosystem="pypi", name=name, version=version)


def entry(filename: str, uploaded: object = "2026-01-02T03:04:05.678901Z", **more: object) -> dict[str, Any]:
    hashes = {"sha256": "a" * 64}
    return {
        "filename": filename,
        "url": f"/files/{filename}",
        "hashes": hashes,
        "upload-time": uploaded,
        **more,
    }


def listing(name: str, *files: object) -> Reply:
    page = {"meta": {"api-version": "1.1"}, "name": name, "files": files}
    return Reply(json.dumps(page).encode(), 200, JSON)


WHEEL = "demo-1.0-py3-none-any.whl"


@pytest.fixture
def facts(web: Web, monkeypatch: pytest.MonkeyPatch) -> PypiFacts:
    monkeypatch.setattr("shared.patience.time.sleep", lambda _: None)
    return made(web)


def made(web: Web, deadline: float = 60.0) -> PypiFacts:
    client = http.client()
    return PypiFacts(PythonIndexClient(f"{web.url}/simple", client), client, deadline)


def asked(facts: PypiFacts, *wanted: FactKind, version: str = "1.0") -> Facts:
    (found,) = facts.of([package(version=version)], wanted or ALL).values()
    return found


def test_everything_that_a_version_says_of_itself(web: Web, facts: PypiFacts) -> None:
    digest = {"sha256": hashlib.sha256(METADATA).hexdigest()}
    web.routes["/simple/demo/"] = listing("demo", entry(WHEEL, **{"core-metadata": digest}))
    web.routes[f"/files/{WHEEL}.metadata"] = Reply(METADATA)
    found = facts.of([package()], ALL)
    assert found == {
        "pkg:pypi/demo@1.0": Facts(uploaded="2026-01-02T03:04:05Z", licences=("MIT OR Apache-2.0",))
    }


def test_the_last_upload_of_a_version_counts_and_no_other_versions(web: Web, facts: PypiFacts) -> None:
    web.routes["/simple/demo/"] = listing(
        "demo",
        entry("demo-1.0.tar.gz", "2020-01-05T00:00:00Z"),
        entry("demo-1.0-cp313-cp313-manylinux_2_28_x86_64.whl", "2026-11-22T07:59:59.999Z"),
        entry(WHEEL, "2020-01-04T23:59:59.999Z"),
        entry("demo-0.9-py3-none-any.whl", "2026-12-01T00:00:00Z"),
        entry("demo-1.0.post1.tar.gz", "2026-12-01T00:00:00Z"),
    )
    assert asked(facts, "uploaded") == Facts(uploaded="2026-11-22T07:59:59Z")
    assert asked(facts, "uploaded", version="1.0.0").uploaded == "2026-11-22T07:59:59Z"


@pytest.mark.parametrize(
    ("file", "counts"),
    [
        ("demo-1.0.zip", True),
        ("demo-1.0-1-py3-none-any.whl", True),
        ("demo-1.0-py3-none-linux_x86_64.whl", True),
        ("demo-1.0-cp313-cp313-macosx_11_0_arm64.manylinux1_x86_64.whl", True),
        ("demo-1.0-cp313-cp313-win_amd64.whl", False),
        ("demo-1.0-cp313-cp313-musllinux_1_2_x86_64.whl", False),
        ("demo-1.0-cp313-cp313-macosx_10_13_x86_64.macosx_11_0_arm64.whl", False),
    ],
)
def test_only_files_count_that_a_machine_of_ours_could_install(
    web: Web, facts: PypiFacts, file: str, counts: bool
) -> None:
    late = entry(file, "2026-11-22T00:00:00Z", yanked="stolen")
    web.routes["/simple/demo/"] = listing("demo", entry(WHEEL, "2020-01-04T00:00:00Z"), late)
    found = asked(facts, "uploaded", "yanked")
    assert found == (
        Facts(uploaded="2026-11-22T00:00:00Z", yanked="stolen")
        if counts
        else Facts(uploaded="2020-01-04T00:00:00Z")
    )


def test_where_no_file_could_be_installed_all_count(web: Web, facts: PypiFacts) -> None:
    wheel = "demo-1.0-cp313-cp313-win_amd64.whl"
    web.routes["/simple/demo/"] = listing("demo", entry(wheel, "2026-11-22T00:00:00Z"))
    assert asked(facts, "uploaded").uploaded == "2026-11-22T00:00:00Z"


HELD, ADDED = "sha256:" + "a" * 64, "b" * 64
OTHER = "demo-1.0-cp313-cp313-manylinux_2_28_x86_64.whl"


@pytest.mark.parametrize(
    ("only", "uploaded", "yanked"),
    [
        ((HELD,), "2020-01-04T00:00:00Z", None),
        ((f"sha256:{ADDED}",), "2026-11-22T00:00:00Z", "stolen"),
        ((HELD, f"sha256:{ADDED}"), "2026-11-22T00:00:00Z", "stolen"),
        ((HELD, "sha256:" + "c" * 64), "2020-01-04T00:00:00Z", None),
        ((), "2026-11-22T00:00:00Z", "stolen"),
    ],
    ids=["held", "added", "both", "one is gone", "all"],
)
def test_where_files_are_named_they_alone_count(
    web: Web, facts: PypiFacts, only: tuple[str, ...], uploaded: str, yanked: str | None
) -> None:
    late = entry(OTHER, "2026-11-22T00:00:00Z", yanked="stolen") | {"hashes": {"sha256": ADDED}}
    web.routes["/simple/demo/"] = listing("demo", entry(WHEEL, "2020-01-04T00:00:00Z"), late)
    everything = facts.of([package()], ["uploaded", "yanked"])  # what was asked of all is no answer of some
    assert everything["pkg:pypi/demo@1.0"].uploaded == "2026-11-22T00:00:00Z"
    (found,) = facts.of([package()], ["uploaded", "yanked"], {"pkg:pypi/demo@1.0": only}).values()
    assert found == Facts(uploaded=uploaded, yanked=yanked)


def test_of_a_held_file_that_is_not_offered_any_more_nothing_is_known(web: Web, facts: PypiFacts) -> None:
    web.routes["/simple/demo/"] = listing("demo", entry(WHEEL))
    gone = {"pkg:pypi/demo@1.0": ["sha256:" + "c" * 64]}
    (found,) = facts.of([package()], ["uploaded"], gone).values()
    assert found == Facts(lacking="the index has files of that version, but none that is held")


@pytest.mark.parametrize("unsaid", [None, 5, "2026-13-01T00:00:00Z", "0001-01-01T00:00:00+23:59"])
def test_a_file_of_which_the_index_says_no_time_may_be_the_last(
    web: Web, facts: PypiFacts, unsaid: object
) -> None:
    web.routes["/simple/demo/"] = listing("demo", entry(WHEEL), entry("demo-1.0.tar.gz", unsaid))
    found = asked(facts, "uploaded")
    assert (found.uploaded, found.lacking) == ("", "the index does not say when it was uploaded")


def test_a_version_is_yanked_if_any_of_its_files_is(web: Web, facts: PypiFacts) -> None:
    web.routes["/simple/demo/"] = listing(
        "demo",
        entry(WHEEL, yanked="leaks\n\x1b[2J keys"),
        entry("demo-1.0.tar.gz", yanked=True),
        entry("demo-2.0.tar.gz", yanked=True),
        entry("demo-3.0.tar.gz", yanked="broken"),
        entry("demo-3.0-py3-none-any.whl", yanked=False),
        entry("demo-4.0-py3-none-any.whl", yanked=False),
    )
    assert asked(facts, "yanked").yanked == "leaks \\u001b[2J keys"
    assert asked(facts, "yanked", version="2.0").yanked == ""
    assert asked(facts, "yanked", version="3.0").yanked == "broken"
    assert asked(facts, "yanked", version="4.0").yanked is None


@pytest.mark.parametrize(
    ("headers", "named"),
    [
        ("License-Expression: BSD-3-Clause\nLicense: other", ("BSD-3-Clause",)),
        ("License: Apache 2.0", ("Apache 2.0",)),
        (
            "License: UNKNOWN\nClassifier: License :: OSI Approved :: MIT License\nClassifier: Topic :: X",
            ("License :: OSI Approved :: MIT License",),
        ),
        ("License: MIT License\n        \n        Copyright (c) 2020\n        and more", ("MIT License",)),
        (
            "License: MIT\nClassifier: License :: B\nClassifier: License :: A\nClassifier: License :: A",
            ("MIT", "License :: A", "License :: B"),
        ),
        ("License: " + "x" * 5000, ("x" * 200 + "…",)),
        ("Summary: nothing", ()),
    ],
)
def test_licences(web: Web, facts: PypiFacts, headers: str, named: tuple[str, ...]) -> None:
    web.routes["/simple/demo/"] = listing("demo", entry(WHEEL))
    body = f"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n{headers}\n\nLicense: not this\n"
    web.routes[f"/files/{WHEEL}.metadata"] = Reply(body.encode())
    assert asked(facts, "licences") == Facts(uploaded="2026-01-02T03:04:05Z", licences=named)


@pytest.mark.parametrize(
    ("stated", "sent", "why"),
    [
        ({"sha256": "b" * 64}, Reply(METADATA), "has the content sha256:"),
        (True, Reply(status=404), "serves no metadata beside demo-1.0-py3-none-any.whl"),
        (True, Reply(status=500), "status 500"),
        (True, Reply(status=403), "status 403"),
        (True, Reply(METADATA, cut=20), "cannot be reached"),
        (True, Reply(b"<html>Welcome</html>"), "is no METADATA"),
        (True, Reply(b"x" * (4 * 1024**2 + 1)), "too large"),
        (False, Reply(b"\xff\x00" * 100), "is no METADATA"),
    ],
    ids=["hash", "absent", "broken", "forbidden", "cut", "page", "large", "binary"],
)
def test_metadata_that_is_none_leaves_the_rest(
    web: Web, facts: PypiFacts, stated: object, sent: Reply, why: str
) -> None:
    web.routes["/simple/demo/"] = listing("demo", entry(WHEEL, **{"core-metadata": stated}))
    web.routes[f"/files/{WHEEL}.metadata"] = sent
    found = asked(facts)
    assert (found.uploaded, found.licences) == ("2026-01-02T03:04:05Z", ())
    assert found.told == ("uploaded", "yanked")
    assert found.lacking.startswith("its licence could not be read: ")
    assert why in found.lacking
    assert not found.lacking.endswith(".")


@pytest.mark.parametrize("yank", [False, "stolen"])
def test_a_page_without_times_says_of_yanks_all_the_same(
    web: Web, facts: PypiFacts, yank: bool | str
) -> None:
    """Mirrors in HTML often give no upload time, and the licence is read elsewhere."""
    web.routes["/simple/demo/"] = listing("demo", entry(WHEEL, None, yanked=yank))
    web.routes[f"/files/{WHEEL}.metadata"] = Reply(status=404)
    found = asked(facts)
    assert (found.uploaded, found.yanked, found.told) == ("", yank or None, ("yanked",))
    assert "does not say when it was uploaded; its licence could not be read" in found.lacking
    assert asked(facts, "licences").told == ()


@pytest.mark.parametrize(
    ("page", "why"),
    [
        (Reply(status=404), "no project of that name"),
        (Reply(status=503), "status 503"),
        (Reply(b"{", 200, JSON), "not PEP 691 JSON"),
        (Reply(b"[" * 100_000, 200, JSON), "not PEP 691 JSON"),
        (listing("other", entry("other-1.0.tar.gz")), "for project 'demo'"),
        (listing("demo", entry("demo-2.0.tar.gz")), "none of that version"),
        (listing("demo", entry(WHEEL, None)), "does not say when it was uploaded"),
        (Reply(b"hello", 200, "text/plain"), "neither PEP 691 JSON nor HTML"),
    ],
    ids=["unknown", "down", "half", "deep", "another", "version", "silent", "text"],
)
def test_what_cannot_be_had_is_said(web: Web, facts: PypiFacts, page: Reply, why: str) -> None:
    web.routes["/simple/demo/"] = page
    web.routes["/simple/good/"] = listing("good", entry("good-1.0.tar.gz"))
    found = facts.of([package(), package("good")], ["uploaded"])
    assert why in found["pkg:pypi/demo@1.0"].lacking
    assert found["pkg:pypi/good@1.0"] == Facts(uploaded="2026-01-02T03:04:05Z")


@pytest.mark.parametrize("version", ["not a version", "1" * 10_000, "1.0-é\n"])
def test_what_is_no_version_is_said(facts: PypiFacts, version: str) -> None:
    found = asked(facts, version=version)
    assert found.lacking
    assert len(found.lacking) < 400


def test_only_what_is_wanted_is_fetched(web: Web, facts: PypiFacts) -> None:
    web.routes["/simple/demo/"] = listing("demo", entry(WHEEL))
    debian = Package(ecosystem="debian", name="bash", version="5", architecture="amd64", distro="debian-13")
    file = Package(ecosystem="generic", name="x", version="sha256:" + "a" * 64)
    assert facts.of([package(), debian, file], []) == {}
    assert facts.of([debian, file], ALL) == {}
    assert web.requests == []
    assert facts.of([package()], ["yanked"]) == {"pkg:pypi/demo@1.0": Facts(uploaded="2026-01-02T03:04:05Z")}
    assert [request.path for request in web.requests] == ["/simple/demo/"]


def test_each_version_is_asked_for_once(web: Web, facts: PypiFacts) -> None:
    web.routes["/simple/demo/"] = listing("demo", entry(WHEEL))
    web.routes[f"/files/{WHEEL}.metadata"] = Reply(METADATA)
    assert facts.of([package(), package()], ALL) == facts.of([package()], ALL)
    assert len(web.requests) == 2


def test_a_project_of_ten_thousand_files(web: Web, facts: PypiFacts) -> None:
    files = [entry(f"demo-{n // 10}.{n % 10}-cp313-cp313-manylinux_2_28_x86_64.whl") for n in range(10_000)]
    web.routes["/simple/demo/"] = listing("demo", *files, entry("demo-998.5.tar.gz", "2026-10-01T00:00:00Z"))
    assert asked(facts, "uploaded", version="998.5").uploaded == "2026-10-01T00:00:00Z"


def test_an_index_that_does_not_answer_in_time_leaves_facts_that_say_so(web: Web) -> None:
    go = threading.Event()

    def never(_request: Request) -> Reply:
        go.wait(60)
        return Reply(status=404)

    web.routes["/simple/slow/"] = never
    web.routes["/simple/demo/"] = listing("demo", entry(WHEEL))
    try:
        found = made(web, 2.0).of([package("slow"), package()], ["uploaded"])
    finally:
        go.set()
    assert found["pkg:pypi/slow@1.0"].lacking == "the index did not answer within 2 seconds"
    assert found["pkg:pypi/demo@1.0"].uploaded


def test_a_mistake_of_ours_costs_one_package_its_facts_and_not_all(web: Web) -> None:
    class Broken(PythonIndexClient):
        def files(self, name: str) -> Any:
            return 1 / 0 if name == "slow" else super().files(name)

    web.routes["/simple/demo/"] = listing("demo", entry(WHEEL))
    client = http.client()
    found = PypiFacts(Broken(f"{web.url}/simple", client), client).of(
        [package("slow"), package()], ["uploaded"]
    )
    assert "could not be read (ZeroDivisionError)" in found["pkg:pypi/slow@1.0"].lacking
    assert found["pkg:pypi/demo@1.0"].uploaded


PKG_INFO = b"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\nLicense: BSD\n\n"
SDIST = "demo-1.0.tar.gz"


@pytest.mark.parametrize(
    ("content", "hashed", "named", "why"),
    [
        (sdist("demo", "1.0", pkg_info=PKG_INFO), None, ("BSD",), ""),
        (sdist("demo", "1.0", pkg_info=PKG_INFO), b"another", (), "and not the expected sha256:"),
        (sdist("demo", "1.0", pkg_info=b"Name: demo\nVersion: 2.0\n\n"), None, (), "2.0"),
        (b"no archive", None, (), "is a broken archive"),
    ],
    ids=["good", "hash", "other", "broken"],
)
def test_a_version_without_wheels_says_its_licence_in_its_source(
    web: Web, content: bytes, hashed: bytes | None, named: tuple[str, ...], why: str
) -> None:
    digest = hashlib.sha256(content if hashed is None else hashed).hexdigest()
    web.routes["/simple/demo/"] = listing("demo", entry(SDIST) | {"hashes": {"sha256": digest}})
    web.routes[f"/files/{SDIST}"] = Reply(content)
    found = asked(connect.facts(Settings(project="test", python_index=f"{web.url}/simple/")))
    assert found.licences == named
    assert why in found.lacking
    assert bool(found.lacking) == bool(why)
    assert web.asked(f"/files/{SDIST}.metadata") == []


def test_the_scanner_reaches_the_operators_index_and_nothing_else_inside(web: Web) -> None:
    inside = Web()
    digest = {"sha256": hashlib.sha256(METADATA).hexdigest()}
    try:
        for server, name in ((web, "near"), (inside, "far")):
            there = entry(WHEEL, **{"core-metadata": digest}) | {"url": f"{server.url}/files/{WHEEL}"}
            web.routes[f"/simple/{name}/"] = listing(
                name, there | {"filename": f"{name}-1.0-py3-none-any.whl"}
            )
            server.routes[f"/files/{WHEEL}.metadata"] = Reply(METADATA)
        found = connect.facts(Settings(project="test", python_index=f"{web.url}/simple/")).of(
            [package("near"), package("far")], ALL
        )
        assert inside.requests == []
    finally:
        inside.close()
    assert found["pkg:pypi/near@1.0"].licences == ("MIT OR Apache-2.0",)
    assert "not from the address 127.0.0.1; refused" in found["pkg:pypi/far@1.0"].lacking


@pytest.mark.network
def test_pypi_itself() -> None:
    wanted = [package("sampleproject", "3.0.0"), package("requests", "2.32.0"), package("docopt", "0.6.2")]
    found = connect.facts(Settings(project="test")).of(wanted, ALL)
    sample, requests = found["pkg:pypi/sampleproject@3.0.0"], found["pkg:pypi/requests@2.32.0"]
    assert sample.uploaded.startswith("2022-12-01T")
    assert sample.yanked is None
    assert "License :: OSI Approved :: MIT License" in sample.licences
    assert requests.yanked == "Yanked due to conflicts with CVE-2024-35195 mitigation"
    assert "MIT" in found["pkg:pypi/docopt@0.6.2"].licences  # it has no wheel
