"""The workload's own constraints bind a relock; one that pins what is refused yields, and it is said."""

from __future__ import annotations

import pytest

from shared.errors import Permanent
from shared.locking.constraints import bind
from tests.locking.conftest import Locker, versions
from tests.support import built
from tests.support.claims import python
from tests.support.market import Market

INSTALLED = {"lib": "1.0", "app": "2.0", "tool": "1.2"}


@pytest.mark.parametrize(
    ("line", "held", "yielded"),
    [
        ("lib==1.0", [], ["lib==1.0"]),
        ("Lib == 1.0.0", [], ["Lib == 1.0.0"]),
        ("lib===1.0", [], ["lib===1.0"]),
        ("lib==1.0,<2", ["lib<2"], ["lib==1.0,<2"]),
        ('lib==1.0 ; python_version > "3"', [], ['lib==1.0 ; python_version > "3"']),
        ("lib<1.1", ["lib<1.1"], []),  # it does not pin: it holds, if nothing fits somebody has to say so
        ("lib==1.*", ["lib==1.*"], []),
        ("lib==0.9", ["lib==0.9"], []),
        ("app<3", ["app<3"], []),
        ("app==2.0", ["app==2.0"], []),
        ("app<2", [], []),  # the machine breaks it with a package that stays
        ("absent<2", ["absent<2"], []),
        ("absent @ https://files.test/absent-1.0-py3-none-any.whl", ["absent<0"], []),
        ("app @ https://files.test/app-1.0-py3-none-any.whl", [], []),
    ],
)
def test_what_binds_and_what_yields(line: str, held: list[str], yielded: list[str]) -> None:
    found = bind([line], INSTALLED, {"lib": object()})
    assert [each.replace(" ", "") for each in found.held] == held
    assert list(found.yielded.get("lib", ())) == yielded


def test_a_constraint_that_pins_what_is_refused_yields_and_the_change_says_so(
    market: Market, lock: Locker
) -> None:
    lib = market.wheel("lib", "1.0")
    market.wheel("lib", "1.1")
    market.flaw("lib", "1.0")
    found, (change,) = lock(python("lib", "1.0", lib, requested=True), constraints=["lib==1.0"])
    assert versions(found.packages) == {"lib": "1.1"}
    assert change.yielded == ("lib==1.0",)
    assert change.reason.endswith("; the workload's constraint lib==1.0 had to yield")
    assert (change.kind, change.environment) == ("replaced", "/opt/w")


def test_an_override_that_yields_is_named_as_well(market: Market, lock: Locker) -> None:
    lib = market.wheel("lib", "1.0")
    market.wheel("lib", "1.1")
    market.flaw("lib", "1.0")
    _, (change,) = lock(python("lib", "1.0", lib, requested=True), overrides=["lib==1.0", "lib<2"])
    assert change.yielded == ("lib==1.0",)


def test_every_other_constraint_holds_for_replacements_for_what_moves_and_for_what_is_new(
    market: Market, lock: Locker
) -> None:
    app, lib = market.wheel("app", "1.0", "lib<2"), market.wheel("lib", "1.0")
    for version in ("1.1", "1.2", "1.3"):
        market.wheel("app", version, "lib>=2")
    for version in ("2.0", "2.1"):
        market.wheel("lib", version, "extra")
    for version in ("1.0", "2.0"):
        market.wheel("extra", version)
    market.flaw("lib", "1.0")
    held = ["lib!=2.0", "app<1.3", "app!=1.1", "extra<2", 'extra<1 ; python_version < "3"']
    found, _ = lock(
        python("app", "1.0", app, requires=("lib<2",), requested=True),
        python("lib", "1.0", lib),
        constraints=held[:-1],
    )
    assert versions(found.packages) == {"app": "1.2", "extra": "1.0", "lib": "2.1"}


def test_a_constraint_on_an_own_wheel_asks_the_index_for_nothing(market: Market, lock: Locker) -> None:
    mine, lib = built.wheel("mine", "1.0", ("lib",)), market.wheel("lib", "1.0")
    market.wheel("lib", "1.1")
    market.wheel("mine", "99.0")
    market.flaw("lib", "1.0")
    found, _ = lock(
        python("mine", "1.0", mine, requires=("lib",), requested=True),
        python("lib", "1.0", lib),
        own={mine.filename: mine.sha256},
        constraints=["mine==1.0"],
    )
    assert versions(found.packages) == {"lib": "1.1", "mine": "1.0"}


def test_a_constraint_that_leaves_nothing_is_named(market: Market, lock: Locker) -> None:
    lib = market.wheel("lib", "1.0")
    market.wheel("lib", "2.0")
    market.flaw("lib", "1.0")
    words = r"the admitted one, 2\.0, is excluded by lib<2, a constraint of the workload; loosen that constraint or wai"
    with pytest.raises(Permanent, match=words):
        lock(python("lib", "1.0", lib, requested=True), constraints=["lib<2", "other<3"])
