"""Locking Debian packages: the archives that the signed index lists, and newer ones for what was refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shared.errors import Permanent
from shared.judgement import Court
from shared.locking.debian import DebianLocker, installed_after
from shared.model.lock import Change, LockedArchive
from shared.model.manifest import DebianPackage
from shared.model.value import sha256
from tests.support.claims import debian, manifest
from tests.support.market import TRIXIE, Market

Result = tuple[dict[str, str], tuple[Change, ...]]
Locker = Callable[..., Result]


@pytest.fixture
def lock(market: Market, court: Court) -> Locker:
    def locked(*packages: DebianPackage) -> Result:
        verdicts = {v.package.purl: v for v in court.packages([p.package(TRIXIE) for p in packages], False)}
        locker = DebianLocker(market.archives(TRIXIE), court.packages, verdicts)
        found, changes = locker.lock(manifest(packages))
        for archive, entry in found:
            assert (entry.name, entry.version, entry.sha256) == (
                archive.name,
                archive.version,
                archive.sha256,
            )
        return {entry.name: entry.version for _, entry in found}, changes

    return locked


def test_what_the_install_added_is_locked_the_base_image_is_not(market: Market, lock: Locker) -> None:
    bash, jq = market.deb("bash", "5.2-1"), market.deb("jq", "1.7-1")
    assert lock(debian(bash), debian(jq, in_base=False)) == ({"jq": "1.7-1"}, ())


def test_another_archive_than_the_signed_one_is_refused(market: Market, lock: Locker) -> None:
    jq = market.deb("jq", "1.7-1")
    with pytest.raises(Permanent, match="did not come from the distribution"):
        lock(debian(jq, in_base=False, archive=sha256(b"another")))


def test_an_archive_that_the_vm_no_longer_had_is_taken_from_the_index(market: Market, lock: Locker) -> None:
    jq = market.deb("jq", "1.7-1")
    assert lock(debian(jq, in_base=False, archive=None)) == ({"jq": "1.7-1"}, ())


def test_a_version_that_no_index_lists_is_refused(market: Market, lock: Locker) -> None:
    jq = market.deb("jq", "1.7-1")
    with pytest.raises(Permanent, match="list no such version"):
        lock(debian(jq, in_base=False, version="1.7-666"))


@pytest.mark.parametrize("lie", [{"source_name": "harmless"}, {"source_version": "9.9-1"}])
def test_a_lie_about_the_source_hides_no_advisory(lie: dict[str, str], market: Market, lock: Locker) -> None:
    jq = market.deb("jq", "1.7-1")
    market.flaw("jq", "1.7-1", "debian")
    with pytest.raises(Permanent, match="judged as what it is not"):
        lock(debian(jq, in_base=False, **lie))


def test_a_package_of_the_base_image_is_replaced_by_the_nearest_admitted(
    market: Market, lock: Locker
) -> None:
    old = market.deb("bash", "5.2-1")
    for version in ("5.2-2", "5.2-3", "5.2-10"):
        market.deb("bash", version)
    market.flaw("bash", "5.2-1", "debian")
    market.flaw("bash", "5.2-2", "debian")
    locked, (change,) = lock(debian(old))
    assert locked == {"bash": "5.2-3"}
    assert (change.before.version, change.after.version) == ("5.2-1", "5.2-3")
    assert change.required_by == ("the base image",)
    assert change.advisories == ("GHSA-bash-5.2-1",)


def test_binaries_of_one_source_move_together(market: Market, lock: Locker) -> None:
    """libssl3 is to be had at -2 as well, but openssl is not: both go to -3, and the third binary with them."""
    for name in ("openssl", "libssl3", "libssl-doc"):
        market.deb(name, "3.0-1", source="openssl")
        market.deb(name, "3.0-3", source="openssl")
    market.deb("libssl3", "3.0-2", source="openssl")
    other = market.deb("bash", "5.2-1")
    market.flaw("openssl", "3.0-1", "debian")
    held = [debian(market.pool[name, "amd64"][-1]) for name in ("openssl", "libssl3")]
    doc = debian(market.pool["libssl-doc", "amd64"][-1], in_base=False)
    locked, changes = lock(*held, doc, debian(other))
    assert locked == {"openssl": "3.0-3", "libssl3": "3.0-3", "libssl-doc": "3.0-3"}
    assert len(changes) == 3


def test_every_refused_binary_of_a_source_needs_its_newer_version(market: Market, lock: Locker) -> None:
    tool, old = market.deb("tool", "1-1", source="tools"), market.deb("tool-old", "1-1", source="tools")
    market.deb("tool", "1-2", source="tools", source_version="1-2")
    market.flaw("tools", "1-1", "debian")
    with pytest.raises(Permanent, match="no newer admitted version"):
        lock(debian(tool), debian(old))


def test_where_nothing_newer_is_admitted_the_sentence_says_everything(market: Market, lock: Locker) -> None:
    old = market.deb("bash", "5.2-1")
    market.deb("bash", "5.1-9")
    market.flaw("bash", "5.2-1", "debian")
    with pytest.raises(Permanent) as caught:
        lock(debian(old))
    words = str(caught.value)
    assert "pkg:deb/debian/bash@5.2-1?arch=amd64&distro=debian-13 is refused" in words
    assert "GHSA-bash-5.2-1" in words
    assert "needed by the base image" in words


def test_a_version_that_is_none_is_refused_in_words(market: Market, lock: Locker) -> None:
    """A manifest does not hold one; should it ever, nothing is looked for."""
    old = market.deb("bash", "5.2-1")
    market.flaw("bash", "5-", "debian")
    with pytest.raises(Permanent, match="which is no version"):
        lock(debian(old).model_copy(update={"version": "5-", "source_version": "5-"}))


def test_without_a_verdict_nothing_enters(market: Market, court: Court) -> None:
    jq = market.deb("jq", "1.7-1")
    with pytest.raises(Permanent, match="has no verdict"):
        DebianLocker(market.archives(TRIXIE), court.packages, {}).lock(manifest([debian(jq)]))


def test_after_the_lock_the_machine_holds_base_and_lock(market: Market) -> None:
    bash, jq, gone = market.deb("bash", "1-1"), market.deb("jq", "1-1"), market.deb("gone", "1-1")
    held = manifest([debian(bash), debian(gone, in_base=False)])
    entry = LockedArchive(
        name="jq",
        version="1-1",
        architecture="amd64",
        source_name="jq",
        source_version="1-1",
        filename="jq.deb",
        url=jq.url,
        sha256=jq.sha256,
        size=jq.size,
        suite="trixie",
    )
    newer = entry.model_copy(update={"name": "bash", "version": "2-1"})
    assert installed_after(held, [entry, newer]) == {("bash", "amd64"): "2-1", ("jq", "amd64"): "1-1"}
