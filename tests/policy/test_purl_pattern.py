"""Patterns of purls: what they mean, in which spelling, and in bounded time."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.model.package import Package
from shared.model.purl_pattern import fits, matches
from tests.advisories.build import deb, pypi


@pytest.mark.parametrize(
    ("pattern", "package", "means"),
    [
        ("pkg:pypi/thing", pypi(), True),
        ("pkg:pypi/thing@1.0", pypi(), True),
        ("pkg:pypi/thing@1.*", pypi(), True),
        ("pkg:pypi/thing@*", pypi(), True),
        ("pkg:pypi/*", pypi(), True),
        ("pkg:*", pypi(), True),
        ("pkg:*/thing*", pypi(), True),
        ("pkg:pypi/thing@1.1", pypi(), False),
        ("pkg:pypi/thin", pypi(), False),
        ("pkg:pypi/thing", pypi("thing2"), False),
        ("pkg:pypi/thing*", pypi("thing2"), True),
        ("pkg:pypi/Typing_Extensions", pypi("typing-extensions"), True),
        ("pkg:pypi/typing.extensions@4", pypi("typing-extensions", "4"), True),
        ("pkg:pypi/thing@1.0.0-beta1", pypi("thing", "1.0.0b1"), True),
        ("pkg:pypi/thing@1.0+cpu", pypi("thing", "1.0+cpu"), True),
        ("pkg:pypi/%2A", pypi(), False),
        ("pkg:%2A", pypi(), False),
        ("pkg:pypi/thing@%2A", pypi(), False),
        ("pkg:pypi/%2a@*", pypi(), False),
        ("pkg:pypi/t*%67@1.*", pypi(), True),
        ("pkg:generic/%2A", Package(ecosystem="generic", name="*", version="sha256:" + "0" * 64), True),
        ("pkg:deb/debian/openssl", deb("openssl", "3.0-1"), True),
        ("pkg:deb/debian/openssl@3.0-1", deb("openssl", "3.0-1"), True),
        ("pkg:deb/debian/openssl@3.0-1?arch=amd64&distro=debian-13", deb("openssl", "3.0-1"), True),
        ("pkg:deb/debian/openssl?arch=amd64*", deb("openssl", "3.0-1"), True),
        ("pkg:deb/debian/openssl?arch=arm64*", deb("openssl", "3.0-1"), False),
        ("pkg:deb/ubuntu/openssl", deb("openssl", "3.0-1"), False),
        ("pkg:deb/debian/g++", deb("g++", "4:12"), True),
        ("pkg:deb/debian/g%2B%2B@4:12", deb("g++", "4:12"), True),
        ("pkg:deb/debian/g%2B%2B@4%3A12", deb("g++", "4:12"), True),
        (
            "pkg:generic/tool@sha256:00*",
            Package(ecosystem="generic", name="tool", version="sha256:" + "0" * 64),
            True,
        ),
    ],
)
def test_patterns(pattern: str, package: Package, means: bool) -> None:
    assert matches(pattern, package.purl) == means


@pytest.mark.parametrize("package", [pypi("a", "1!2.0+x.1"), deb("libstdc++6", "1:2~rc1+b2")])
def test_a_purl_as_it_stands_in_a_report_means_its_package(package: Package) -> None:
    assert matches(package.purl, package.purl)
    assert matches(package.purl.partition("?")[0], package.purl)


_pieces = st.text(alphabet="ab*", max_size=12)


@given(_pieces, st.text(alphabet="ab", max_size=12))
def test_a_star_stands_for_anything(pattern: str, text: str) -> None:
    regex = "".join(".*" if each == "*" else each for each in pattern)
    assert fits(pattern, text) == bool(re.fullmatch(regex, text))


def test_many_stars_do_not_make_it_slow() -> None:
    assert not fits("*a" * 150 + "b", "a" * 300)  # a regex would not end
