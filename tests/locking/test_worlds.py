"""Whatever the world of packages: the lock is admitted and fits together, what need not move stays, and where anything
can be had it is found. Held against every combination of versions, by a check of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings
from packaging.requirements import Requirement

from shared.errors import Permanent
from shared.judgement import Court
from shared.locking.conflict import Part, smallest
from shared.locking.offer import Offer
from shared.locking.python import PythonLocker
from shared.model.manifest import PythonPackage
from shared.policy.read import find
from shared.upstream.tags import supported
from tests.locking.conftest import NOW, versions
from tests.support import claims
from tests.support.market import TRIXIE, Market

NAMES = "abcde"
VERSIONS = ("1.0", "1.1", "2.0")
Pins = Mapping[str, str]


@dataclass(frozen=True)
class PackageWorld:
    """Which versions there are, what they require and what is flawed; what a machine holds and what it asked for."""

    requires: Mapping[tuple[str, str], tuple[str, ...]]
    flawed: frozenset[tuple[str, str]]
    roots: frozenset[str]
    constraints: tuple[str, ...]

    def fitting(self, roots: frozenset[str], *, admitted: bool) -> Iterator[dict[str, str]]:
        """Every set that holds `roots` and whatever its members require, in a version that suits them all."""
        choices = [
            ([] if name in roots else [""])
            + [version for version in VERSIONS if (name, version) in self.requires]
            for name in NAMES
        ]
        for chosen in product(*choices):
            pins = {name: version for name, version in zip(NAMES, chosen, strict=True) if version}
            if (not admitted or not self.flawed & pins.items()) and self.fits(pins):
                yield pins

    def fits(self, pins: Pins) -> bool:
        needed = [Requirement(line) for pin in pins.items() for line in self.requires[pin]]
        limits = [Requirement(line) for line in self.constraints]
        return all(r.name in pins and r.specifier.contains(pins[r.name]) for r in needed) and all(
            r.name not in pins or r.specifier.contains(pins[r.name]) for r in limits
        )

    def reached(self, pins: Pins) -> dict[str, str]:
        """What of `pins` the roots lead to: an installer brings no more."""
        seen, todo = set[str](), sorted(self.roots)
        while todo:
            if (name := todo.pop()) not in seen:
                seen.add(name)
                todo += [Requirement(line).name for line in self.requires[name, pins[name]]]
        return {name: version for name, version in pins.items() if name in seen}


@st.composite
def worlds(draw: st.DrawFn) -> tuple[PackageWorld, dict[str, str]]:
    """With what is installed; something of it is flawed."""
    specifiers = st.sampled_from(["", "", "==1.0", ">=1.1", "<2", "!=1.1", ">=2"])
    pins = [
        (name, version) for name in NAMES for version in VERSIONS if version != "2.0" or draw(st.booleans())
    ]
    requires = {
        (name, version): tuple(
            f"{other}{draw(specifiers)}"
            for other in draw(st.sets(st.sampled_from(NAMES.replace(name, "")), max_size=2))
        )
        for name, version in pins
    }
    roots = frozenset(draw(st.sets(st.sampled_from(NAMES), min_size=1, max_size=3)))
    limits = tuple(draw(st.lists(st.sampled_from(["a<2", "c!=1.1", "e>=1.1"]), max_size=1)))
    world = PackageWorld(requires, frozenset(), roots, limits)
    found = next(world.fitting(roots, admitted=False), None)
    if found is None:
        return draw(worlds())
    installed = world.reached(found)
    bad = draw(st.sets(st.sampled_from(sorted(installed)), min_size=1, max_size=3))
    others = draw(st.sets(st.sampled_from(pins), max_size=4))
    flawed = frozenset({(name, installed[name]) for name in bad} | others)
    return PackageWorld(requires, flawed, roots, limits), installed


def locked(world: PackageWorld, installed: Pins) -> tuple[dict[str, str], Offer]:
    """What the lock holds of such a world; Permanent if there is none."""
    market = Market()
    for (name, version), lines in world.requires.items():
        made = market.wheel(name, version, *lines)
        assert made.record
    for name, version in world.flawed:
        market.flaw(name, version)
    packages: list[PythonPackage] = []
    for name, version in installed.items():
        file = next(f for f in market.files(name) if f"-{version}-" in f.filename)
        fields = {"requires": world.requires[name, version], "requested": name in world.roots}
        packages.append(claims.python(name, version, market.wheels[file.sha256], **fields))
    policy = find("default").model_copy(update={"max_advisory_age_hours": 10**6})
    court = Court(market, policy, TRIXIE, NOW)
    judged = court.packages([package.package() for package in packages], False)
    upstream = market.upstream()
    locker = PythonLocker(
        index=market,
        resolver=market,
        judge=court.packages,
        build_requirements=upstream.build_requirements,
        verdicts={verdict.package.purl: verdict for verdict in judged},
        own={},
        record=upstream.record,
        constraints=world.constraints,
    )
    tags = supported(claims.manifest(), "3.13.5")
    environment, changes = locker.lock(claims.environment(*packages), tags)
    pins = versions(environment.packages)
    told = {c.before.name: c.kind for c in changes}
    differ = {name for name in {*pins, *installed} if pins.get(name) != installed.get(name)}
    assert set(told) == differ, "never silent"
    return pins, Offer(market, court.packages, "3.13.5", tags)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(worlds())
def test_a_lock_fits_is_admitted_and_moves_nothing_without_a_reason(
    given_: tuple[PackageWorld, dict[str, str]],
) -> None:
    world, installed = given_
    refused = {name for name, version in installed.items() if (name, version) in world.flawed}
    possible = list(world.fitting(world.roots, admitted=True))
    if not possible:
        with pytest.raises(Permanent, match="cannot be replaced"):
            locked(world, installed)
        return
    pins, offer = locked(world, installed)
    assert pins in possible  # admitted, and it fits together
    stay = {name: version for name, version in installed.items() if name not in refused}
    kept = {name: version for name, version in stay.items() if pins.get(name) == version}
    keeping = [each for each in possible if stay.items() <= each.items()]
    if keeping:
        assert kept == stay
    for name in stay.keys() & pins.keys() - kept.keys():
        held = {*kept.items(), (name, stay[name])}
        assert not [s for s in possible if held <= s.items() and s.keys() >= pins.keys() & installed.keys()]
    if len(refused) == 1 and (here := next(iter(refused))) in pins and kept == stay:
        can = {each[here] for each in keeping if here in each}
        nearest = [version for version in offer.candidates(here, installed[here]) if version in can]
        assert pins[here] == nearest[0]


@given(
    st.integers(1, 25).flatmap(
        lambda n: st.tuples(
            st.just(n), st.lists(st.sets(st.integers(0, n - 1), min_size=1), min_size=1, max_size=4)
        )
    )
)
def test_a_smallest_conflict_is_one_and_has_no_smaller_one(drawn: tuple[int, list[set[int]]]) -> None:
    size, conflicts = drawn

    def fits(parts: object) -> bool:
        names = {int(part.name) for part in parts}
        return not any(conflict <= names for conflict in conflicts)

    parts = [Part("wanted", str(i), str(i)) for i in range(size)]
    found = smallest(parts, fits, 10**6)
    assert not fits(found)
    assert len(found) == 1 or all(fits([other for other in found if other != part]) for part in found)
    assert smallest(parts, fits, 10**6) == found


@pytest.mark.parametrize("calls", [0, 1, 3])
def test_a_conflict_is_one_even_if_there_are_not_enough_questions(calls: int) -> None:
    asked = []

    def fits(parts: object) -> bool:
        asked.append(parts)
        return not {"3", "17"} <= {part.name for part in parts}

    found = smallest([Part("wanted", str(i), "") for i in range(20)], fits, calls)
    assert {"3", "17"} <= {part.name for part in found}
    assert len(asked) == calls
