"""OSV's evaluation of ranges and versions, as a table; the third answer is "undecided"."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.advisories import osv
from shared.advisories.ranges import Entry, Given
from shared.advisories.versions import PEP440
from tests.advisories.build import affected, deb, events, one, pypi, record

INTRO, FIXED, LAST, LIMIT = "introduced", "fixed", "last_affected", "limit"


def answer(version: str, *ranges: dict[str, Any], **more: Any) -> str:
    finding = one(pypi(version=version), record("PYSEC-2026-1", affected(*ranges, **more)))
    if finding is None:
        return "clean"
    return "undecided" if finding.undecided else "affected"


@pytest.mark.parametrize(
    ("version", "pairs", "expected"),
    [
        ("1.0", [(INTRO, "0"), (FIXED, "2.0")], "affected"),
        ("2.0", [(INTRO, "0"), (FIXED, "2.0")], "clean"),
        ("2.0rc2", [(INTRO, "0"), (FIXED, "2.0")], "affected"),  # a SpecifierSet "<2.0" would drop it
        ("0.dev0", [(INTRO, "0"), (FIXED, "2.0")], "affected"),
        ("1.0", [(INTRO, "1.0.0"), (FIXED, "2.0")], "affected"),
        # PEP 440: dev, then a, b, rc, then the release, then post; an epoch is above them all
        ("2.0.dev1", [(INTRO, "0"), (FIXED, "2.0a1")], "affected"),
        ("2.0b1", [(INTRO, "0"), (FIXED, "2.0a1")], "clean"),
        ("2.0rc1", [(INTRO, "2.0"), (FIXED, "3.0")], "clean"),
        ("2.0.post1", [(INTRO, "0"), (FIXED, "2.0")], "clean"),
        ("2.0.post1", [(INTRO, "0"), (LAST, "2.0")], "clean"),
        ("2.0.post1", [(INTRO, "2.0"), (FIXED, "2.0.post2")], "affected"),
        ("2.0.post1.dev0", [(INTRO, "0"), (FIXED, "2.0.post1")], "affected"),
        ("2.0-1", [(INTRO, "2.0"), (LAST, "2.0.post1")], "affected"),  # another spelling of post1
        ("1!0.5", [(INTRO, "0"), (FIXED, "2.0")], "clean"),
        ("1!0.5", [(INTRO, "0"), (LAST, "1!0.5")], "affected"),
        ("9" * 40 + ".0", [(INTRO, "0"), (FIXED, "2.0")], "clean"),
        ("0.9", [(INTRO, "1.0"), (FIXED, "2.0")], "clean"),
        ("2.0", [(INTRO, "0"), (LAST, "2.0")], "affected"),
        ("2.0.1", [(INTRO, "0"), (LAST, "2.0")], "clean"),
        ("3.5", [(INTRO, "0"), (FIXED, "2.0"), (INTRO, "3.0"), (FIXED, "4.0")], "affected"),
        ("2.5", [(INTRO, "0"), (FIXED, "2.0"), (INTRO, "3.0"), (FIXED, "4.0")], "clean"),
        (
            "3.5",
            [(INTRO, "3.0"), (FIXED, "4.0"), (INTRO, "0"), (FIXED, "2.0")],
            "affected",
        ),  # written out of order
        ("9", [(INTRO, "1.0")], "affected"),
        ("1.0", [(INTRO, "1.0"), (FIXED, "1.0")], "clean"),  # as written: introduced, then fixed
        ("1.0", [(FIXED, "1.0"), (INTRO, "1.0")], "affected"),  # as written: fixed, then introduced
        ("0.dev0", [(INTRO, "0"), (FIXED, "0")], "clean"),  # never affected
        ("1.0", [(INTRO, "0"), (FIXED, "0")], "clean"),
        ("1.5", [(INTRO, "0"), (LIMIT, "1.0")], "clean"),
        ("0.5", [(INTRO, "0"), (LIMIT, "1.0")], "affected"),
        ("1.5", [(INTRO, "0"), (LIMIT, "*")], "affected"),
        ("1.5", [(INTRO, "0"), (LIMIT, "1.0"), (LIMIT, "2.0")], "affected"),  # before any limit is enough
        # torch 2.6.0+cpu is greater than 2.6.0, and is 2.6.0 all the same
        ("2.6.0+cpu", [(INTRO, "0"), (LAST, "2.6.0")], "affected"),
        ("2.6.0+cpu", [(INTRO, "0"), (FIXED, "2.6.0")], "clean"),
        ("2.6.0+cpu", [(INTRO, "2.6.0"), (FIXED, "2.7")], "affected"),
        ("2.6.0+cpu", [(INTRO, "2.6.0+cpu"), (FIXED, "2.6.0+cpu2")], "affected"),
        # loose: the leading release decides, and where only the suffix could, nobody can
        ("2.5", [(INTRO, "0"), (LAST, "2.6.0-cu124")], "affected"),
        ("2.6.0", [(INTRO, "0"), (LAST, "2.6.0-cu124")], "affected"),
        ("2.6.0+cu124", [(INTRO, "0"), (LAST, "2.6.0-cu124")], "affected"),
        ("2.6.1", [(INTRO, "0"), (LAST, "2.6.0-cu124")], "clean"),
        ("0.1", [(INTRO, "0"), (FIXED, "0.2.0-n653")], "affected"),
        ("0.2.0", [(INTRO, "0"), (FIXED, "0.2.0-n653")], "undecided"),
        ("0.3", [(INTRO, "0"), (FIXED, "0.2.0-n653")], "clean"),
        ("0.2.0", [(INTRO, "0"), (LIMIT, "0.2.0-n653")], "affected"),
        ("20240919", [(INTRO, "0"), (LAST, "2024-12-04")], "undecided"),
        ("9.0", [(INTRO, "0"), (FIXED, "7.2.0-12.1")], "undecided"),
        # the package's own version cannot be ordered
        ("weird", [(INTRO, "1.0"), (FIXED, "2.0")], "undecided"),
        ("2.0-gitabc", [(INTRO, "1.0"), (FIXED, "2.0")], "undecided"),
    ],
)
def test_events(version: str, pairs: list[tuple[str, str]], expected: str) -> None:
    assert answer(version, events(*pairs)) == expected
    assert answer(version, events(*pairs, kind="SEMVER")) == expected


def test_ranges_and_versions_count_each_on_its_own() -> None:
    assert answer("3.0", events((INTRO, "0"), (FIXED, "2.0")), versions=["3.0"]) == "affected"
    assert answer("3.0.0", events((INTRO, "0"), (FIXED, "2.0")), versions=["3.0"]) == "affected"
    assert answer("1.0", events((INTRO, "0"), (FIXED, "2.0")), versions=["3.0"]) == "affected"
    assert answer("4.0", events((INTRO, "0"), (FIXED, "2.0")), versions=["3.0"]) == "clean"
    assert answer("3.0+local", versions=["3.0"]) == "affected"
    assert answer("2004d", versions=["2004d"]) == "affected"


def test_every_range_is_asked() -> None:
    assert (
        answer("3.5", events((INTRO, "0"), (FIXED, "2.0")), events((INTRO, "3.0"), (FIXED, "4.0")))
        == "affected"
    )


def test_a_git_range_is_about_commits() -> None:
    git = {"type": "GIT", "repo": "https://example.org/x", "events": [{INTRO: "0"}, {FIXED: "a" * 40}]}
    assert answer("1.0", git, events((INTRO, "0"), (FIXED, "0.5"))) == "clean"
    assert answer("1.0", git) == "undecided"


@pytest.mark.parametrize(
    "broken",
    [
        {"type": "NEWKIND", "events": [{INTRO: "0"}]},
        {"type": "ECOSYSTEM", "events": []},
        {"type": "ECOSYSTEM"},
        {"type": "ECOSYSTEM", "events": "all"},
        {"type": "ECOSYSTEM", "events": [{INTRO: 0}]},
        {"type": "ECOSYSTEM", "events": [{}]},
        {"type": "ECOSYSTEM", "events": [{INTRO: "0"}, {"repaired": "2.0"}]},
        {"type": "ECOSYSTEM", "events": [{FIXED: "2.0"}]},
        {"type": "ECOSYSTEM", "events": ["0"]},
        {"events": [{INTRO: "0"}, {FIXED: "0.5"}]},
        "0-2",
        None,
    ],
)
def test_what_cannot_be_read_is_never_clean(broken: Any) -> None:
    assert answer("1.0", broken) == "undecided"
    assert answer("1.0", broken, events((INTRO, "0"), (FIXED, "0.5"))) == "undecided"
    assert answer("1.0", broken, events((INTRO, "0"), (FIXED, "2.0"))) == "affected"


@pytest.mark.parametrize("versions", ["1.0", [1.0], {"1.0": True}])
def test_unreadable_versions_are_never_clean(versions: Any) -> None:
    assert answer("1.0", events((INTRO, "0"), (FIXED, "0.5")), versions=versions) == "undecided"


def test_one_event_with_two_ends_is_both() -> None:
    both = {"type": "ECOSYSTEM", "events": [{INTRO: "0", FIXED: "2.0"}]}
    assert answer("1.0", both) == "affected"
    assert answer("2.0", both) == "clean"


@pytest.mark.parametrize(
    ("version", "pairs", "expected"),
    [
        ("1.0-1", [(INTRO, "0"), (FIXED, "1.0-2")], "affected"),
        ("1.0-2", [(INTRO, "0"), (FIXED, "1.0-2")], "clean"),
        ("1.0-2~deb13u1", [(INTRO, "0"), (FIXED, "1.0-2")], "affected"),  # ~ is before everything
        ("1.0-2+b1", [(INTRO, "0"), (FIXED, "1.0-2")], "clean"),
        ("1.0~rc1-1", [(INTRO, "1.0-1"), (FIXED, "2")], "clean"),
        ("1:0.1-1", [(INTRO, "0"), (FIXED, "9.9-9")], "clean"),  # an epoch is above every version without
        ("0:1.0-1", [(INTRO, "0"), (FIXED, "1.0-1")], "clean"),
        ("1.9-1", [(INTRO, "0"), (FIXED, "1.10-1")], "affected"),  # numbers, not texts
        ("1.0-1", [(INTRO, "0")], "affected"),
        ("0~git1-1", [(INTRO, "0"), (FIXED, "0")], "clean"),  # never affected
        ("1.0+dfsg-1", [(INTRO, "0"), (LAST, "1.0-1")], "clean"),
        ("1.0-1", [(INTRO, "0"), (FIXED, "<unfixed>")], "undecided"),
        ("1_0", [(INTRO, "0"), (FIXED, "2")], "undecided"),
    ],
)
def test_events_of_debian(version: str, pairs: list[tuple[str, str]], expected: str) -> None:
    raw = record("DEBIAN-CVE-2026-1", affected(events(*pairs), ecosystem="Debian:13"))
    finding = one(deb("thing", version), raw)
    said = "clean" if finding is None else "undecided" if finding.undecided else "affected"
    assert said == expected


@pytest.mark.parametrize("withdrawn", ["no", "false", 1, True, ["2026-01-01T00:00:00Z"], {"at": 1}])
def test_what_may_be_withdrawn_is_undecided_where_it_does_not_touch(withdrawn: Any) -> None:
    strange = record("PYSEC-2026-1", withdrawn=withdrawn)
    touched = one(pypi(), strange)
    assert touched is not None
    assert touched.undecided == ""
    other = one(pypi(version="2.0"), strange)
    assert other is not None
    assert "whether it is withdrawn cannot be read" in other.undecided


@given(
    st.lists(st.sampled_from(["1.0", "1.0.0", "1.5", "2.0+cpu", "2.0rc1", "v3", "odd", "4"]), max_size=6),
    st.data(),
)
def test_many_versions_get_the_answers_that_one_gets(listed: list[str], data: st.DataObject) -> None:
    kinds = st.tuples(
        st.sampled_from([INTRO, FIXED, LAST, LIMIT]), st.sampled_from(["0", "1.0", "2.0", "3-x", "?"])
    )
    pairs = data.draw(st.lists(kinds, max_size=4))
    raw = record("X-1", affected(events((INTRO, "0"), *pairs), versions=listed))
    (entry,) = osv.read(raw, "x", lambda *_: True).affected
    together = Entry(PEP440, entry, 100)
    for version in ("0.5", "1", "1.0.0", "1.5", "2.0+cpu", "2.0", "2.0rc1", "3", "4.0", "odd", "3.0-x"):
        alone = Entry(PEP440, entry)
        assert together.answer(Given(PEP440, version)) == alone.answer(Given(PEP440, version))
        assert together.fixes(Given(PEP440, version)) == alone.fixes(Given(PEP440, version))
