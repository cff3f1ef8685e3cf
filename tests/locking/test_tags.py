"""Which files a machine can install."""

from __future__ import annotations

import pytest
from packaging.tags import Tag

from shared.locking.offer import Offer
from shared.model.value import sha256
from shared.ports.upstream import IndexFile
from shared.upstream.tags import best, supported, version_of
from tests.support.claims import debian, manifest
from tests.support.market import Market


def tags_for(libc: str) -> tuple[Tag, ...]:
    held = debian(Market().deb("libc6", "2.41-12", source="glibc"), version=libc)
    return supported(manifest([held]), "3.13.5")


def file(name: str, *, yanked: bool = False, python: str = "") -> IndexFile:
    return IndexFile(name, f"https://files.test/{name}", sha256(name.encode()), python, yanked)


def test_the_platforms_are_those_of_the_machines_glibc() -> None:
    found = [str(tag) for tag in tags_for("2.36-9+deb12u10")]
    assert "cp313-cp313-manylinux_2_36_x86_64" in found
    assert "cp313-cp313-manylinux_2_37_x86_64" not in found
    assert found.index("cp313-cp313-manylinux_2_28_x86_64") < found.index("cp313-cp313-manylinux_2_17_x86_64")
    # An older name of a platform stands where the newer one stands (PEP 600).
    assert found.index("cp313-cp313-manylinux2014_x86_64") < found.index("cp313-cp313-manylinux_2_16_x86_64")
    assert "py3-none-any" in found


@pytest.mark.parametrize("libc", ["2.35-0ubuntu3.10", "2.36-9+deb12u10", "2.39-0ubuntu8.6", "2.41-12"])
def test_the_resolver_is_asked_for_the_machines_own_platform(libc: str) -> None:
    offer = Offer(Market(), lambda _packages, _source, _replaces=None: (), "3.13.5", tags_for(libc))
    assert offer.platform == f"manylinux_{libc[:4].replace('.', '_')}_x86_64"


@pytest.mark.parametrize("libc", ["2.999999999-1", "2.99999999999999999999", "3.1", "0"])
def test_a_claimed_glibc_costs_nothing(libc: str) -> None:
    assert len(tags_for(libc)) < 10_000


def test_the_best_tagged_wheel_wins_then_the_source() -> None:
    tags = tags_for("2.41-12")
    files = [
        file("lib-1.0.tar.gz"),
        file("lib-1.0-py3-none-any.whl"),
        file("lib-1.0-cp313-cp313-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"),
        file("lib-1.0-cp313-cp313-manylinux_2_28_x86_64.whl"),
        file("lib-1.0-cp313-cp313-win_amd64.whl"),
        file("lib-1.1-cp313-cp313-manylinux_2_28_x86_64.whl"),
        file("lib-1.0-nonsense.whl"),
    ]
    chosen = []
    while found := best(files, "1.0", tags, "3.13.5"):
        chosen.append(found.filename)
        files.remove(found)
    assert chosen == [
        "lib-1.0-cp313-cp313-manylinux_2_28_x86_64.whl",
        "lib-1.0-cp313-cp313-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
        "lib-1.0-py3-none-any.whl",
        "lib-1.0.tar.gz",
    ]


@pytest.mark.parametrize(
    "only",
    [
        file("lib-1.0-py3-none-any.whl", yanked=True),
        file("lib-1.0-py3-none-any.whl", python=">=3.14"),
        file("lib-1.0-py3-none-any.whl", python="what?"),
        file("lib-1.0-cp313-cp313-macosx_14_0_arm64.whl"),
        file("lib-1.0.zip"),
    ],
)
def test_what_cannot_be_installed_is_not_offered(only: IndexFile) -> None:
    assert best([only], "1.0", tags_for("2.41"), "3.13.5") is None


def test_equal_versions_are_one_however_they_are_spelled() -> None:
    assert best([file("lib-1.0.0-py3-none-any.whl")], "1.0", tags_for("2.41"), "3.13.5")
    assert version_of("lib-2024.07-py3-none-any.whl") == version_of("lib-2024.7.tar.gz")
    assert version_of("README.md") is None
