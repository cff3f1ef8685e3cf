"""Who published a file: noted when it comes in, refused when it cannot be proved, an alarm when it is said no more."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from functions.ctl import explain
from functions.ctl.explanation import lines
from functions.ctl.sought import read
from functions.ctl.stored import Records
from shared import attested as attestations
from shared.attested import publishers
from shared.errors import Transient
from shared.held_files import RECORDS, record_id
from shared.model.value import sha256
from shared.ports.store import Put
from tests.stages.published import NAME, REPOSITORY, WHERE, Dark, noted, stock
from tests.stages.refreshing import alarms, evictions, offer, refresh
from tests.stages.world import World
from tests.support.claims import environment, python
from tests.support.market import Market
from tests.upstream.attested import CIRCLECI, GITHUB, GITLAB


@pytest.fixture
def held(world: World) -> World:
    stock(world)
    assert world.run(world.request())["state"] == "completed"
    return world


def test_the_publisher_is_noted_with_the_file(held: World) -> None:
    assert CIRCLECI.filename in held.repositories()[REPOSITORY]
    assert publishers(noted(held)) == (CIRCLECI.publisher,)
    named = [fields for _, fields in held.store.find(RECORDS, "attested", True)]
    assert [each["sha256"] for each in named] == [CIRCLECI.sha256], (
        "of the others the index names no attestations"
    )
    refresh(held, "one")
    assert alarms(held, "attestation") == []
    assert alarms(held, "no-data") == []


def test_the_bill_of_materials_and_explain_name_the_publisher(held: World) -> None:
    ((run_id, run),) = held.store.find("runs", "state", "completed")
    bill = json.loads(held.blobs.get(run["sbom"]))
    said = {
        component["name"]: each["value"]
        for component in bill["components"]
        for each in component["properties"]
        if each["name"].endswith(":publisher")
    }
    assert said == {NAME: str(CIRCLECI.publisher)}
    found = explain.explanation(Records(held.store, held.blobs), read(NAME), run_id, held.clock())
    assert f"  publisher   {CIRCLECI.publisher}, as its attestations prove" in lines(found)
    assert found.document()["publishers"] == [str(CIRCLECI.publisher)]
    other = explain.explanation(Records(held.store, held.blobs), read("tool"), run_id, held.clock())
    assert other.publishers == ()


def test_a_file_without_attestations_comes_in_as_before(world: World) -> None:
    stock(world, where="")
    assert world.run(world.request())["state"] == "completed"
    assert noted(world)["sha256"] == CIRCLECI.sha256
    assert "publishers" not in noted(world)


@pytest.mark.parametrize(
    ("served", "words"),
    [
        (None, "where nothing is"),
        (GITHUB.served, "about another file"),
        (CIRCLECI.served[:-200], "is not valid"),
        (CIRCLECI.changed(vcs_origin="github.com/evil/project"), "not that of the publisher whom it names"),
    ],
    ids=range(4),
)
def test_a_file_whose_attestations_prove_nothing_stays_out(
    world: World, served: bytes | None, words: str
) -> None:
    stock(world)
    del world.market.contents[WHERE]
    if served is not None:
        world.market.contents[WHERE] = served
    run = world.run(world.request())
    assert (run["state"], run["stage"]) == ("failed", "sync")
    assert words in run["reason"]
    assert CIRCLECI.filename not in world.repositories()[REPOSITORY]
    assert "publishers" not in noted(world)


# --- drift ---


def test_attestations_that_the_index_names_no_more_are_an_alarm(held: World) -> None:
    offer(held, NAME, provenance="")
    refresh(held, "one")
    (alarm,) = alarms(held, "attestation")
    assert alarm["subject"] == f"{REPOSITORY} {CIRCLECI.filename}"
    assert f"published by {CIRCLECI.publisher}; now the index names no attestations" in alarm["message"]
    assert evictions(held) == []
    offer(held, NAME, provenance=WHERE)
    refresh(held, "two")
    assert alarms(held, "attestation") == []


def test_attestations_that_do_not_hold_any_more_are_an_alarm(held: World) -> None:
    cases: dict[str, bytes | None] = {
        "where nothing is": None,
        "about another file": GITHUB.served,
        "not that of the publisher": CIRCLECI.changed(project_id="0"),
        "is not valid": b"<html>",
    }
    for words, served in cases.items():
        held.market.contents.pop(WHERE, None)
        if served is not None:
            held.market.contents[WHERE] = served
        refresh(held, words)
        (alarm,) = alarms(held, "attestation")
        assert "now its attestations do not hold: " in alarm["message"]
        assert words in alarm["message"]


def test_another_publisher_is_an_alarm_and_never_the_new_truth(
    make: Callable[..., World], capsys: pytest.CaptureFixture[str]
) -> None:
    """Its signature may be good: somebody else has published the same bytes."""
    others: list[Any] = []

    class Other:
        def __init__(self, port: Any) -> None:
            self._port = port

        def __getattr__(self, name: str) -> Any:
            return getattr(self._port, name)

        def publishers(self, file: Any, served: bytes) -> Any:
            return tuple(others) or self._port.publishers(file, served)

    world = make(through=lambda name, port: Other(port) if name == "proof" else port)
    stock(world)
    assert world.run(world.request())["state"] == "completed"
    others.append(GITHUB.publisher)
    world.market.contents[WHERE] += b"\n"
    refresh(world, "one")
    (alarm,) = alarms(world, "attestation")
    assert f"by {CIRCLECI.publisher}; now it is {GITHUB.publisher}" in alarm["message"]
    assert '"kind": "attestation"' in capsys.readouterr().err.replace('":"', '": "')
    # Out, and in again: what was known first stays known.
    (owner,) = {file.owner for file in world.registry.stored(REPOSITORY) if file.name == CIRCLECI.filename}
    world.registry.delete_version(owner)
    assert CIRCLECI.filename not in world.repositories()[REPOSITORY]
    assert world.run(world.request())["state"] == "completed"
    assert CIRCLECI.filename in world.repositories()[REPOSITORY]
    assert publishers(noted(world)) == (CIRCLECI.publisher,)
    refresh(world, "two")
    assert len(alarms(world, "attestation")) == 1
    others.clear()
    refresh(world, "three")
    assert alarms(world, "attestation") == []


def test_written_otherwise_it_is_the_same(held: World) -> None:
    """The index may write its JSON anew: what it says is verified, and is the same publisher."""
    held.market.contents[WHERE] = CIRCLECI.of(*CIRCLECI.attestations())
    assert held.market.contents[WHERE] != CIRCLECI.served
    refresh(held, "one")
    assert alarms(held, "attestation") == []


def test_an_index_that_does_not_answer_neither_sounds_nor_ends_an_alarm(make: Callable[..., World]) -> None:
    dark = Dark()
    world = make(through=dark.through)
    stock(world)
    world.request()
    dark.now = True
    refresh(world, "one")
    assert alarms(world, "attestation") == []
    (alarm,) = alarms(world, "no-data")
    assert "1 held files" in alarm["message"]
    dark.now = False
    world.market.contents[WHERE] = b"gone bad"
    refresh(world, "two")
    assert alarms(world, "no-data") == []
    dark.now = True
    refresh(world, "three")
    assert len(alarms(world, "attestation")) == 1


def test_what_is_asked_for_every_hour_is_cheap(held: World) -> None:
    """The same bytes are not verified twice, and an index that is down is not asked about every file."""
    asked: list[str] = []

    def prove(*_: Any) -> Any:
        raise AssertionError("verified again")

    class Down(Market):
        def files(self, name: str) -> Any:
            asked.append(name)
            raise Transient("It does not answer.")

    run = held.store.find("runs", "state", "completed")[0][0]
    file = next(each for each in held.lock(run).environments[0].packages if each.name == NAME)
    one = attestations._File("it", 0.0, file, (CIRCLECI.publisher,), sha256(CIRCLECI.served))
    assert attestations._Asker(held.market, prove).ask(one) == ""
    asker = attestations._Asker(Down(), prove)
    assert {asker.ask(one) for _ in range(50)} == {None}
    assert len(asked) == attestations._DOWN


def test_a_file_that_was_taken_back_is_drift_and_no_second_alarm(held: World) -> None:
    held.market.projects[NAME] = []
    refresh(held, "one")
    assert alarms(held, "attestation") == []
    assert alarms(held, "no-data") == []
    assert len(alarms(held, "drift")) == 1


# --- one version after the other ---


def test_a_project_that_passes_into_other_hands_is_an_alarm_for_a_while(make: Callable[..., World]) -> None:
    """tool 1.0 by GitHub; then 1.1 by nobody, 1.2 by GitLab, 1.3 by GitLab again."""
    by = {"1.0": GITHUB.publisher, "1.2": GITLAB.publisher, "1.3": GITLAB.publisher}

    class Said:
        def __init__(self, port: Any) -> None:
            self._port = port

        def __getattr__(self, name: str) -> Any:
            return getattr(self._port, name)

        def publishers(self, file: Any, _: bytes) -> Any:
            return (by[file.version],)

    world = make(through=lambda name, port: Said(port) if name == "proof" else port)
    made = {version: world.market.wheel("tool", version) for version in ("1.1", "1.2", "1.3")}
    world.market.contents[WHERE] = b"signed"
    world.market.projects["tool"] = [
        replace(file, provenance="" if file.filename.startswith("tool-1.1") else WHERE)
        for file in world.market.projects["tool"]
    ]
    assert world.run(world.request())["state"] == "completed"
    for version, one in made.items():
        first, *others = world.environments
        kept = [each for each in first.packages if each.name != "tool"]
        world.environments = (environment(*kept, python("tool", version, one)), *others)
        assert world.run(world.request())["state"] == "completed"
    refresh(world, "one")
    found = {alarm["subject"]: alarm["message"] for alarm in alarms(world, "attestation")}
    assert set(found) == {f"{REPOSITORY} tool-{version}-py3-none-any.whl" for version in ("1.1", "1.2")}
    words = "came in attested to be published by {}, and 1.0, the version before it, by {}: find out"
    assert words.format("nobody", GITHUB.publisher) in found[f"{REPOSITORY} tool-1.1-py3-none-any.whl"]
    assert (
        words.format(GITLAB.publisher, GITHUB.publisher) in found[f"{REPOSITORY} tool-1.2-py3-none-any.whl"]
    )
    assert evictions(world) == []
    # A record from before the index was asked for attestations says nothing about them.
    name = record_id(REPOSITORY, made["1.1"].sha256)
    record = world.store.get(RECORDS, name) or {}
    del record["transfer"]["python"]["provenance"]
    world.store.put([Put(RECORDS, name, record)])
    refresh(world, "two")
    assert [each["subject"] for each in alarms(world, "attestation")] == [
        f"{REPOSITORY} tool-1.2-py3-none-any.whl"
    ]
    world.ahead = 31 * 86_400.0
    refresh(world, "three")
    assert alarms(world, "attestation") == []
