"""The decision log: what is written, that nothing is written twice, and that tampering is seen."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from functions.ctl import decisions as command
from functions.ctl.cli import main
from functions.ctl.stored import Records
from shared.decision_log import altered, entry, read
from shared.errors import Permanent, Transient
from shared.events import timestamp
from shared.model.waiver import Waiver
from shared.policy.read import find
from shared.ports.store import Document
from tests.stages.world import World
from tests.support.samples import manifest_published

HOSTILE = "evil\x1b[31m<b>\u202e\n\r\x00"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.bus.close()


def log(world: World) -> dict[str, Document]:
    found = world.store._documents
    return {id: copy.deepcopy(fields) for (where, id), fields in found.items() if where == "decisions"}


def told(world: World) -> list[tuple[str, str]]:
    return sorted((fields["kind"], fields["subject"]) for fields in log(world).values())


# --- entries ---


def test_a_name_follows_from_all_but_the_time() -> None:
    event = manifest_published()
    one = entry("refusal", "pkg:pypi/a@1", "because", event, 1_795_291_202, stage="scanner", severity="HIGH")
    later = entry(
        "refusal", "pkg:pypi/a@1", "because", event, 1_795_291_999, stage="scanner", severity="HIGH"
    )
    other = entry("refusal", "pkg:pypi/a@1", "because", event, 1_795_291_202, stage="scanner", severity="LOW")
    assert one.id == later.id != other.id
    assert one.fields["digest"] != later.fields["digest"]


def test_an_entry_is_written_once(world: World) -> None:
    one = entry("refusal", "pkg:pypi/a@1", "because", manifest_published(), world.clock(), stage="scanner")
    world.store.put([one])
    with pytest.raises(Transient, match="exists already"):
        world.store.put([one])


def test_it_says_who_and_why() -> None:
    event = manifest_published()
    kept = read(entry("waiver-granted", "waiver-1", "a  reason", event, 1_795_291_202, actor="ada").fields)
    assert (kept.actor, kept.reason, kept.at) == ("ada", "a reason", "2026-11-21T20:00:02.000Z")
    assert (kept.cause.type, kept.cause.id) == (event.type, event.id)
    assert kept.run_id == event.run_id
    assert read(entry("eviction", "x", "r", event, 1.0, stage="sync", run_id="").fields).run_id == ""


def test_hostile_words_become_harmless() -> None:
    made = entry(
        "refusal",
        HOSTILE * 500,
        HOSTILE * 500,
        manifest_published(),
        1_795_291_202,
        actor=HOSTILE,
        text=HOSTILE,
        many=[HOSTILE] * 5000,
    )
    kept = read(made.fields)
    assert all(each.isprintable() for each in (kept.subject, kept.reason, kept.actor))
    assert str(kept.details["text"]).isprintable()
    assert len(kept.details["many"]) == 100
    assert len(json.dumps(made.fields)) < 100_000
    assert command.line(dict(made.fields)).isprintable()
    assert command.line({"at": HOSTILE, "kind": HOSTILE, "reason": HOSTILE, "cause": HOSTILE}).isprintable()


# --- what a run writes ---


def test_a_run_writes_what_it_decided(world: World) -> None:
    run_id = world.request()
    deb = "pkg:deb/debian/{}@3.0-1?arch=amd64&distro=debian-13"
    refused = [deb.format("libssl3"), deb.format("openssl"), "pkg:pypi/lib@1.0"]
    assert told(world) == [
        ("policy-changed", "default"),
        *(("refusal", purl) for purl in refused),
        *(("replacement", purl) for purl in sorted([*refused, "pkg:pypi/extra@1.0"])),
        ("run-ended", run_id),
        ("verdicts", "small"),
    ]
    run, found = world.run(run_id), log(world)
    (verdicts,) = (fields for fields in found.values() if fields["kind"] == "verdicts")
    assert verdicts["about"] == run["verdicts"]
    assert verdicts["details"]["policy"] == world.policy.digest
    assert (verdicts["details"]["block"], verdicts["details"]["hold"]) == (3, 0)
    assert verdicts["details"]["advisories"] == run["advisories"]["digest"]
    assert {fields["about"] for fields in found.values() if fields["kind"] == "replacement"} == {run["lock"]}
    assert {fields["run_id"] for fields in found.values()} == {run_id}
    assert list(altered(found)) == []


def test_delivered_three_times_it_is_written_once(tmp_path: Path) -> None:
    world = World(tmp_path, copies=3, max_delay=0.1, seed=3)
    world.request()
    once = told(world)
    assert len(once) == len(set(once)) == 10
    assert list(altered(log(world))) == []
    world.bus.close()


def test_another_policy_is_noticed_and_the_same_is_not(world: World) -> None:
    world.request()
    world.request()
    kinds = [kind for kind, _ in told(world)]
    assert kinds.count("policy-changed") == 1
    world.policy = find("offline").model_copy(update={"max_advisory_age_hours": 10**6})
    world.request()
    changed = [fields for fields in log(world).values() if fields["kind"] == "policy-changed"]
    assert len(changed) == 2
    assert world.policy.digest in {fields["about"] for fields in changed}


def test_a_failed_run_has_its_last_entry_too(world: World) -> None:
    world.inner = lambda _config: None
    world.market.projects.clear()  # nothing can be locked
    run_id = world.request()
    assert world.run(run_id)["state"] == "failed"
    last = world.store.get("decisions", f"{run_id}-ended")
    assert last is not None
    assert last["details"]["state"] == "failed"
    assert last["reason"] == " ".join(world.run(run_id)["reason"].split())
    assert list(altered(log(world))) == []


def test_each_entry_is_a_line_of_the_stages_log(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Which nobody can change who may write to the database."""
    world.request()
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines() if line.startswith("{")]
    seen = {line["id"]: line["digest"] for line in lines if line["event"] == "decision-logged"}
    assert seen == {id: fields["digest"] for id, fields in log(world).items()}


def waiver(world: World, **more: Any) -> Waiver:
    now = world.clock()
    fields = {
        "advisory": "GHSA-lib-1.0",
        "package": "pkg:pypi/lib@*",
        "reason": "only in tests",
        "approver": "ada@example.org",
        "granted": timestamp(now - 60),
        "expires": timestamp(now + 86_400),
    }
    return Waiver(**fields | more)


def grant(world: World, given: Waiver) -> None:
    body = json.dumps({"waiver": given.model_dump(mode="json")}).encode()
    world.bus.send("waiver-granted", body, {"ce-id": given.id})
    world.quiet()


def test_the_life_of_a_waiver(world: World) -> None:
    """Granted, leaned on by a run, revoked; another one is granted and expires."""
    first = waiver(world)
    grant(world, first)
    run_id = world.request()
    body = {"waiver": first.id, "reason": "there is a fix", "by": "bob@example.org"}
    world.bus.send("waiver-revoked", json.dumps(body).encode(), {"ce-id": "r"})
    world.quiet()
    second = waiver(world, reason="for a day")
    grant(world, second)
    world.ahead = 2 * 86_400
    world.sweep()
    found = [fields for fields in log(world).values() if fields["subject"] in (first.id, second.id)]
    said = [
        (each["kind"], each["actor"], each["run_id"]) for each in sorted(found, key=lambda each: each["at"])
    ]
    assert said == [
        ("waiver-granted", "ada@example.org", ""),
        ("waiver-used", "/package-dmz/scanner", run_id),
        ("waiver-revoked", "bob@example.org", ""),
        ("waiver-granted", "ada@example.org", ""),
        ("waiver-expired", "/package-dmz/scanner", ""),
    ]
    (used,) = (each for each in found if each["kind"] == "waiver-used")
    assert used["details"]["packages"] == ["pkg:pypi/lib@1.0"]
    assert list(altered(log(world))) == []


def test_what_is_judged_again_and_goes(world: World) -> None:
    world.request()
    world.market.flaw("tool", "1.0")
    world.bus.send("advisories-refreshed", b"{}", {"ce-id": "again"})
    world.quiet()
    said = {
        (each["kind"], each["actor"]): each
        for each in log(world).values()
        if each["subject"] == "pkg:pypi/tool@1.0"
    }
    assert set(said) == {("verdict-changed", "/package-dmz/scanner"), ("eviction", "/package-dmz/sync")}
    changed, gone = said["verdict-changed", "/package-dmz/scanner"], said["eviction", "/package-dmz/sync"]
    assert changed["about"] == gone["about"]
    assert (changed["details"]["before"], changed["details"]["after"]) == ("allow", "block")
    assert gone["details"]["files"] == ["tool-1.0-py3-none-any.whl"]
    assert list(altered(log(world))) == []


def test_what_is_refused_and_kept_is_told(world: World) -> None:
    world.request()
    world.registry.sealed = True
    world.market.flaw("tool", "1.0")
    world.bus.send("advisories-refreshed", b"{}", {"ce-id": "again"})
    world.quiet()
    (kept,) = (each for each in log(world).values() if each["kind"] == "kept")
    assert kept["subject"] == "pkg:pypi/tool@1.0"
    assert kept["reason"].startswith("refused (GHSA-tool-1.0")
    assert "and kept: " in kept["reason"]


# --- tampering ---


def one_of(found: dict[str, Document], kind: str) -> str:
    return next(id for id, fields in sorted(found.items()) if fields["kind"] == kind)


def test_a_changed_entry_is_seen(world: World) -> None:
    world.request()
    for field, value in (("reason", "nothing was wrong"), ("actor", "ada"), ("at", "2020-01-01T00:00:00Z")):
        found = log(world)
        found[one_of(found, "refusal")][field] = value
        assert any("has been changed" in said for said in altered(found)), field


def test_a_change_with_its_digest_made_anew_is_seen(world: World) -> None:
    """By its name, and by the last entry of the run."""
    world.request()
    found = log(world)
    fields = found[one_of(found, "refusal")]
    kept = read({**fields, "reason": "nothing was wrong"})
    fields |= {"reason": kept.reason, "digest": kept.digest}
    said = list(altered(found))
    assert any("does not bear its own name" in each for each in said)
    assert any("gone or have been changed" in each for each in said)
    assert any("was put into" in each for each in said)


def test_an_entry_taken_away_is_seen(world: World) -> None:
    run_id = world.request()
    found = log(world)
    del found[one_of(found, "refusal")]
    assert list(altered(found)) == [f"1 of 9 entries of {run_id} are gone or have been changed."]


def test_an_entry_put_in_later_is_seen(world: World) -> None:
    run_id = world.request()
    event = manifest_published(run_id)
    made = entry("refusal", "pkg:pypi/a@1", "because", event, world.clock(), stage="scanner")
    found = log(world) | {made.id: dict(made.fields)}
    assert list(altered(found)) == [f"refusal pkg:pypi/a@1 was put into {run_id} after that had ended."]


def test_what_is_no_entry_is_named() -> None:
    assert [said.partition(":")[0] for said in altered({"x": {"kind": HOSTILE}})] == [
        "x is no entry any more"
    ]
    with pytest.raises(Permanent):
        read({"kind": "refusal"})


# --- the command ---


@pytest.fixture
def dmz(world: World, monkeypatch: Any, capsys: pytest.CaptureFixture[str]) -> Any:
    monkeypatch.setattr(command, "records", lambda *_: Records(world.store, world.blobs))

    def called(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(["decisions", *words])
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return called


def test_it_lists_by_run_and_by_time(world: World, dmz: Any) -> None:
    run_id = world.request()
    code, out, _ = dmz("--run", run_id)
    assert (code, len(out.splitlines())) == (0, 10)
    code, shown, _ = dmz("--json")
    found = [json.loads(line) for line in shown.splitlines()]
    assert (code, len(found)) == (0, 10)
    assert [each["at"] for each in found] == sorted(each["at"] for each in found)
    assert dmz("--since", "2100-01-01")[1] == "Nothing was decided since 2100-01-01.\n"
    assert dmz("--since", "yesterday")[0] == 2
    assert dmz("--run", "run-unknown")[0] == 2


def test_verify_by_command(world: World, dmz: Any) -> None:
    run_id = world.request()
    assert dmz("--verify")[:2] == (0, "10 entries are what they were when they were written.\n")
    assert dmz("--verify", "--run", run_id)[0] == 0
    gone = one_of(log(world), "refusal")
    del world.store._documents["decisions", gone]
    for words in (("--verify",), ("--verify", "--run", run_id)):
        code, _, said = dmz(*words)
        assert code == 1
        assert "1 of 9 entries" in said
    code, out, _ = dmz("--verify", "--json")
    assert (code, json.loads(out)["entries"]) == (1, 9)


def test_a_run_without_its_last_entry_is_seen(world: World, dmz: Any) -> None:
    run_id = world.request()
    del world.store._documents["decisions", f"{run_id}-ended"]
    code, _, said = dmz("--verify")
    assert code == 1
    assert f"{run_id} has ended, and its last entry" in said
