"""A signed Release that was true once: who stands between cannot go back to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from shared.errors import Permanent, Transient
from shared.memory.store import MemoryStore
from shared.model.package import Release
from shared.ports.store import Store
from shared.upstream.apt import AptIndexClient
from shared.upstream.release_dates import ReleaseDates
from shared.upstream.snapshot import Snapshots
from tests.upstream.apt_repository import Suite, stanza
from tests.upstream.conftest import Signer
from tests.upstream.support import Web
from tests.upstream.test_apt import NOW, TRIXIE, repository

__all__ = ["repository"]

Repository = Callable[..., AptIndexClient]
THURSDAY, FRIDAY = "Thu, 19 Nov 2026 10:00:00 UTC", "Fri, 20 Nov 2026 10:00:00 UTC"
OLDER = (
    r"/debian/dists/trixie/InRelease is dated 2026-11-19 10:00:00 UTC, and one of 2026-11-20 10:00:00 UTC was seen "
    r"before: .* it is refused\.$"
)


@pytest.fixture
def read(repository: Repository) -> Callable[..., Any]:
    """Debian's stable suite as it is: dated, and without an end. Each time by a client of its own."""
    store = MemoryStore()

    def reading(date: str, dates: Store | None = store, **changes: Any) -> Any:
        made = repository(fields={"Date": date, "Valid-Until": ""}, **changes)
        made._dates = ReleaseDates(dates) if dates else None
        return made.archives(TRIXIE)

    return reading


def test_an_older_release_than_one_that_was_seen_is_refused(read: Callable[..., Any]) -> None:
    assert read(FRIDAY)
    with pytest.raises(Transient, match=OLDER):
        read(THURSDAY)
    with pytest.raises(Transient, match=OLDER):
        read(THURSDAY, inline=True, stanzas=(stanza("zlib", "1:1.3-1"),))
    assert read(FRIDAY)
    assert read("Fri, 20 Nov 2026 10:00:01 UTC")
    with pytest.raises(Transient, match="seen before"):
        read(FRIDAY)


def test_what_is_not_remembered_is_not_known(read: Callable[..., Any]) -> None:
    assert read(FRIDAY)
    assert read(THURSDAY, dates=None)
    assert read(THURSDAY, dates=MemoryStore())


def test_what_nobody_vouched_for_is_not_remembered(read: Callable[..., Any], stranger: Signer) -> None:
    """Or whoever stands between could put an end to all updates."""
    with pytest.raises(Permanent, match="no valid signature"):
        read("Sat, 21 Nov 2026 10:00:00 UTC", signer=stranger)
    with pytest.raises(Permanent, match="in the future"):
        read("Wed, 25 Nov 2026 10:00:00 UTC")
    assert read(THURSDAY)


def test_suites_are_apart(web: Web, signer: Signer, read: Callable[..., Any], repository: Repository) -> None:
    """trixie-updates is of 2026-11-20 00:12 in these tests, trixie is older."""
    assert read(THURSDAY)
    client = repository(fields={"Date": THURSDAY, "Valid-Until": ""})
    store = MemoryStore()
    client._dates = ReleaseDates(store)
    assert client.archives(TRIXIE)
    Suite(signer, "trixie-updates", fields={"Date": THURSDAY}).publish(web)
    again = AptIndexClient(client._mirrors, client._keyrings, clock=lambda: NOW, dates=ReleaseDates(store))
    with pytest.raises(Transient, match=r"/trixie-updates/InRelease is dated .* seen before"):
        again.archives(TRIXIE)


def test_a_snapshot_is_asked_for_an_old_state(
    web: Web, signer: Signer, repository: Repository, read: Callable[..., Any]
) -> None:
    """By a moment that we choose; nor does it say anything about what is there today."""
    wednesday, store = NOW - 3 * 86_400, MemoryStore()
    client = repository(fields={"Date": FRIDAY, "Valid-Until": ""})
    client._dates, client._snapshots = ReleaseDates(store), Snapshots(f"{web.url}/archive")
    assert client.archives(TRIXIE)
    for suite, archive in (
        ("trixie", "debian"),
        ("trixie-updates", "debian"),
        ("trixie-security", "debian-security"),
    ):
        fields = {"Date": "Tue, 17 Nov 2026 10:00:00 UTC", "Valid-Until": ""}
        path = f"/archive/{archive}/20261118T200000Z"
        Suite(signer, suite, path, (stanza("hello", "2.10-1"),), fields).publish(web)
    release: Release = TRIXIE
    assert client.as_of(release, wednesday)["hello", "amd64"][0].version == "2.10-1"
    assert all(int(each["date"]) > wednesday for _, each in _remembered(store))


def _remembered(store: MemoryStore) -> list[tuple[str, dict[str, Any]]]:
    found = [(id, fields) for (name, id), fields in store._documents.items() if name == "releases"]
    assert len(found) == 3
    return found
