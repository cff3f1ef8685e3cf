"""No admissible set: the smallest conflict, in one sentence that says what to do."""

from __future__ import annotations

import pytest

from shared.errors import Permanent
from tests.locking.conftest import Locker
from tests.support import built
from tests.support.claims import python
from tests.support.market import Market

FLAWED = "GHSA-jinja2-3.1.4 - severity HIGH; fixed in 9"


def words(lock: Locker, *packages: object, **more: object) -> str:
    with pytest.raises(Permanent) as caught:
        lock(*packages, **more)
    return str(caught.value)


@pytest.fixture
def site(market: Market) -> list[object]:
    """flask needs jinja2, every admitted version of which needs a markupsafe that the workload may exclude."""
    flask = market.wheel("flask", "3.0", "Jinja2>=3.1.2")
    jinja2 = market.wheel("jinja2", "3.1.4", "markupsafe>=1")
    markupsafe = market.wheel("markupsafe", "1.1")
    market.wheel("markupsafe", "2.1")
    for version in ("3.1.5", "3.1.6"):
        market.wheel("jinja2", version, "markupsafe>=2")
    market.flaw("jinja2", "3.1.4")
    others = [python(f"other{i}", "1.0", market.wheel(f"other{i}", "1.0"), requested=True) for i in range(12)]
    return [
        python("flask", "3.0", flask, requires=("Jinja2>=3.1.2",), requested=True),
        python("jinja2", "3.1.4", jinja2, requires=("markupsafe>=1",)),
        python("markupsafe", "1.1", markupsafe),
        *others,
    ]


def test_a_constraint_far_from_the_refused_package(market: Market, lock: Locker, site: list[object]) -> None:
    limits = [*(f"other{i}<2" for i in range(12)), "markupsafe<2"]
    assert words(lock, *site, constraints=limits) == (
        f"pkg:pypi/jinja2@3.1.4 is refused ({FLAWED}), needed by flask, and it cannot be replaced: the admitted ones, "
        "3.1.5, 3.1.6, are excluded by markupsafe<2, a constraint of the workload; loosen that constraint or waive "
        "GHSA-jinja2-3.1.4."
    )
    assert len(market.asked) < 40


def test_the_sentence_is_the_same_every_time(market: Market, lock: Locker, site: list[object]) -> None:
    limits = ["markupsafe<2", "jinja2<3.1.6"]
    assert len({words(lock, *site, constraints=limits) for _ in range(3)}) == 1


def test_what_another_package_requires_by_way_of_a_third(market: Market, lock: Locker) -> None:
    app, middle = market.wheel("app", "1.0", "middle"), market.wheel("middle", "2.0", "lib<2")
    lib = market.wheel("lib", "1.0")
    market.wheel("lib", "2.0")
    market.flaw("lib", "1.0")
    said = words(
        lock,
        python("app", "1.0", app, requires=("middle",), requested=True),
        python("middle", "2.0", middle, requires=("lib<2",)),
        python("lib", "1.0", lib),
    )
    assert (
        "the admitted one, 2.0, is excluded by middle 2.0, which requires lib<2 and is there for app; do without app or"
        in said
    )


def test_what_the_workloads_own_wheel_requires(market: Market, lock: Locker) -> None:
    mine, lib = built.wheel("mine", "1.0", ("lib<2",)), market.wheel("lib", "1.0")
    market.wheel("lib", "2.0")
    market.flaw("lib", "1.0")
    said = words(
        lock,
        python("mine", "1.0", mine, requires=("lib<2",), requested=True),
        python("lib", "1.0", lib),
        own={mine.filename: mine.sha256},
    )
    assert (
        "is excluded by lib<2, which the workload's own wheel mine requires; change what requires lib<2 or"
        in said
    )


def test_two_refusals_that_exclude_each_other(market: Market, lock: Locker) -> None:
    packages = []
    for name, other in (("one", "two"), ("two", "one")):
        packages.append(python(name, "1.0", market.wheel(name, "1.0"), requested=True))
        market.wheel(name, "1.1", f"{other}<1.1")
        market.flaw(name, "1.0")
    said = words(lock, *packages)
    assert "pkg:pypi/one@1.0 is refused" in said
    assert "the admitted one, 1.1, is excluded by the refusal of two 1.0 (GHSA-two-1.0" in said
    assert said.endswith("Refused as well: pkg:pypi/two@1.0.")


def test_where_every_version_is_refused_the_newest_says_why(market: Market, lock: Locker) -> None:
    lib = market.wheel("lib", "1.0")
    for version in ("1.1", "1.2"):
        market.wheel("lib", version)
        market.flaw("lib", version)
    market.flaw("lib", "1.0")
    said = words(lock, python("lib", "1.0", lib, requested=True))
    assert "no version of it is admitted, the newest, 1.2, is refused as well (GHSA-lib-1.2" in said
    assert said.endswith("change the workload's requirements or waive GHSA-lib-1.0.")
