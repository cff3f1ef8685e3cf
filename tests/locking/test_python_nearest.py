"""Locking as near as possible to what the VM had, and with as few changes."""

from __future__ import annotations

import pytest

from shared.errors import Permanent
from shared.model.value import sha256
from tests.locking.conftest import Locker, versions
from tests.support.claims import python
from tests.support.market import Market


def test_where_the_nearest_does_not_fit_the_next_one_is_taken_and_not_the_newest(
    market: Market, lock: Locker
) -> None:
    app = market.wheel("app", "1.0", "lib!=1.1")
    lib = market.wheel("lib", "1.0")
    for version in ("1.1", "1.2", "1.3", "1.9"):
        market.wheel("lib", version)
    market.flaw("lib", "1.0")
    found, _ = lock(
        python("app", "1.0", app, requires=("lib!=1.1",), requested=True), python("lib", "1.0", lib)
    )
    assert versions(found.packages) == {"app": "1.0", "lib": "1.2"}


def test_what_the_resolver_moved_along_without_need_stays(market: Market, lock: Locker) -> None:
    lib, first, second = (market.wheel(name, "1.0") for name in ("lib", "first", "second"))
    for name in ("first", "second"):
        market.wheel(name, "2.0")
    market.wheel("lib", "1.1", "first>=2")
    market.wheel("lib", "1.2", "first>=2", "second>=2")
    market.flaw("lib", "1.0")
    found, _ = lock(
        *(python(name, "1.0", made, requested=True) for name, made in (("first", first), ("second", second))),
        python("lib", "1.0", lib, requested=True),
    )
    assert versions(found.packages) == {"first": "2.0", "lib": "1.1", "second": "1.0"}


def test_what_moves_goes_no_further_than_it_must(market: Market, lock: Locker) -> None:
    lib, tool = market.wheel("lib", "1.0"), market.wheel("tool", "1.0")
    for version in ("1.1", "1.2", "2.0"):
        market.wheel("tool", version)
    market.wheel("lib", "1.1", "tool>=1.1")
    market.flaw("lib", "1.0")
    found, _ = lock(python("tool", "1.0", tool, requested=True), python("lib", "1.0", lib, requested=True))
    assert versions(found.packages) == {"lib": "1.1", "tool": "1.1"}


def test_a_refused_package_that_nothing_needs_any_more_goes(market: Market, lock: Locker) -> None:
    """No version of it is admitted, and the one that asked for it has a version that does not."""
    app, lib = market.wheel("app", "1.0", "lib"), market.wheel("lib", "1.0")
    market.wheel("app", "1.1")
    market.flaw("lib", "1.0")
    found, changes = lock(
        python("app", "1.0", app, requires=("lib",), requested=True), python("lib", "1.0", lib)
    )
    assert versions(found.packages) == {"app": "1.1"}
    assert {(c.kind, c.before.name, c.after.version, c.advisories) for c in changes} == {
        ("moved", "app", "1.1", ()),
        ("dropped", "lib", "none", ("GHSA-lib-1.0",)),
    }


def test_what_only_an_extra_brought_is_not_dropped_when_it_is_refused(market: Market, lock: Locker) -> None:
    app, lib = market.wheel("app", "1.0"), market.wheel("lib", "1.0")
    market.wheel("app", "1.1")
    market.flaw("lib", "1.0")
    needs = ("lib ; extra == 'more'",)
    with pytest.raises(Permanent, match="no version of it is admitted"):
        lock(python("app", "1.0", app, requires=needs, requested=True), python("lib", "1.0", lib))


def test_hundreds_of_refused_versions_are_told_at_once(market: Market, lock: Locker) -> None:
    app = market.wheel("app", "1.0")
    market.wheel("app", "1.1", "huge")
    for minor in range(300):
        market.wheel("huge", f"1.{minor}")
        if minor != 7:
            market.flaw("huge", f"1.{minor}")
    market.flaw("app", "1.0")
    found, _ = lock(python("app", "1.0", app, requested=True))
    assert versions(found.packages) == {"app": "1.1", "huge": "1.7"}
    assert len(market.asked) <= 3


def test_every_file_of_a_lock_has_a_hash_also_what_builds_it(market: Market, lock: Locker) -> None:
    market.sdist("old", "1.0", "builder>=1")
    market.wheel("builder", "2.0", "helper")
    market.wheel("helper", "1.0")
    lib = market.wheel("lib", "1.0")
    market.wheel("lib", "1.1", "old")
    market.flaw("lib", "1.0")
    found, _ = lock(python("lib", "1.0", lib, requested=True))
    files = [each for file in found.packages for each in (file, *file.build)]
    known = {sha256(content) for content in market.contents.values()}
    assert {file.name for file in files} == {"lib", "old", "builder", "helper"}
    assert all(file.sha256 in known for file in files)


def test_what_the_workload_asked_for_as_an_extra_holds_for_the_replacement(
    market: Market, lock: Locker
) -> None:
    """Nobody else needs `fast`: it came with app[quick], and the newer app needs more of it for that."""
    old = ("fast<2 ; extra == 'quick'", "docs ; extra == 'docs'")
    app, fast = market.wheel("app", "1.0", *old), market.wheel("fast", "1.0")
    market.wheel(
        "app", "1.1", "fast>=2 ; extra == 'quick'", "faster ; extra == 'quick'", "docs ; extra == 'docs'"
    )
    for name, version in (("fast", "2.0"), ("faster", "1.0"), ("docs", "1.0")):
        market.wheel(name, version)
    market.flaw("app", "1.0")
    found, changes = lock(
        python("app", "1.0", app, requires=old, requested=True), python("fast", "1.0", fast)
    )
    assert versions(found.packages) == {"app": "1.1", "fast": "2.0", "faster": "1.0"}
    assert {c.after.name: c.kind for c in changes} == {"app": "replaced", "fast": "moved", "faster": "added"}


def test_an_extra_that_nothing_speaks_for_was_not_asked_for(market: Market, lock: Locker) -> None:
    old = ("fast ; extra == 'quick'", "tool ; extra == 'dev'")
    app, fast, tool = (
        market.wheel("app", "1.0", *old),
        market.wheel("fast", "1.0"),
        market.wheel("tool", "1.0"),
    )
    market.wheel("app", "1.1", "missing ; extra == 'quick'", "missing ; extra == 'dev'")
    market.flaw("app", "1.0")
    found, _ = lock(
        python("app", "1.0", app, requires=old, requested=True),
        python("fast", "1.0", fast, requested=True),
        python("tool", "1.0", tool, requested=True),
    )
    assert versions(found.packages) == {"app": "1.1", "fast": "1.0", "tool": "1.0"}
