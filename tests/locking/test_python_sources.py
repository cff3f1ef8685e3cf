"""Locking Python packages that no index gave: the user's own wheels, files by URL, and what is built from source."""

from __future__ import annotations

import pytest

from shared.errors import Permanent
from shared.judgement import Court
from shared.model.manifest import DirectUrl, PythonPackage
from tests.locking.conftest import Locker, versions
from tests.support import built
from tests.support.claims import python
from tests.support.market import Market

# --- the user's own wheels, and what came from elsewhere ---


def test_own_wheels_stay_and_what_they_require_holds(market: Market, lock: Locker) -> None:
    mine = built.wheel("mine", "1.0", ("lib<2",))
    app, lib = market.wheel("app", "1.0", "mine", "lib"), market.wheel("lib", "1.0")
    market.wheel("lib", "2.0")
    market.wheel("lib", "0.9")
    market.wheel("mine", "99.0", "evil")  # a stranger's package of the same name
    market.wheel("evil", "1.0")
    market.flaw("lib", "1.0")
    found, _ = lock(
        python("app", "1.0", app, requires=("mine", "lib"), requested=True),
        python("lib", "1.0", lib),
        python("mine", "1.0", mine, requires=("lib<2",), requested=True),
        own={mine.filename: mine.sha256},
    )
    assert versions(found.packages) == {"app": "1.0", "lib": "0.9", "mine": "1.0"}
    locked = next(each for each in found.packages if each.name == "mine")
    assert (locked.url, locked.sha256, locked.record) == (f"own:{mine.sha256}", mine.sha256, mine.record)


def test_an_own_wheel_that_is_refused_is_not_replaced_by_a_strangers(market: Market, lock: Locker) -> None:
    mine = built.wheel("mine", "1.0")
    market.wheel("mine", "99.0")
    market.flaw("mine", "1.0")
    with pytest.raises(Permanent, match="did not come from the index"):
        lock(python("mine", "1.0", mine), own={mine.filename: mine.sha256})


def test_what_came_from_a_url_is_not_replaced_by_a_strangers(market: Market, lock: Locker) -> None:
    mine = built.wheel("mine", "1.0")
    market.wheel("mine", "99.0")
    url = DirectUrl(url="git+https://git.test/mine")
    with pytest.raises(Permanent, match=r"came from git.*did not come from the index"):
        lock(python("mine", "1.0", mine, direct_url=url))


def test_what_another_index_gave_is_not_replaced_by_a_strangers(market: Market, lock: Locker) -> None:
    """Installed from a second index, which leaves no trace but that the first one has no such version."""
    private, lib = built.wheel("private", "1.0"), market.wheel("lib", "1.0")
    market.wheel("private", "99.0")
    market.wheel("lib", "1.1")
    market.flaw("lib", "1.0")
    with pytest.raises(
        Permanent, match=r"private 1\.0: the index has 1 files of it but none of that version"
    ):
        lock(python("private", "1.0", private), python("lib", "1.0", lib))


# --- source distributions ---


def test_a_source_distribution_brings_its_build_requirements(market: Market, lock: Locker) -> None:
    market.sdist("old", "1.0", "builder>=1")
    market.wheel("builder", "2.0", "helper")
    market.wheel("helper", "1.0")
    found, changes = lock(python("old", "1.0", tags=("cp313-cp313-linux_x86_64",)))
    (old,) = found.packages
    assert (old.filename, old.record) == ("old-1.0.tar.gz", None)
    assert versions(old.build) == {"builder": "2.0", "helper": "1.0"}
    assert market.recorded == []
    assert changes == ()


def test_build_requirements_are_judged(market: Market, lock: Locker) -> None:
    market.sdist("old", "1.0", "builder")
    for version in ("1.0", "2.0"):
        market.wheel("builder", version)
    market.flaw("builder", "2.0")
    found, _ = lock(python("old", "1.0", tags=("cp313-cp313-linux_x86_64",)))
    assert versions(found.packages[0].build) == {"builder": "1.0"}
    market.flaw("builder", "1.0")
    with pytest.raises(Permanent, match=r"old-1\.0\.tar\.gz needs to be built cannot be had.*builder"):
        lock(python("old", "1.0", tags=("cp313-cp313-linux_x86_64",)))


def test_what_builds_others_is_a_wheel_itself(market: Market, lock: Locker) -> None:
    market.sdist("old", "1.0", "builder")
    market.sdist("builder", "1.0")
    with pytest.raises(Permanent, match="it has no wheel for this machine"):
        lock(python("old", "1.0", tags=("cp313-cp313-linux_x86_64",)))


def test_a_policy_against_source_distributions_holds_for_replacements_too(
    market: Market, lock: Locker, court: Court
) -> None:
    strict = court.policy.model_copy(
        update={"pypi": court.policy.pypi.model_copy(update={"source_distribution": "block"})}
    )
    object.__setattr__(court, "policy", strict)
    lib = market.wheel("lib", "1.0")
    market.sdist("lib", "1.1")
    market.wheel("lib", "1.2")
    market.flaw("lib", "1.0")
    found, _ = lock(python("lib", "1.0", lib))
    assert versions(found.packages) == {"lib": "1.2"}
    market.sdist("old", "1.0")
    with pytest.raises(Permanent, match="is refused as a source"):
        lock(python("old", "1.0", tags=("cp313-cp313-linux_x86_64",)))


def test_the_index_does_not_give_what_bears_an_own_wheels_name(market: Market, lock: Locker) -> None:
    mine, stranger = built.wheel("mine", "1.0"), market.wheel("mine", "2.0")
    own = {mine.filename: mine.sha256}
    refusal = "mine 2.0 would come from the index in the place of the workload's own wheel mine-1.0"
    with pytest.raises(Permanent, match=refusal):
        lock(python("mine", "2.0", stranger), own=own)
    with pytest.raises(Permanent, match=refusal):  # hidden by the VM, and led to by what needs it
        lock(refused_that_needs_mine(market), own=own)
    # Without a wheel of the user's own it is a package like any other.
    assert lock(python("mine", "2.0", stranger))[0].packages[0].sha256 == stranger.sha256


def refused_that_needs_mine(market: Market) -> PythonPackage:
    bad = market.wheel("bad", "1.0")
    market.wheel("bad", "1.1", "mine")
    market.flaw("bad", "1.0")
    return python("bad", "1.0", bad)
