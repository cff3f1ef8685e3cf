"""Runs at once: none disturbs another, and what two of them need is stored once."""

from __future__ import annotations

import pytest

from shared.ports.store import Document
from tests.chain import reconcile
from tests.chain import world as goods
from tests.chain.goods import module
from tests.chain.reconcile import Heard
from tests.chain.system import PATIENCE, System
from tests.chain.world import World

_ALL_NEED = "parcel"
_OWN = {"first": "ribbon", "second": "stamp", "third": "stamp"}
"""Request to a package that not everybody needs."""


def _install(*names: str) -> str:
    return goods.INSTALL.replace(" depot", " ".join(("", "depot", *names)))


@pytest.fixture(scope="module")
def ran(system: System, world: World) -> tuple[dict[str, Document], list[str], Heard]:
    """The runs' documents, what does not add up, and what was published."""
    for name in {_ALL_NEED, *_OWN.values()}:
        world.shelf.add(name, module(name, "1.0", ""))
    heard, before = Heard.begin(system), system.stored()
    ids = [system.request(id, install=_install(_ALL_NEED, own)) for id, own in _OWN.items()]
    runs = reconcile.ended(system, ids, PATIENCE)
    return runs, reconcile.troubles(system, runs, heard, before), heard


def test_all_complete_and_everything_adds_up(ran: tuple[dict[str, Document], list[str], Heard]) -> None:
    runs, troubles, _ = ran
    assert {run["state"] for run in runs.values()} == {"completed"}
    assert troubles == []


def test_each_event_of_each_run_is_one_event(
    ran: tuple[dict[str, Document], list[str], Heard],
) -> None:
    runs, _, heard = ran
    for topic in ("outer-install-completed", "manifest-published", "verdicts-written", "run-completed"):
        found = {run_id: len(set(ids)) for run_id, ids in heard.of(topic).items()}
        assert found == dict.fromkeys(runs, 1), topic


def test_a_run_gets_its_own_packages_and_no_others(
    ran: tuple[dict[str, Document], list[str], Heard], system: System
) -> None:
    runs, _, _ = ran
    for run, own in zip(runs.values(), _OWN.values(), strict=True):
        (environment,) = system.lock(run).environments
        assert {package.name for package in environment.packages} == {"depot", "courier", _ALL_NEED, own}


def test_what_two_runs_need_is_there_once(system: System, ran: object) -> None:
    names = [file["name"].rpartition("/")[2] for file in system.files("dmz-python")]
    assert len([name for name in names if _ALL_NEED in name]) == 1
    assert len([name for name in names if "stamp" in name]) == 1
    assert len(names) == len(set(names))


def test_what_does_not_add_up_is_found(
    ran: tuple[dict[str, Document], list[str], Heard], system: System
) -> None:
    """The reckoning itself: of one thing that is false each."""
    runs, _, heard = ran
    first, second, _ = runs
    more = {**runs[first]["mirrored"], "bytes": runs[first]["mirrored"]["bytes"] + 1}
    silent = {**runs[second], "state": "failed", "reason": ""}
    lost = "sha256:" + "0" * 64
    said = reconcile.troubles(system, {**runs, first: {**runs[first], "mirrored": more}}, heard, {})
    assert len([each for each in said if each.startswith(f"{first} ")]) == 2
    said = reconcile.troubles(system, {**runs, second: silent}, heard, {})
    assert f"{second} failed without a reason" in said
    assert f"{second} was told to be over by 1 events run-completed" in said
    without = {name: run for name, run in runs.items() if name == first}
    said = reconcile.troubles(system, without, heard, {"trixie": {lost}})
    assert f"trixie lacks 1 files that a lock names, {lost} first" in said
    assert [each for each in said if each.startswith("dmz-python holds ")], said
