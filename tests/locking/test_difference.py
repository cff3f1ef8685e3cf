"""The difference that a lock makes: complete, in an order that can be read, and bounded where it is kept."""

from __future__ import annotations

import json
from typing import Any

from shared.locking import difference
from shared.model.lock import Change, ChangeKind, Lock, LockedArchive, LockedEnvironment, LockedPython
from shared.model.package import Package
from shared.model.value import sha256
from tests.support.market import TRIXIE


def change(kind: ChangeKind, name: str, before: str, after: str, **more: Any) -> Change:
    fields: dict[str, Any] = {"advisories": (), "required_by": (), "reason": "because"} | more
    return Change(
        kind=kind,
        before=Package(ecosystem="pypi", name=name, version=before),
        after=Package(ecosystem="pypi", name=name, version=after),
        **fields,
    )


def debian(name: str, before: str, after: str, source: str) -> Change:
    def package(version: str) -> Package:
        return Package(
            ecosystem="debian",
            name=name,
            version=version,
            architecture="amd64",
            distro="debian-13",
            source_name=source,
            source_version=version,
        )

    return Change(
        before=package(before),
        after=package(after),
        advisories=("DSA-1",),
        required_by=("the base image",),
        reason="DSA-1",
    )


ALL = (
    change("dropped", "core", "1.0", "none", reason="nothing needs it any more"),
    change("added", "extra", "2.0", "2.0", required_by=("lib",), reason="the replacement of lib asks for it"),
    change("moved", "app", "1.0", "1.1", reason="the replacement of lib asks for it"),
    debian("openssl", "3.0-1", "3.0-2", "openssl"),
    debian("libssl3", "3.0-1", "3.0-2", "openssl"),
    change(
        "replaced",
        "lib",
        "1.0",
        "1.1",
        advisories=("GHSA-1", "GHSA-2"),
        required_by=("app",),
        yielded=("lib==1.0",),
        reason="GHSA-1 - severity HIGH; GHSA-2; the workload's constraint lib==1.0 had to yield",
    ),
)


def test_what_was_refused_first_then_what_moved_came_and_went() -> None:
    found = difference.rows(ALL)
    assert list(difference.lines(found)) == [
        "refused and replaced: 2",
        "  lib 1.0 → 1.1 (GHSA-1, GHSA-2); needed by app; the workload's constraint lib==1.0 had to yield",
        "  openssl, libssl3 3.0-1 → 3.0-2 (DSA-1); needed by the base image",
        "moved along: 1",
        "  app 1.0 → 1.1; the replacement of lib asks for it",
        "added: 1",
        "  extra 2.0; the replacement of lib asks for it; needed by lib",
        "dropped: 1",
        "  core 1.0; nothing needs it any more",
    ]
    assert difference.counts(found) == "2 refused and replaced, 1 moved along, 1 added, 1 dropped"
    assert difference.rows(ALL[::-1])[0] == found[0]


def test_the_same_change_in_several_environments_is_one_row() -> None:
    places = [change("replaced", "lib", "1.0", "1.1", environment=f"/opt/{name}") for name in "ab"]
    (row,) = difference.rows(places)
    assert row.environments == ("/opt/a", "/opt/b")
    assert difference.said(row) == "lib 1.0 → 1.1; because; in /opt/a, /opt/b"


def test_many_rows_are_cut_where_the_reader_wants_them_cut() -> None:
    found = difference.rows(
        change(kind, f"lib{i:03d}", "1", "2") for kind in ("replaced", "moved") for i in range(40)
    )
    shown = list(difference.lines(found, 30))
    assert len([line for line in shown if "→" in line]) == 30
    assert shown[-1] == "  and 40 more"
    assert "  and 10 more" in shown
    assert len([line for line in difference.lines(found) if "→" in line]) == 80


def test_the_runs_document_is_bounded_and_says_how_many_there_are() -> None:
    long = [f"GHSA-{i}" for i in range(1000)]
    found = difference.rows(
        change(
            "replaced",
            f"lib{i}",
            "1",
            "2",
            advisories=tuple(long),
            required_by=tuple(long),
            reason="x" * 9999,
            yielded=("y" * 9999,) * 99,
        )
        for i in range(3000)
    )
    document = difference.document(found)
    assert (document["total"], document["counts"], len(document["rows"])) == (3000, {"replaced": 3000}, 100)
    assert len(json.dumps(document)) < 2**20 * 1.2


def test_hostile_words_are_shown_as_words() -> None:
    (row,) = difference.rows([change("moved", "lib", "1", "2", reason="a\x1b[2Jb\nc")])
    assert "\x1b" not in difference.said(row)
    assert "\n" not in difference.said(row)


# --- two locks ---


def wheel(name: str, version: str, content: str = "") -> LockedPython:
    return LockedPython(
        name=name,
        version=version,
        filename=f"{name}-{version}-py3-none-any.whl",
        sha256=sha256(f"{name}{version}{content}".encode()),
        url="https://files.test/x",
        record=None,
    )


def archive(version: str) -> LockedArchive:
    return LockedArchive(
        name="jq",
        version=version,
        architecture="amd64",
        source_name="jq",
        source_version=version,
        filename="jq.deb",
        url="https://deb.test/jq.deb",
        sha256=sha256(version.encode()),
        size=1,
        suite="trixie",
    )


def lock(
    *packages: LockedPython, debian: tuple[LockedArchive, ...] = (), changes: tuple[Change, ...] = ()
) -> Lock:
    return Lock(
        workload="small",
        manifest=sha256(b""),
        release=TRIXIE,
        environments=(
            LockedEnvironment(path="/opt/a", python="3.13.5", virtual=True, packages=packages),
            LockedEnvironment(path="/opt/b", python="3.13.5", virtual=True, packages=packages),
        ),
        debian=debian,
        generic=(),
        changes=changes,
    )


def test_two_locks_differ_in_versions_and_in_bytes() -> None:
    source = wheel("old", "1.0").model_copy(update={"build": (wheel("builder", "1"),)})
    newer = wheel("old", "1.0").model_copy(update={"build": (wheel("builder", "2"),)})
    why = change("replaced", "lib", "0.9", "1.1", advisories=("GHSA-1",), required_by=("app",))
    first = lock(wheel("lib", "1.0"), wheel("same", "1"), wheel("gone", "1"), wheel("swapped", "1"), source)
    second = lock(
        *(wheel("lib", "1.1"), wheel("same", "1"), wheel("new", "1"), wheel("swapped", "1", "!"), newer),
        debian=(archive("1-1"),),
        changes=(why,),
    )
    found = difference.between(first, second)
    assert [(row.kind, row.names, row.before, row.after, row.environments) for row in found] == [
        ("changed", ("builder",), "1", "2", ("/opt/a, to build old", "/opt/b, to build old")),
        ("changed", ("lib",), "1.0", "1.1", ("/opt/a", "/opt/b")),
        ("rebuilt", ("swapped",), "1", "1", ("/opt/a", "/opt/b")),
        ("added", ("new",), "", "1", ("/opt/a", "/opt/b")),
        ("added", ("jq",), "", "1-1", ()),
        ("dropped", ("gone",), "1", "", ("/opt/a", "/opt/b")),
    ]
    assert (found[1].advisories, found[1].required_by) == (("GHSA-1",), ("app",))
    assert difference.between(second, second) == ()
