"""Packages with all that they depend on: the same choice each time, and a reason where there is none."""

from __future__ import annotations

import random
from itertools import permutations

import pytest

from shared.errors import Permanent
from shared.upstream.closure import closure, newest
from shared.upstream.packages_file import Archives, PackagesFile
from tests.upstream.apt_repository import stanza


def index(*stanzas: str) -> Archives:
    return Archives([PackagesFile("suite", "https://x.org/", "\n".join(stanzas).encode())])


def chosen(roots: list[str], *stanzas: str) -> dict[str, str]:
    """The closure, which neither the stanzas' order nor the roots' may change."""
    found = set()
    orders = list(permutations(stanzas)) if len(stanzas) < 6 else [stanzas, stanzas[::-1]]
    for order in orders:
        for given in (roots, roots[::-1]):
            made = closure(given, index(*order), "amd64")
            found.add(tuple((each.name, each.version) for each in made))
    assert len(found) == 1
    return dict(found.pop())


def test_depends_and_pre_depends_and_nothing_else() -> None:
    found = chosen(
        ["aa"],
        stanza("aa", "1", Depends="bb", Pre_Depends="cc", Recommends="dd", Suggests="ee"),
        stanza("bb", "1"),
        stanza("cc", "1", Depends="bb"),
        stanza("dd", "1"),
        stanza("ee", "1", Essential="yes"),
    )
    assert set(found) == {"aa", "bb", "cc"}


def test_a_circle_ends() -> None:
    assert set(chosen(["aa"], stanza("aa", "1", Depends="bb"), stanza("bb", "1", Depends="aa"))) == {
        "aa",
        "bb",
    }


def test_the_newest_that_fits() -> None:
    versions = [stanza("bb", version) for version in ("1", "2", "2+deb12u1")]
    assert chosen(["aa"], stanza("aa", "1", Depends="bb"), *versions)["bb"] == "2+deb12u1"
    assert chosen(["aa"], stanza("aa", "1", Depends="bb (= 2)"), *versions)["bb"] == "2"
    assert chosen(["aa"], stanza("aa", "1", Depends="bb (<< 2)"), *versions)["bb"] == "1"


def test_the_first_alternative_unless_another_is_there_anyway() -> None:
    leaves = [stanza("xx", "1"), stanza("yy", "1")]
    assert set(chosen(["aa"], stanza("aa", "1", Depends="xx | yy"), *leaves)) == {"aa", "xx"}
    # b needs y without a choice, so a's choice is made by it, whoever comes first.
    both = [stanza("aa", "1", Depends="xx | yy"), stanza("bb", "1", Depends="yy")]
    assert set(chosen(["aa", "bb"], *both, *leaves)) == {"aa", "bb", "yy"}
    assert set(chosen(["aa"], stanza("aa", "1", Depends="none | yy"), *leaves)) == {"aa", "yy"}
    old = stanza("aa", "1", Depends="xx (>= 2) | yy")
    assert set(chosen(["aa"], old, *leaves)) == {"aa", "yy"}


def test_virtual_packages_by_priority_then_by_name() -> None:
    gawk = stanza("gawk", "5", Provides="awk", Priority="optional")
    mawk = stanza("mawk", "1", Provides="awk", Priority="required")
    original = stanza("original-awk", "1", Provides="awk", Priority="optional")
    needs = stanza("aa", "1", Depends="awk")
    assert set(chosen(["aa"], needs, gawk, mawk, original)) == {"aa", "mawk"}
    assert set(chosen(["aa"], needs, gawk, original)) == {"aa", "gawk"}
    assert set(chosen(["aa", "original-awk"], needs, gawk, original)) == {"aa", "original-awk"}


def test_provided_versions() -> None:
    needs = stanza("aa", "1", Depends="vv (>= 2)")
    old, new = stanza("bb", "9", Provides="vv"), stanza("cc", "1", Provides="vv (= 2)")
    assert set(chosen(["aa"], needs, old, new)) == {"aa", "cc"}
    with pytest.raises(Permanent, match=r"aa needs 'vv \(>= 2\)', which no package"):
        closure(["aa"], index(needs, old), "amd64")


def test_architectures() -> None:
    needs = stanza("aa", "1", Depends="bb:any, cc")
    foreign = stanza("cc", "2", Architecture="arm64")
    assert (
        chosen(["aa"], needs, stanza("bb", "1"), foreign, stanza("cc", "1", Architecture="all"))["cc"] == "1"
    )
    with pytest.raises(Permanent, match="There is no package aa"):
        closure(["aa"], index(stanza("aa", "1", Architecture="arm64")), "amd64")


REFUSED = {
    "no such package": (["zz"], [stanza("aa", "1")], "There is no package zz"),
    "nothing fits": (
        ["aa"],
        [stanza("aa", "1", Depends="bb (>= 2)"), stanza("bb", "1")],
        r"aa needs 'bb \(>= 2\)'",
    ),
    "unreadable": (
        ["aa"],
        [stanza("aa", "1", Depends="bb (~ 2)"), stanza("bb", "1")],
        "unreadable dependency",
    ),
    "chosen already": (
        ["aa", "cc"],
        [
            stanza("aa", "1", Depends="bb (= 1)"),
            stanza("cc", "1", Depends="bb (= 2)"),
            stanza("bb", "1"),
            stanza("bb", "2"),
        ],
        "do not fit together",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused(case: str) -> None:
    roots, stanzas, words = REFUSED[case]
    with pytest.raises(Permanent, match=words):
        closure(roots, index(*stanzas), "amd64")


def test_a_large_world_is_one_set_whatever_its_order() -> None:
    chance = random.Random(7)  # noqa: S311 - a world, no secret
    stanzas = [
        stanza(
            f"p{n}",
            "1",
            Depends=", ".join(" | ".join(f"p{chance.randrange(300)}" for _ in range(3)) for _ in range(2)),
        )
        for n in range(300)
    ]
    one = closure(["p1", "p2"], index(*stanzas), "amd64")
    chance.shuffle(stanzas)
    assert closure(["p2", "p1"], index(*stanzas), "amd64") == one
    assert newest("p1", index(*stanzas), "amd64").version == "1"
