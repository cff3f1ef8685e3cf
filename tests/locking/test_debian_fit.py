"""Archives that take the place of others fit the machine: what is bound to them moves, what they need comes along."""

from __future__ import annotations

import pytest

from shared.errors import Permanent
from shared.judgement import Court
from shared.locking.debian import DebianLocker
from shared.model.lock import Change
from shared.model.manifest import DebianPackage
from shared.ports.upstream import Archive
from tests.support.claims import debian, manifest
from tests.support.market import TRIXIE, Market


def lock(market: Market, court: Court, *packages: DebianPackage) -> tuple[dict[str, str], dict[str, Change]]:
    verdicts = {v.package.purl: v for v in court.packages([p.package(TRIXIE) for p in packages], False)}
    found, changes = DebianLocker(market.archives(TRIXIE), court.packages, verdicts).lock(manifest(packages))
    assert [entry.name for _, entry in found] == sorted(entry.name for _, entry in found)
    return {entry.name: entry.version for _, entry in found}, {c.after.name: c for c in changes}


@pytest.fixture
def flawed(market: Market) -> Archive:
    """libbar 1-1 is flawed, 1-2 is not."""
    old = market.deb("libbar", "1-1")
    market.deb("libbar", "1-2")
    market.flaw("libbar", "1-1", "debian")
    return old


def test_what_needs_the_old_version_exactly_moves_along(
    market: Market, court: Court, flawed: Archive
) -> None:
    foo = market.deb("foo", "1-1", depends="libbar (= 1-1)")
    market.deb("foo", "1-2", depends="libbar (= 1-2)")
    market.deb("foo", "1-3", depends="libbar (>= 1-3)")
    locked, changes = lock(market, court, debian(flawed), debian(foo))
    assert locked == {"libbar": "1-2", "foo": "1-2"}
    assert {name: change.kind for name, change in changes.items()} == {"libbar": "replaced", "foo": "moved"}
    assert changes["foo"].reason == "built from foo, bound to what is replaced"


def test_where_nothing_moves_along_the_dependency_that_keeps_the_old_one_is_named(
    market: Market, court: Court, flawed: Archive
) -> None:
    foo = market.deb("foo", "1-1", depends="libc6, libbar (= 1-1) | nothing")
    with pytest.raises(Permanent) as caught:
        lock(market, court, debian(flawed), debian(foo))
    assert str(caught.value).endswith(
        "needed by the base image, and libbar 1-2 is admitted, but foo 1-1 needs 'libbar (= 1-1) | nothing', which "
        "nothing admitted would meet then. Wait for the distribution's fix, or waive GHSA-libbar-1-1."
    )


def test_a_further_version_that_breaks_nothing_comes_before_an_end(
    market: Market, court: Court, flawed: Archive
) -> None:
    market.deb("libbar", "1-3")
    foo = market.deb("foo", "1-1", depends="libbar (= 1-1) | libbar (>= 1-3)")
    assert lock(market, court, debian(flawed), debian(foo))[0] == {"libbar": "1-3"}


def test_what_a_replacement_needs_anew_comes_with_it_if_it_is_admitted(market: Market, court: Court) -> None:
    old = market.deb("libbar", "1-1")
    market.deb("libbar", "1-2", depends="libnew (>= 2) | libother, bash")
    bash = market.deb("bash", "5-1")
    for version in ("1-1", "2-1", "2-2"):
        market.deb("libnew", version, depends="libdeep")
    market.deb("libdeep", "1-1", architecture="all")
    market.flaw("libbar", "1-1", "debian")
    market.flaw("libnew", "2-2", "debian")
    locked, changes = lock(market, court, debian(old), debian(bash))
    assert locked == {"libbar": "1-2", "libnew": "2-1", "libdeep": "1-1"}
    assert {name: (c.kind, c.required_by) for name, c in changes.items()} == {
        "libbar": ("replaced", ("the base image",)),
        "libnew": ("added", ("libbar",)),
        "libdeep": ("added", ("libnew",)),
    }
    for version in ("1-1", "2-1"):
        market.flaw("libnew", version, "debian")
    with pytest.raises(
        Permanent, match=r"libbar 1-2 needs 'libnew \(>= 2\) \| libother', which nothing admitted"
    ):
        lock(market, court, debian(old), debian(bash))


def test_what_never_held_is_no_reason(market: Market, court: Court, flawed: Archive) -> None:
    odd = market.deb("odd", "1-1", depends="libbar (= 0-9), missing")
    assert lock(market, court, debian(flawed), debian(odd))[0] == {"libbar": "1-2"}


def test_something_older_takes_the_place_of_what_the_install_added_and_never_of_the_base(
    market: Market, court: Court
) -> None:
    for version in ("1.6-1", "1.6-2"):
        market.deb("jq", version)
    jq = market.deb("jq", "1.7-1")
    market.flaw("jq", "1.7-1", "debian")
    locked, changes = lock(market, court, debian(jq, in_base=False))
    assert locked == {"jq": "1.6-2"}
    assert (changes["jq"].before.version, changes["jq"].after.version) == ("1.7-1", "1.6-2")
    with pytest.raises(Permanent, match="no newer admitted version"):
        lock(market, court, debian(jq))
