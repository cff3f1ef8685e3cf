"""Versions: what can be read, what only by its release, and that both orders are orders."""

from __future__ import annotations

import shutil
import subprocess
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from shared.advisories.archive import records
from shared.advisories.versions import DEBIAN, PEP440, Point, Scheme
from tests.advisories.test_snapshot import SNAPSHOT


@pytest.mark.parametrize(
    ("text", "release"),
    [
        ("2.6.0-cu124", "2.6.0"),
        ("2.6.0-NA", "2.6.0"),
        ("4.6.0.stable11", "4.6.0"),
        ("0.2.0-alpha\\.33", "0.2.0"),
        ("1!2.0-NA", "1!2.0"),
    ],
)
def test_a_strange_suffix_leaves_the_release(text: str, release: str) -> None:
    point = PEP440.parse(text)
    assert point is not None
    assert point.loose
    assert point.key == Version(release)


@pytest.mark.parametrize(
    "text", ["2024-12-04", "2018-04-22b", "7.2.0-12.1", "<unfixed>", "", "2", "x" * 300, "1.0\n-x"]
)
def test_what_has_no_leading_release_is_not_guessed(text: str) -> None:
    point = PEP440.parse(text)
    assert point is None or not point.loose
    if text != "2":
        assert point is None


def test_a_local_version_is_its_public_version_too() -> None:
    point = PEP440.parse("2.6.0+cpu")
    assert point is not None
    assert [str(form.key) for form in PEP440.forms(point)] == ["2.6.0+cpu", "2.6.0"]


@pytest.mark.parametrize("text", ["<end-of-life>", "", "a:1", "1_0", "1-"])
def test_a_debian_version_that_dpkg_refuses_is_none(text: str) -> None:
    assert DEBIAN.parse(text) is None


_python = st.from_regex(
    r"([0-9]!)?[0-9]{1,2}(\.[0-9]{1,2}){0,3}((a|b|rc)[0-9])?(\.post[0-9])?", fullmatch=True
)
_debian = st.from_regex(r"([0-9]:)?[0-9][0-9a-z.+~]{0,6}(-[0-9a-z.+~]{1,4})?", fullmatch=True)


@given(st.one_of(st.tuples(st.just(PEP440), *[_python] * 3), st.tuples(st.just(DEBIAN), *[_debian] * 3)))
def test_the_order_is_total(case: tuple[Scheme, str, str, str]) -> None:
    scheme, *texts = case
    a, b, c = (scheme.parse(text) for text in texts)
    assert a is not None
    assert b is not None
    assert c is not None
    assert scheme.compare(a, a) == 0
    assert scheme.compare(a, b) == -scheme.compare(b, a)
    if scheme.compare(a, b) <= 0 and scheme.compare(b, c) <= 0:
        assert scheme.compare(a, c) <= 0


def test_dpkg_orders_real_fixes_alike() -> None:
    """Versions of the snapshot's Debian records, each against its neighbour in our order."""
    assert shutil.which("dpkg"), "dpkg is the reference of this test: install dpkg"
    texts = sorted(
        {
            event["fixed"]
            for _, raw in records(SNAPSHOT / "Debian" / "all.zip")
            for entry in raw["affected"]
            for found in entry["ranges"]
            for event in found["events"]
            if "fixed" in event
        }
    )[::8]
    points = [(text, point) for text in texts if (point := DEBIAN.parse(text)) is not None]
    assert len(points) == len(texts) > 100
    words = {-1: "lt", 0: "eq", 1: "gt"}
    script = "\n".join(
        f"dpkg --compare-versions '{a}' {words[DEBIAN.compare(x, y)]} '{b}' || echo '{a} {b}'"
        for (a, x), (b, y) in pairwise(points)
    )
    wrong = subprocess.run(["sh"], input=script, capture_output=True, text=True, check=True)
    assert wrong.stdout == ""


def test_a_glance_never_tells_equal_versions_apart() -> None:
    spellings = (
        "{}",
        "v{}",
        "{}.0",
        "{}.0.0",
        "0!{}",
        "1!{}",
        "{}rc1",
        "{}c1",
        "{}-1",
        "{}.post1",
        "{}a0",
        " {} ",
        "{}.dev1",
    )
    texts = [
        form.format(number)
        for form in spellings
        for number in ("0", "1", "2", "12", "012", "1.0", "01.0", "2024")
    ]
    points = [point for text in texts if (point := PEP440.parse(text)) is not None]
    assert len(points) > 80
    for point in points:
        for text in texts:
            other = PEP440.parse(text)
            if other is not None and PEP440.compare(point, other) == 0:
                assert PEP440.may_equal(point, text), (point, text)
    assert not PEP440.may_equal(Point(Version("1.5")), "2.0.1")
