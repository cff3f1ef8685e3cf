"""What the inner VM holds against what it should, and every reason not to believe that all is well."""

from __future__ import annotations

import json
from typing import Any

import pytest

from functions.inner import decide
from shared.errors import Permanent
from shared.events import InnerInstallCompleted
from shared.guest import egress
from shared.model import claim
from shared.model.lock import Lock, LockedArchive, LockedEnvironment, LockedGeneric, LockedPython
from shared.model.manifest import ClaimedManifest, DebianPackage, GenericFile
from shared.model.value import sha256
from tests.support.claims import environment, manifest, python
from tests.support.market import TRIXIE

RECORD, OTHER = sha256(b"RECORD"), sha256(b"another RECORD")
URL = "https://files.test/data.bin"


def deb(name: str, version: str, *, in_base: bool = True, **more: Any) -> DebianPackage:
    fields = {
        "name": name,
        "version": version,
        "architecture": "amd64",
        "source_name": name,
        "source_version": version,
        "archive": None,
        "in_base": in_base,
    }
    return DebianPackage(**fields | more)


def locked(name: str, version: str, record: str | None) -> LockedPython:
    suffix = "-py3-none-any.whl" if record else ".tar.gz"
    return LockedPython(
        name=name,
        version=version,
        filename=f"{name}-{version}{suffix}",
        sha256=sha256(name.encode()),
        url=f"https://files.test/{name}",
        record=record,
    )


def archive(name: str, version: str) -> LockedArchive:
    return LockedArchive(
        name=name,
        version=version,
        architecture="amd64",
        source_name=name,
        source_version=version,
        filename=f"{name}.deb",
        url="https://deb.test/x.deb",
        sha256=sha256(name.encode()),
        size=1,
        suite="trixie",
    )


OUTER = manifest(
    [deb("bash", "5.2-1"), deb("openssl", "3.0-1"), deb("jq", "1.7-1", in_base=False)],
    environment(python("six", "1.0", record=RECORD, in_base=True), path="/usr/lib/python3/dist-packages"),
    environment(python("pip", "25.1"), managed=True),
    environment(python("app", "1.0", record=RECORD), python("lib", "1.0", record=RECORD)),
)
LOCK = Lock(
    workload="small",
    manifest=OUTER.digest,
    release=TRIXIE,
    environments=(
        LockedEnvironment(
            path="/opt/w",
            python="3.13.5",
            virtual=True,
            packages=(
                locked("app", "1.0", RECORD),
                locked("lib", "1.1", None),
                locked("old", "2024.7", None),
            ),
        ),
    ),
    debian=(archive("jq", "1.7-1"), archive("openssl", "3.0-2")),
    generic=(LockedGeneric(url=URL, sha256=RECORD, size=1),),
    changes=(),
)


def inside(
    *,
    debians: tuple[DebianPackage, ...] = (),
    app: str | None = RECORD,
    lib: tuple[str, str | None] = ("1.1", OTHER),
    old: tuple[str, str | None] = ("2024.07", OTHER),
    more: tuple[Any, ...] = (),
    generic: tuple[str, ...] = (RECORD,),
    **fields: Any,
) -> ClaimedManifest:
    return manifest(
        debians or (deb("bash", "5.2-1"), deb("openssl", "3.0-2"), deb("jq", "1.7-1")),
        environment(python("six", "1.0", record=RECORD), path="/usr/lib/python3/dist-packages"),
        environment(
            python("app", "1.0", record=app),
            python("lib", lib[0], record=lib[1]),
            python("old", old[0], record=old[1]),
            *more,
        ),
        environment(python("pip", "25.1"), python("wheel", "1.0"), managed=True),
        generic=tuple(GenericFile(url=URL, sha256=each, size=1, path="/x") for each in generic),
        **fields,
    )


def test_base_image_and_lock_are_all_that_is_there() -> None:
    found = decide.compare(OUTER, LOCK, inside())
    assert found == decide.Comparison(installed=8, missing=(), unexpected=())


LIES: dict[str, tuple[ClaimedManifest, tuple[str, ...], tuple[str, ...]]] = {
    "a Debian package is missing": (
        inside(debians=(deb("bash", "5.2-1"), deb("openssl", "3.0-2"))),
        ("deb jq 1.7-1 amd64 from jq 1.7-1",),
        (),
    ),
    "the refused version is still there": (
        inside(debians=(deb("bash", "5.2-1"), deb("openssl", "3.0-1"), deb("jq", "1.7-1"))),
        ("deb openssl 3.0-2 amd64 from openssl 3.0-2",),
        ("deb openssl 3.0-1 amd64 from openssl 3.0-1",),
    ),
    "one Debian package too many": (
        inside(
            debians=(deb("bash", "5.2-1"), deb("openssl", "3.0-2"), deb("jq", "1.7-1"), deb("netcat", "1-1"))
        ),
        (),
        ("deb netcat 1-1 amd64 from netcat 1-1",),
    ),
    "another source": (
        inside(debians=(deb("bash", "5.2-1", source_name="sh"), deb("openssl", "3.0-2"), deb("jq", "1.7-1"))),
        ("deb bash 5.2-1 amd64 from bash 5.2-1",),
        ("deb bash 5.2-1 amd64 from sh 5.2-1",),
    ),
    "changed files": (
        inside(app=OTHER),
        (f"pip /opt/w app 1.0 {RECORD}",),
        (f"pip /opt/w app 1.0 {OTHER}",),
    ),
    "files that are not as RECORD says": (
        inside(app=None),
        (f"pip /opt/w app 1.0 {RECORD}",),
        ("pip /opt/w app 1.0 None",),
    ),
    "what was built here is not intact": (
        inside(old=("2024.7", None)),
        ("pip /opt/w old 2024.7 any",),
        ("pip /opt/w old 2024.7 None",),
    ),
    "what the resolver chose is of another version": (
        inside(lib=("1.2", OTHER)),
        ("pip /opt/w lib 1.1 any",),
        (f"pip /opt/w lib 1.2 {OTHER}",),
    ),
    "one Python package too many": (
        inside(more=(python("evil", "1.0", record=OTHER),)),
        (),
        (f"pip /opt/w evil 1.0 {OTHER}",),
    ),
    "a file by URL is missing": (inside(generic=()), (f"url {URL} {RECORD}",), ()),
    "a file by URL too many": (inside(generic=(RECORD, OTHER)), (), (f"url {URL} {OTHER}",)),
    "another release": (
        inside(release=TRIXIE.model_copy(update={"version_id": "12", "codename": "bookworm"})),
        ("release debian 13 trixie amd64",),
        ("release debian 12 bookworm amd64",),
    ),
}


def test_a_file_that_no_record_lists_was_admitted_by_nobody() -> None:
    found = inside()
    site = "/opt/w/lib/python3.13/site-packages"
    place = found.environments[1].model_copy(update={"strays": (f"{site}/evil.pth",)})
    environments = (found.environments[0], place, found.environments[2])
    comparison = decide.compare(OUTER, LOCK, found.model_copy(update={"environments": environments}))
    assert (comparison.missing, comparison.unexpected) == ((), (f"file {site}/evil.pth",))


def test_what_nobody_can_read_was_admitted_by_nobody() -> None:
    text = json.loads(inside().canonical())
    text["environments"][1]["packages"].append(text["environments"][1]["packages"][0] | {"name": "\u0430pp"})
    found = claim.read(json.dumps(text).encode(), "The inventory")
    comparison = decide.compare(OUTER, LOCK, found)
    version = found.environments[1].packages[0].version
    assert (comparison.missing, comparison.unexpected) == ((), (f"unreadable \\u0430pp {version}",))


def test_a_locked_wheel_is_never_taken_with_any_record() -> None:
    """Only what is built in the inner VM is; a lock that says nothing of a wheel's RECORD admits no file of it."""
    place = LOCK.environments[0]
    wheel = place.packages[1].model_copy(update={"filename": "lib-1.1-py3-none-any.whl"})
    packages = (place.packages[0], wheel, place.packages[2])
    lock = LOCK.model_copy(update={"environments": (place.model_copy(update={"packages": packages}),)})
    for record in (OTHER, None):
        found = decide.compare(OUTER, lock, inside(lib=("1.1", record)))
        assert found.missing == ("pip /opt/w lib 1.1 of an unproved wheel",)
        assert found.unexpected == (f"pip /opt/w lib 1.1 {record}",)


@pytest.mark.parametrize("what", LIES)
def test_every_difference_is_seen(what: str) -> None:
    found, missing, unexpected = LIES[what]
    comparison = decide.compare(OUTER, LOCK, found)
    assert (comparison.missing, comparison.unexpected) == (missing, unexpected)
    assert decide.objection(comparison, report())


# --- objections ---

GOOD = decide.Comparison(7, (), ())
PROBES = [
    {"probe": name, "target": target, "open": False, "outcome": "denied: Network is unreachable"}
    for name, target, _ in egress.PROBES
]


def report(**more: Any) -> InnerInstallCompleted:
    fields = {
        "run_id": "run-0123456789ab",
        "report_token": "0" * 48,
        "state": "installed",
        "tail": "",
        "seconds": {},
        "installed": "",
        "smoke": {"exit_code": 0, "seconds": 1.0, "tail": ""},
        "egress": "denied",
        "egress_probes": PROBES,
    }
    return InnerInstallCompleted.check(fields | more, "The report")


def test_where_all_is_well_there_is_no_objection() -> None:
    assert decide.objection(GOOD, report()) == ""


def _with(number: int, outcome: str, through: bool = True) -> list[dict[str, Any]]:
    new = {"outcome": outcome, "open": through}
    return [each | (new if i == number else {}) for i, each in enumerate(PROBES)]


OBJECTIONS: dict[str, tuple[decide.Comparison, dict[str, Any], str]] = {
    "missing": (
        decide.Comparison(1, ("a", "b", "c", "d", "e"), ("x",)),
        {},
        "The inner VM lacks a, b, c and 2 more of its lock.",
    ),
    "unexpected": (decide.Comparison(1, (), ("x",)), {}, "The inner VM holds x, which nobody admitted."),
    "open": (
        GOOD,
        {"egress": "open", "egress_probes": _with(3, "open: connected")},
        "not sealed: tcp pypi.org:443",
    ),
    "open, and it denies it": (
        GOOD,
        {"egress_probes": _with(0, "open: resolved to 1.2.3.4")},
        "not sealed: dns pypi.org",
    ),
    "open, and no probe says so": (GOOD, {"egress": "open"}, "not sealed: it says so itself"),
    "open, in words that sound well": (
        GOOD,
        {"egress_probes": _with(1, "denied: but not for me")},
        "not sealed: dns deb.debian.org",
    ),
    "no probes": (GOOD, {"egress_probes": []}, "did not try every way out"),
    "one probe left out": (GOOD, {"egress_probes": PROBES[1:]}, "did not try every way out (dns pypi.org)"),
    "not probed": (
        GOOD,
        {
            "egress": "open",
            "egress_probes": [{"probe": "all", "target": "", "open": True, "outcome": "not probed"}],
        },
        "did not try every way out",
    ),
    "smoke failed": (
        GOOD,
        {"smoke": {"exit_code": 3, "seconds": 1.0, "tail": ""}},
        "smoke command failed on the inner VM (3)",
    ),
    "smoke timed out": (GOOD, {"smoke": {"exit_code": 124, "seconds": 1.0, "tail": ""}}, "(124)"),
    "no smoke": (GOOD, {"smoke": None}, "(no result)"),
}


@pytest.mark.parametrize("what", OBJECTIONS)
def test_every_objection_is_a_sentence(what: str) -> None:
    comparison, more, words = OBJECTIONS[what]
    sentence = decide.objection(comparison, report(**more))
    assert words in sentence
    assert sentence.endswith(".")


def test_a_probe_that_does_not_say_whether_it_came_through_is_no_probe() -> None:
    silent = [{key: value for key, value in each.items() if key != "open"} for each in PROBES]
    with pytest.raises(Permanent, match="open"):
        report(egress_probes=silent)


def test_the_same_bytes_from_another_url_are_not_what_was_locked() -> None:
    (there,) = inside().generic
    moved = inside().model_copy(update={"generic": (there.model_copy(update={"url": f"{URL}x"}),)})
    found = decide.compare(OUTER, LOCK, moved)
    assert (found.missing, found.unexpected) == ((f"url {URL} {RECORD}",), (f"url {URL}x {RECORD}",))


def test_the_documents_lists_end_and_the_counts_do_not() -> None:
    many = tuple(f"pip /opt/w package-{n} 1.0 {RECORD}" for n in range(20_000))
    result = decide.result(decide.Comparison(20_000, many, many), report())
    (put,) = decide.learned("run-0123456789ab", {0: result}, 1, "vm")
    assert put.fields["inner"]["installed"] == 20_000
    assert len(put.fields["inner"]["missing"]) == len(put.fields["inner"]["unexpected"]) == 200


def test_what_a_terminal_would_obey_is_not_shown() -> None:
    hostile = _with(0, "denied\x1b[2J", False)
    found = report(egress_probes=hostile, smoke={"exit_code": 0, "seconds": 1.0, "tail": "a\tb\n\x07\u202e"})
    assert found.egress_probes[0].outcome == "denied\ufffd[2J"
    assert found.smoke is not None
    assert found.smoke.tail == "a\tb\n\ufffd\ufffd"


def test_the_last_lines_of_the_machine_are_kept_and_no_more() -> None:
    """docs/decisions/0018-the-guests-log-stays-inside.md"""
    last = "dmz: smoke script ended with 0"
    result = decide.result(decide.Comparison(3, (), ()), report(tail=last))
    (put,) = decide.learned("run-0123456789ab", {0: result}, 1, "vm")
    assert put.fields["inner"]["console"] == last
    with pytest.raises(Permanent, match="tail"):
        report(tail="x" * 16_385)
