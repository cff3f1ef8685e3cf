"""`./dmz waive` over a platform: the twins' own HTTP, and the stages of a small world behind it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from google.cloud import pubsub_v1

from functions.ctl import cli, summary, waive, waive_shown
from functions.ctl.fleet import Fleet
from functions.ctl.report import Facts, report
from functions.ctl.stored import Records
from shared import waivers
from shared.errors import Permanent
from shared.events import Delivery, WaiverGranted, decode
from shared.gcp.firestore import FirestoreStore
from shared.model.case import Case
from shared.model.waiver import Waiver
from shared.policy.judge import judge_all
from shared.ports.store import Document, Put
from tests.ctl.answering import answering
from tests.stages.world import World

FLAW, LIB = "GHSA-lib-1.0", "pkg:pypi/lib@1.0"
GRANT = (
    "waive",
    FLAW,
    "pkg:pypi/lib@*",
    "--workload",
    "small",
    "--reason",
    "our own files",
    "--approver",
    "ada",
)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A world with its stages, which answers where a platform that is up would."""
    (tmp_path / "world").mkdir()
    made = World(tmp_path / "world")
    with answering(made, tmp_path, monkeypatch):
        yield made


Dmz = Callable[..., tuple[int, str, str]]


@pytest.fixture
def dmz(capsys: pytest.CaptureFixture[str]) -> Dmz:
    """Runs the command line: exit code, standard output, standard error."""

    def run(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = cli.main(list(words))
        out, err = capsys.readouterr()
        # The stages are in this process too; a line of their log is JSON.
        return code, out, "".join(line for line in err.splitlines(True) if not line.startswith("{"))

    return run


def granted(world: World) -> tuple[str, Document]:
    ((id, fields),) = world.store.find("waivers", "state", "granted")
    return id, fields


def test_a_grant_is_published_recorded_and_told(world: World, dmz: Dmz) -> None:
    code, out, err = dmz(*GRANT, "--days", "30", "--until-fixed")
    assert (code, err) == (0, "")
    id, fields = granted(world)
    assert f"{id} is in force: {FLAW} in pkg:pypi/lib@*, for the workload small, until 20" in out
    assert "or until a fix exists" in out
    assert "ada answers for it: our own files." in out
    assert (fields["event"]["source"], fields["until_fixed"]) == ("/package-dmz/ctl", True)
    length = datetime.fromisoformat(fields["expires"]) - datetime.fromisoformat(fields["granted"])
    assert length.days == 30


def test_a_day_ends_it_at_its_first_moment(world: World, dmz: Dmz) -> None:
    year = datetime.now(UTC).year + 1
    code, _, err = dmz(*GRANT, "--until", f"{year}-01-01")
    assert (code, err) == (0, "")
    assert granted(world)[1]["expires"] == f"{year}-01-01T00:00:00Z"


def test_what_is_listed_shown_and_revoked(world: World, dmz: Dmz) -> None:
    assert dmz("waive", "list")[1] == "No waiver is in force; --all lists those that have ended.\n"
    assert dmz("waive", "list", "--all")[1] == "There are no waivers.\n"
    dmz(*GRANT, "--days", "3")
    id, _ = granted(world)
    code, out, _ = dmz("waive", "list")
    assert (code, out.splitlines()[0].startswith(f"{id} is in force: {FLAW}")) == (0, True)
    assert "approved by ada: our own files" in out
    code, out, err = dmz("waive", "revoke", id, "--reason", "a mistake", "--by", "bob")
    assert (code, err) == (0, "")
    assert f"{id} is revoked: bob, a mistake." in out
    assert dmz("waive", "list")[1].startswith("No waiver is in force")
    (found,) = json.loads(dmz("waive", "list", "--all", "--json")[1])
    assert (found["id"], found["in_force"], found["state"], found["approver"]) == (
        id,
        False,
        "revoked",
        "ada",
    )
    code, out, _ = dmz("waive", "show", id)
    first, _, *lines = out.splitlines()
    assert (code, first.startswith(f"{id} was revoked by bob: {FLAW}")) == (0, True)
    assert ["granted by ada: our own files" in lines[0], "revoked by bob: a mistake" in lines[1]] == [
        True,
        True,
    ]
    assert all("(event " in line and "from /package-dmz/ctl, 20" in line for line in lines)
    shown = json.loads(dmz("waive", "show", id, "--json")[1])
    assert [line["what"] for line in shown["history"]] == ["granted", "revoked"]
    code, _, err = dmz("waive", "revoke", id, "--reason", "again", "--by", "bob")
    assert (code, "there is nothing to revoke" in err) == (2, True)


def test_one_that_has_ended_is_not_in_force_before_anybody_swept(world: World, dmz: Dmz) -> None:
    dmz(*GRANT, "--days", "3")
    id, _ = granted(world)
    world.store.put(
        [
            Put(
                "waivers",
                id,
                {"expires": "2026-01-01T00:00:00Z", "granted": "2025-12-01T00:00:00Z"},
                merge=True,
            )
        ]
    )
    assert dmz("waive", "list")[1].startswith("No waiver is in force")
    assert f"{id} ended at 2026-01-01T00:00:00Z" in dmz("waive", "list", "--all")[1]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ((*GRANT,), "--until or --days is missing: every waiver ends"),
        ((*GRANT, "--days", "367"), "--days is a number from 1 to 366, not 367"),
        ((*GRANT, "--days", "-1"), "--days is a number from 1 to 366"),
        ((*GRANT, "--until", "2020-01-01"), "expires before it is granted"),
        ((*GRANT, "--until", "9999-01-01"), "a waiver lasts for 366 days at most"),
        ((*GRANT, "--until", "tomorrow"), "RFC 3339"),
        ((*GRANT, "--days", "3", "--all"), "--all means nothing for a waiver"),
        (("waive", FLAW, "--days", "3", "--approver", "ada"), "--reason is missing"),
        (("waive", FLAW, "--days", "3", "--reason", "r"), "--approver is missing"),
        (("waive", FLAW, "--days", "3", "--reason", " ", "--approver", "ada"), "not blank"),
        (("waive", "pkg:pypi/*", "--days", "3", "--reason", "r", "--approver", "ada"), "name one package"),
        (("waive", "CVE 1", "--days", "3", "--reason", "r", "--approver", "ada"), "advisory"),
        (("waive", FLAW, "CVE-1", "--days", "3", "--reason", "r", "--approver", "a"), "publish one for each"),
        (("waive", "revoke", "waiver-0123456789ab", "--reason", "r"), "--by is missing"),
        (("waive", "revoke", "lib", "--reason", "r", "--by", "b"), "is no waiver's id"),
        (("waive", "revoke"), "takes other words"),
        (("waive", "list", "CVE-1"), "takes other words"),
        (("waive", "show", "waiver-0123456789ab"), "There is no waiver-0123456789ab here"),
        (
            ("waive", "revoke", "waiver-0123456789ab", "--reason", "r", "--by", "b"),
            "There is no waiver-0123456789ab",
        ),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_is_published(
    world: World, dmz: Dmz, words: tuple[str, ...], why: str
) -> None:
    code, out, err = dmz(*words)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert why in err
    world.quiet()
    assert world.bus.published == []
    assert world.bus.dead == []


def test_without_a_platform_it_says_so(tmp_path: Path, dmz: Dmz, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DMZ_HOME", os.fspath(tmp_path / "nothing"))
    code, _, err = dmz("waive", "list")
    assert (code, "The platform is not up" in err) == (3, True)


def test_what_the_scanner_does_not_record_is_no_success(
    world: World, dmz: Dmz, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its clock is two hours behind ours: it takes the waiver for one of the future."""
    world.ahead = -7200.0
    monkeypatch.setattr(waive, "WAIT", 1.0)
    code, out, err = dmz(*GRANT, "--days", "3")
    assert (code, out) == (1, "")
    assert "the scanner has not recorded it" in err
    world.quiet()
    assert "in the future" in world.bus.dead[0][2]


def test_with_a_project_googles_own_clients_are_asked(
    project: str, dmz: Dmz, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over Google's emulators; the scanner of that project is played by hand."""
    publisher, subscriber = pubsub_v1.PublisherClient(), pubsub_v1.SubscriberClient()
    topic, path = (
        publisher.topic_path(project, "waiver-granted"),
        subscriber.subscription_path(project, "waived"),
    )
    publisher.create_topic(name=topic)
    subscriber.create_subscription(name=path, topic=topic)
    monkeypatch.setattr(waive, "WAIT", 0.1)
    code, _, err = dmz(*GRANT, "--days", "3", "--project", project)
    assert (code, "the scanner has not recorded it" in err) == (1, True)
    with subscriber:
        message = subscriber.pull(subscription=path, max_messages=1, timeout=60).received_messages[0].message
    event = decode(Delivery(message.data, "waiver-granted", dict(message.attributes), message.message_id))
    assert isinstance(event.data, WaiverGranted)
    store = FirestoreStore(project)
    store.put(waivers.granted(event, event.data, store, time.time()).writes)
    code, out, _ = dmz("waive", "list", "--project", project)
    assert (code, out.startswith(f"{event.data.waiver.id} is in force: {FLAW}")) == (0, True)
    code, out, _ = dmz("waive", "show", event.data.waiver.id, "--project", project)
    assert (code, f"(event {event.id} from /package-dmz/ctl, " in out) == (0, True)


# --- what a run shows ---


def test_a_run_shows_what_it_leaned_on(world: World, dmz: Dmz) -> None:
    dmz(*GRANT, "--days", "30")
    id, fields = granted(world)
    document = world.run(world.request())
    made = report(Facts("run-0123456789ab", "small", "memory", 1.0, 2.0, 3.0), document, None, None)
    words = f"{FLAW} in pkg:pypi/lib@*, for the workload small, until {fields['expires']}"
    (shown,) = made.document()["waivers"]
    assert shown == {
        "id": id,
        "waives": words,
        "approver": "ada",
        "expires": fields["expires"],
        "packages": 1,
    }
    assert json.loads(json.dumps(made.document()))["waivers"] == [shown]
    line = f"{words} ({id}, approved by ada): 1 package got in by it"
    assert f"  waived      {line}" in summary.text(made).splitlines()
    assert f"    waived: {line}" in [*Fleet(world.store, (), paid=False).lines(0.0)]


def test_a_run_that_leaned_on_nothing_shows_nothing(world: World) -> None:
    document = world.run(world.request())
    made = report(Facts("run-0123456789ab", "small", "memory", 1.0, 2.0, 3.0), document, None, None)
    assert made.document()["waivers"] == []
    assert "waived" not in summary.text(made)
    assert "waived" not in "".join(Fleet(world.store, (), paid=False).lines(0.0))


def test_what_an_approver_writes_does_not_command_a_terminal() -> None:
    hostile = {
        "id": "waiver-0123456789ab",
        "waives": "\x1b[2J",
        "approver": "a\x07",
        "expires": "",
        "packages": 2,
    }
    made = report(Facts("run-0123456789ab", "w", "memory", 1.0, 2.0, 3.0), {"waivers": [hostile]}, None, None)
    (line,) = (line for line in summary.text(made).splitlines() if "waived" in line)
    assert line.isprintable()
    assert "2 packages got in by it" in line


# --- what would change ---


def changed(case: Case, given: Waiver) -> dict[str, tuple[str, str]]:
    return {
        before.package.purl: (before.decision, after.decision)
        for before, after in waive_shown.effects(case, given)
    }


def test_a_dry_run_says_what_still_speaks_against_a_package(world: World, dmz: Dmz) -> None:
    key = ("pypi", "lib", "1.0")
    world.market.flaws[key] = world.market.flaws[key].model_copy(update={"malicious": True})
    run_id = world.request()
    words = ("--reason", "r", "--approver", "ada", "--days", "3", "--dry-run")
    _, out, _ = dmz("waive", LIB, *words)
    assert f"  {run_id} (small): {LIB}: stays block: {FLAW}" in out
    assert "would change: 0. Nothing was published." in out


def test_a_dry_run_names_the_verdicts_that_would_change_and_publishes_nothing(world: World, dmz: Dmz) -> None:
    run_id = world.request()
    before = len(world.bus.published)
    code, out, err = dmz(*GRANT, "--days", "30", "--dry-run")
    assert (code, err) == (0, "")
    assert f"  {run_id} (small): {LIB}: block -> allow" in out.splitlines()
    assert "Verdicts of the last run of small that would change: 1. Nothing was published." in out
    words = ("--reason", "r", "--approver", "ada", "--days", "3", "--dry-run")
    _, out, _ = dmz("waive", "CVE-1999-0001", *words)
    assert "would change: 0. Nothing was published." in out
    _, out, _ = dmz("waive", FLAW, "--workload", "other", *words)
    assert "Verdicts of the last 0 runs of other that would change: 0." in out
    assert len(world.bus.published) == before
    assert world.store.find("waivers", "state", "granted") == []


def test_a_dry_run_says_what_the_next_run_does(world: World, dmz: Dmz) -> None:
    """The verdicts of a run under the waiver are those that the dry run foretold."""
    run_id = world.request()
    stored = Records(world.store, world.blobs)
    first = stored.of_run(run_id, world.run(run_id))[0]
    dmz(*GRANT, "--days", "30")
    _, fields = granted(world)
    given = Waiver.check({name: fields[name] for name in Waiver.model_fields}, "It")
    foretold = changed(first.case, given)
    second_id = world.request()
    second = stored.of_run(second_id, world.run(second_id))[0]
    was = {each.package.purl: each.decision for each in first.verdicts.verdicts}
    became = {each.package.purl: each.decision for each in second.verdicts.verdicts}
    assert foretold == {purl: (was[purl], after) for purl, after in became.items() if was[purl] != after}
    assert foretold == {LIB: ("block", "allow")}


def test_a_case_that_is_gone_is_said(world: World, dmz: Dmz) -> None:
    run_id = world.request()
    world.blobs.expire(world.clock() + 500 * 86_400)
    _, out, _ = dmz(*GRANT, "--days", "30", "--dry-run")
    assert f"  {run_id} (small) cannot be judged again: There is no stored content" in out


def test_who_revokes_is_told_which_runs_leaned_on_it(world: World, dmz: Dmz) -> None:
    dmz(*GRANT, "--days", "30")
    id, _ = granted(world)
    run_id = world.request()
    _, out, _ = dmz("waive", "revoke", id, "--reason", "a mistake", "--by", "bob")
    assert f"Of the last 10 runs these leaned on it: {run_id}." in out


def test_as_if_it_had_been_in_force_then(world: World) -> None:
    """A case is judged as of its own moment, at which a waiver of today did not count yet."""
    run_id = world.request()
    case: Case = Records(world.store, world.blobs).of_run(run_id, world.run(run_id))[0].case
    given: dict[str, Any] = {
        "advisory": FLAW,
        "reason": "r",
        "approver": "ada",
        "granted": "2090-01-01T00:00:00Z",
        "expires": "2090-02-01T00:00:00Z",
    }
    waiver = Waiver.check(given, "It")
    plain = {
        each.package.purl: each.decision for each in judge_all(case.model_copy(update={"waivers": (waiver,)}))
    }
    assert plain[LIB] == "block"
    assert changed(case, waiver) == {LIB: ("block", "allow")}
    with pytest.raises(Permanent, match="expires before"):
        Waiver.check(given | {"expires": "2089-01-01T00:00:00Z"}, "It")
