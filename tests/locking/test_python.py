"""Locking a Python environment: what the VM had, and the nearest admitted versions for what was refused."""

from __future__ import annotations

import pytest

from shared.errors import Permanent
from shared.judgement import Court
from shared.model.package import Package
from shared.model.value import sha256
from tests.locking.conftest import Locker, versions
from tests.support.claims import python
from tests.support.market import Market


def test_what_is_admitted_is_locked_as_the_vm_had_it(market: Market, lock: Locker) -> None:
    lib, app = market.wheel("lib", "1.0"), market.wheel("app", "2.0", "lib")
    found, changes = lock(python("app", "2.0", app, requires=("lib",)), python("lib", "1.0", lib))
    assert changes == ()
    assert [(each.filename, each.sha256, each.record) for each in found.packages] == [
        (app.filename, app.sha256, app.record),
        (lib.filename, lib.sha256, lib.record),
    ]
    assert (market.asked, market.recorded) == ([], [])


def test_the_nearest_admitted_version_upwards_comes_first_the_others_stay(
    market: Market, lock: Locker
) -> None:
    app, tool = market.wheel("app", "1.0", "lib"), market.wheel("tool", "1.0")
    market.wheel("tool", "2.0")
    lib = market.wheel("lib", "1.2.0")
    # As text 1.10.0 sorts before 1.9.0: nearness is about versions.
    for version in ("1.1.0", "1.3.0", "1.9.0", "1.10.0"):
        market.wheel("lib", version)
    market.flaw("lib", "1.2.0")
    market.flaw("lib", "1.3.0")
    found, (change,) = lock(
        python("app", "1.0", app, requires=("lib",), requested=True),
        python("lib", "1.2.0", lib, requires=("lib[more] ; extra == 'all'",)),
        python("tool", "1.0", tool, requested=True),
    )
    assert versions(found.packages) == {"app": "1.0", "lib": "1.9.0", "tool": "1.0"}
    assert (change.before.version, change.after.version) == ("1.2.0", "1.9.0")
    assert change.advisories == ("GHSA-lib-1.2.0",)
    assert change.required_by == ("app",)
    assert "GHSA-lib-1.2.0" in change.reason
    assert market.recorded == ["lib-1.9.0-py3-none-any.whl"]
    assert market.platforms == {"manylinux_2_28_x86_64"}
    assert {each.record for each in found.packages if each.name == "lib"} == {
        made.record for made in market.wheels.values() if made.filename in market.recorded
    }


def test_downwards_only_when_nothing_above_fits(market: Market, lock: Locker) -> None:
    app, lib = market.wheel("app", "1.0", "lib<2"), market.wheel("lib", "1.5")
    for version in ("1.0", "1.4", "2.0"):
        market.wheel("lib", version)
    market.flaw("lib", "1.5")
    found, _ = lock(python("app", "1.0", app, requires=("lib<2",)), python("lib", "1.5", lib))
    assert versions(found.packages)["lib"] == "1.4"


def test_the_others_move_only_if_nothing_else_fits(market: Market, lock: Locker) -> None:
    app, lib = market.wheel("app", "1.0", "lib<2"), market.wheel("lib", "1.5")
    market.wheel("app", "1.1", "lib<3")
    market.wheel("lib", "2.0")
    market.wheel("lib", "2.1")
    market.flaw("lib", "1.5")
    found, changes = lock(
        python("app", "1.0", app, requires=("lib<2",), requested=True), python("lib", "1.5", lib)
    )
    assert versions(found.packages) == {"app": "1.1", "lib": "2.0"}
    assert {change.after.name: change.reason for change in changes}[
        "app"
    ] == "the replacement of lib asks for it"


def test_a_further_version_that_moves_nobody_comes_before_a_nearer_one_that_does(
    market: Market, lock: Locker
) -> None:
    tool, lib = market.wheel("tool", "1.0"), market.wheel("lib", "1.0")
    market.wheel("tool", "2.0")
    market.wheel("lib", "1.1", "tool>=2")
    market.wheel("lib", "1.2")
    market.flaw("lib", "1.0")
    found, _ = lock(python("tool", "1.0", tool, requested=True), python("lib", "1.0", lib, requested=True))
    assert versions(found.packages) == {"lib": "1.2", "tool": "1.0"}


def test_a_package_that_stands_in_the_way_and_nobody_needs_is_dropped(market: Market, lock: Locker) -> None:
    core = market.wheel("core", "1.0", "lib<2")
    lib = market.wheel("lib", "1.0", "core")
    market.wheel("lib", "2.0")
    market.flaw("lib", "1.0")
    found, changes = lock(
        python("lib", "1.0", lib, requires=("core",), requested=True), python("core", "1.0", core)
    )
    assert versions(found.packages) == {"lib": "2.0"}
    assert {(c.before.name, c.after.version) for c in changes} == {("lib", "2.0"), ("core", "none")}


def test_several_refused_at_once(market: Market, lock: Locker) -> None:
    packages = []
    for name in "abcdefghijkl":
        packages.append(python(name, "1.0", market.wheel(name, "1.0"), requested=True))
        market.flaw(name, "1.0")
        for minor in range(1, 30):
            market.wheel(name, f"1.{minor}")
    found, changes = lock(*packages)
    assert set(versions(found.packages).values()) == {"1.1"}
    assert len(changes) == 12


def test_several_refused_that_fit_only_far_from_where_they_were(market: Market, lock: Locker) -> None:
    """Far beyond the combinations that are tried one by one, the resolver is asked among all that is admitted."""
    packages = []
    for name in "abc":
        packages.append(python(name, "1.0", market.wheel(name, "1.0"), requested=True))
        market.flaw(name, "1.0")
        for minor in range(1, 20):
            others = [f"{other}==1.{minor if minor == 19 else 99}" for other in "abc" if other != name]
            market.wheel(name, f"1.{minor}", *others)
    # Nobody requires it by its plain name, as what an extra brought: it stays all the same.
    packages.append(python("of-an-extra", "1.0", market.wheel("of-an-extra", "1.0")))
    found, _ = lock(*packages)
    assert versions(found.packages) == {"a": "1.19", "b": "1.19", "c": "1.19", "of-an-extra": "1.0"}


def test_a_new_dependency_of_a_replacement_is_judged(market: Market, lock: Locker) -> None:
    lib = market.wheel("lib", "1.0")
    market.wheel("lib", "1.1", "extra")
    market.wheel("extra", "1.0")
    market.wheel("extra", "2.0")
    market.flaw("lib", "1.0")
    market.flaw("extra", "2.0")
    found, changes = lock(python("lib", "1.0", lib, requested=True))
    assert versions(found.packages) == {"extra": "1.0", "lib": "1.1"}
    added = next(change for change in changes if change.after.name == "extra")
    assert added.required_by == ("lib",)


def test_a_replacement_with_a_refused_dependency_gives_way_to_the_next(market: Market, lock: Locker) -> None:
    lib = market.wheel("lib", "1.0")
    market.wheel("lib", "1.1", "extra")
    market.wheel("lib", "1.2")
    market.wheel("extra", "1.0")
    market.flaw("lib", "1.0")
    market.flaw("extra", "1.0")
    found, _ = lock(python("lib", "1.0", lib, requested=True))
    assert versions(found.packages) == {"lib": "1.2"}


def test_a_refused_dependency_is_named_where_nothing_else_is_left(market: Market, lock: Locker) -> None:
    lib = market.wheel("lib", "1.0")
    market.wheel("lib", "1.1", "extra")
    market.wheel("extra", "1.0")
    market.flaw("lib", "1.0")
    market.flaw("extra", "1.0")
    with pytest.raises(
        Permanent, match=r"the admitted one, 1\.1, is excluded by the refusal of extra 1\.0 \(GHSA-ex"
    ):
        lock(python("lib", "1.0", lib, requested=True))


def test_where_no_version_is_admitted_the_sentence_says_everything(market: Market, lock: Locker) -> None:
    app, lib = market.wheel("app", "1.0", "lib"), market.wheel("lib", "1.0")
    market.wheel("lib", "1.1")
    market.flaw("lib", "1.0")
    market.flaw("lib", "1.1")
    with pytest.raises(Permanent) as caught:
        lock(python("app", "1.0", app, requires=("lib",)), python("lib", "1.0", lib))
    words = str(caught.value)
    assert "pkg:pypi/lib@1.0 is refused" in words
    assert "GHSA-lib-1.0" in words
    assert "needed by app" in words
    assert "no version of it is admitted" in words


def test_where_nothing_fits_the_conflict_and_all_refused_are_named(market: Market, lock: Locker) -> None:
    app = market.wheel("app", "1.0", "lib==1.0", "other==1.0")
    lib, other = market.wheel("lib", "1.0"), market.wheel("other", "1.0")
    for name in ("lib", "other"):
        market.wheel(name, "2.0")
        market.flaw(name, "1.0")
    needs = ("lib==1.0", "other==1.0")
    words = r"2\.0, is excluded by app 1\.0, which requires lib==1\.0; .*Refused as well: pkg:pypi/other@1\.0"
    with pytest.raises(Permanent, match=words):
        lock(
            python("app", "1.0", app, requires=needs, requested=True),
            python("lib", "1.0", lib),
            python("other", "1.0", other),
        )


def test_yanked_and_pre_releases_and_files_for_other_pythons_are_not_chosen(
    market: Market, lock: Locker
) -> None:
    lib = market.wheel("lib", "1.0")
    market.wheel("lib", "1.1", yanked=True)
    market.wheel("lib", "1.2rc1")
    market.wheel("lib", "1.3", tag="cp312-cp312-manylinux_2_17_x86_64")
    market.wheel("lib", "1.4", python=">=3.14")
    market.wheel("lib", "1.5", tag="cp313-cp313-manylinux_2_28_x86_64")
    market.flaw("lib", "1.0")
    found, _ = lock(python("lib", "1.0", lib, requested=True))
    assert versions(found.packages) == {"lib": "1.5"}


def test_a_pre_release_may_replace_a_pre_release(market: Market, lock: Locker) -> None:
    lib = market.wheel("lib", "2.0rc1")
    market.wheel("lib", "2.0rc2")
    market.flaw("lib", "2.0rc1")
    found, _ = lock(python("lib", "2.0rc1", lib, requested=True))
    assert versions(found.packages) == {"lib": "2.0rc2"}


def test_another_spelling_of_a_version_is_no_change(market: Market, lock: Locker) -> None:
    """METADATA may say 2024.07, the resolver answers 2024.7."""
    dates, lib = market.wheel("dates", "2024.07"), market.wheel("lib", "1.0")
    market.wheel("lib", "1.1")
    market.flaw("lib", "1.0")
    found, (change,) = lock(python("dates", "2024.07", dates), python("lib", "1.0", lib))
    assert change.after.name == "lib"
    assert found.packages[0].record == dates.record


@pytest.mark.parametrize("own", [False, True])
def test_a_wheel_that_is_not_as_its_record_says_is_refused(own: bool, market: Market, lock: Locker) -> None:
    lib = market.wheel("lib", "1.0")
    mine = {"own": {lib.filename: lib.sha256}} if own else {}
    with pytest.raises(Permanent, match="its files were changed, or its RECORD is missing"):
        lock(python("lib", "1.0"), **mine)


def test_without_a_verdict_nothing_enters(market: Market, lock: Locker) -> None:
    lib = market.wheel("lib", "1.0")
    with pytest.raises(Permanent, match="has no verdict"):
        lock(python("lib", "1.0", lib), verdicts={})


def test_the_court_answers_in_the_order_of_the_question(court: Court) -> None:
    packages = [Package(ecosystem="pypi", name="x", version=v) for v in ("1.9", "1.10", "1.2", "1.9")]
    assert [each.package for each in court.packages(packages, False)] == packages


def test_the_digest_is_of_the_content(market: Market) -> None:
    lib = market.wheel("lib", "1.0")
    assert market.files("lib")[0].sha256 == sha256(lib.content)
