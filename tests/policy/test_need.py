"""By which way a workload needs a package: short, the same each time, and bounded whatever the machine says."""

from __future__ import annotations

from shared.model.manifest import Environment
from shared.policy.need import BASE, ITSELF, LONGEST, shortest, ways
from tests.support.claims import environment, python


def test_the_way_goes_from_what_was_asked_for_to_what_asks() -> None:
    held = environment(
        python("app", "1", requires=("Lib_A>=1 ; python_version > '3'", "absent"), requested=True),
        python("lib-a", "1", requires=("deep[x]~=2.0",)),
        python("deep", "1"),
        python("alone", "1"),
    )
    assert ways(held) == {"app": ITSELF, "lib-a": ("app",), "deep": ("app", "lib-a")}


def test_the_shortest_way_counts_and_of_equal_ones_the_first_by_name() -> None:
    packages = [
        python("zeta", "1", requires=("deep",), requested=True),
        python("app", "1", requires=("lib",), requested=True),
        python("lib", "1", requires=("deep", "deeper")),
        python("beta", "1", requires=("deeper",)),
        python("deep", "1", requires=("beta", "deeper")),
        python("deeper", "1", requires=("app", "deep")),
    ]
    expected = {
        "zeta": ITSELF,
        "app": ITSELF,
        "lib": ("app",),
        "deep": ("zeta",),
        "beta": ("zeta", "deep"),
        "deeper": ("app", "lib"),
    }
    for _ in packages:
        packages = packages[1:] + packages[:1]
        assert ways(environment(*packages)) == expected


def test_a_way_over_an_extra_counts_only_where_there_is_no_other() -> None:
    held = environment(
        python("app", "1", requires=("near; extra == 'dev'", "lib"), requested=True),
        python("lib", "1", requires=("mid",)),
        python("mid", "1", requires=("near", "dev; extra == 'dev'")),
        python("near", "1"),
        python("dev", "1", requires=("tool",)),
        python("tool", "1"),
    )
    found = ways(held)
    assert found["near"] == ("app", "lib", "mid")
    assert found["dev"] == ("app", "lib", "mid")
    assert found["tool"] == ("app", "lib", "mid", "dev")


def test_the_shortest_way_over_extras_counts_too() -> None:
    held = environment(
        python("app", "1", requires=("lib", "spare; extra == 'x'"), requested=True),
        python("lib", "1", requires=("mid",)),
        python("mid", "1", requires=("far; extra == 'x'",)),
        python("spare", "1", requires=("far",)),
        python("far", "1"),
    )
    assert ways(held)["far"] == ("app", "spare")


def test_what_was_there_before_is_on_nobodys_way() -> None:
    held = environment(
        python("app", "1", requires=("old",), requested=True),
        python("old", "1", requires=("lib",), in_base=True),
        python("lib", "1"),
    )
    assert ways(held) == {"app": ITSELF}


def test_lines_that_are_no_requirements_lead_nowhere() -> None:
    lines = ("", ";", "@ lib", "-lib", "lib" + "x" * 1900, "\x00lib", "é", "lib@https://host/lib.whl")
    held = environment(python("app", "1", requires=lines, requested=True), python("lib", "1"))
    assert ways(held) == {"app": ITSELF, "lib": ("app",)}


def test_a_machine_that_lies_gets_bounded_ways() -> None:
    chain = [python("p0", "1", requires=("p1",), requested=True)]
    chain += [python(f"p{n}", "1", requires=(f"p{n + 1}", "p0")) for n in range(1, 20_000)]
    found = ways(Environment.model_construct(packages=tuple(chain)))
    assert len(found) == LONGEST + 1
    assert max(map(len, found.values())) == LONGEST


def test_everything_needs_everything() -> None:
    names = tuple(f"p{n}" for n in range(300))
    crowd = (python(name, "1", requires=names, requested=name == "p7") for name in names)
    found = ways(environment(*crowd))
    assert found["p7"] == ITSELF
    assert set(found.values()) == {ITSELF, ("p7",)}


def test_the_shortest_of_several_environments() -> None:
    assert shortest([("b", "a"), ("z",), ()]) == ("z",)
    assert shortest([("z",), ITSELF]) == ITSELF
    assert shortest([BASE]) == BASE
    assert shortest([(), ()]) == ()
    assert shortest([]) == ()
