"""dead-letters as it is typed: listed, shown, replayed and dropped, over the stages of a small world."""

from __future__ import annotations

import base64
import json

import pytest

from functions.local.pubsub import HOLD
from shared import letters
from shared.dead_letters import Letter
from shared.events import DEAD_LETTERS, Delivery, Event, RunFailed, VerdictsWritten, decode
from shared.model.value import sha256
from shared.ports.store import Put
from tests.ctl.operating import UNKNOWN, Dmz, Place
from tests.ctl.operating import dmz as dmz
from tests.ctl.operating import place as place
from tests.stages.failing import silent
from tests.stages.world import WORKLOAD
from tests.support.samples import SOME


def broken(place: Place) -> tuple[str, Letter]:
    """A run that goes on, and one of its events that was given up with a reason (as after a mistake of ours)."""
    place.world.inner = silent
    run_id = place.world.request()
    event: Event = next(each for each in place.world.bus.published if each.type == "verdicts-written")
    place.world.bus.dead_letter(event.body(), {**event.attributes(), "topic": event.type}, "It hurt.")
    (letter,) = place.letters()
    return run_id, letter


def test_letters_are_listed_and_shown(place: Place, dmz: Dmz) -> None:
    assert dmz("dead-letters")[1] == "There are no dead letters.\n"
    run_id, letter = broken(place)
    place.world.bus.send("manifest-published", b"{nonsense \x1b[31m", {})
    place.world.quiet()
    code, out, _ = dmz("dead-letters", "--json")
    first, second = json.loads(out)
    assert (code, first["topic"], first["run_id"], first["reason"]) == (
        0,
        "verdicts-written",
        run_id,
        "It hurt.",
    )
    assert "Invalid JSON" in second["reason"]
    assert 0 <= first["age_seconds"] < 600
    code, out, _ = dmz("dead-letters")
    assert f"{letter.id}  verdicts-written {run_id}, 0 min old\n    It hurt." in out
    code, out, _ = dmz("dead-letters", "show", letter.id)
    assert code == 0
    assert f'"run_id": "{run_id}"' in out
    assert "\x1b" not in dmz("dead-letters", "show", second["id"])[1]
    assert len(place.letters()) == 2, "looking takes nothing away"


def test_a_letter_is_replayed_under_a_replay_id_and_the_run_says_what_was_done_again(
    place: Place, dmz: Dmz
) -> None:
    run_id, letter = broken(place)
    code, out, _ = dmz("dead-letters", "replay", letter.id, "--json")
    said = json.loads(out)
    assert (code, said["topic"], said["run_id"]) == (0, "verdicts-written", run_id)
    assert place.letters() == []
    place.world.quiet()
    again = place.world.run(run_id)["replays"][said["replay_id"]]
    assert again["verdicts-written"]["stage"] == "sync"
    assert again["verdicts-written"]["published"]
    code, out, _ = dmz("status", run_id)
    assert f"sync handled verdicts-written again (replay id {said['replay_id']}), and published" in out
    # Killed between publishing and removal: the letter is found again, and replayed again, by the same ids.
    place.world.bus.pulled[HOLD].put(
        Delivery(letter.body, DEAD_LETTERS, letter.attributes, letter.id, letter.published)
    )
    before = len(place.world.bus.published)
    code, out, _ = dmz("dead-letters", "replay", letter.id, "--json")
    assert json.loads(out)["event_id"] == said["event_id"]
    place.world.quiet()
    new = [each for each in place.world.bus.published[before:] if each.type != "sync-completed"]
    assert new == [], "a duplicate, and nothing more"


def test_what_a_replay_could_not_change_stays(place: Place, dmz: Dmz) -> None:
    run_id, letter = broken(place)
    place.world.store.put([Put("runs", run_id, {"state": "failed"}, merge=True)])
    code, _, err = dmz("dead-letters", "replay", letter.id)
    assert code == 1
    assert f"The run {run_id} has failed, and stages do nothing more in it" in err
    token = base64.urlsafe_b64encode(b"{" + b"x" * 30).decode().rstrip("=")
    secret = f"eyJ{token}.eyJ{token}.{token}"
    place.world.bus.send("attestation-requested", json.dumps({"token": secret}).encode(), {})
    place.world.bus.send("gossip", b"{}", {})
    place.world.bus.dead_letter(b'{"token": "x"}', {"topic": "gossip"}, "No such topic.")
    place.world.quiet()
    for other in place.letters():
        code, _, err = dmz("dead-letters", "replay", other.id)
        assert code == 1, other
    assert place.letters()


def test_a_letter_is_dropped_by_somebody_for_a_reason(place: Place, dmz: Dmz) -> None:
    run_id, letter = broken(place)
    code, _, _ = dmz("dead-letters", "drop", letter.id, "--why", "submitted again", "--by", "ada")
    assert code == 0
    assert place.letters() == []
    place.world.quiet()
    ((_, kept),) = place.world.store.find("decisions", "kind", "dead-letter-dropped")
    assert (kept["actor"], kept["reason"], kept["details"]["run"]) == ("ada", "submitted again", run_id)
    assert kept["about"] == sha256(letter.body)


def letter(topic: str, body: bytes, **attributes: str) -> Letter:
    return Letter("17", body, {"topic": topic, **attributes}, "2026-11-22T10:00:00Z", "a")


def test_only_what_a_stage_finished_gets_other_ids() -> None:
    body = VerdictsWritten(run_id=UNKNOWN, manifest=SOME, verdicts=SOME, allow=1, hold=0, block=0).canonical()
    plain = letters.read(letter("verdicts-written", body))
    given_up = letters.again(letter("verdicts-written", body, reason="No."))
    assert given_up.replay_id.startswith("dead-letter-")
    assert given_up.id != plain.id
    assert decode(Delivery(given_up.body(), given_up.type, given_up.attributes())) == given_up, (
        "as it arrives"
    )
    subscription = {"CloudPubSubDeadLetterSourceSubscription": "sync--verdicts-written"}
    unanswered = Letter("17", body, subscription, "2026-11-22T10:00:00Z", "a")
    assert letters.again(unanswered) == plain
    assert "No stage has acknowledged it" in unanswered.reason
    request = json.dumps({"workload": WORKLOAD.model_dump(mode="json")}).encode()
    first, second = (letters.again(letter("run-requested", request, reason="No.")) for _ in range(2))
    assert first.run_id == second.run_id != letters.read(letter("run-requested", request)).run_id


@pytest.mark.parametrize("depth", [500, 900, 5000])
def test_a_body_of_any_depth_is_shown_without_its_secrets(depth: int) -> None:
    body = b'{"a":' * depth + b'{"report_token": "s3cret"}' + b"}" * depth
    said = letters.shown(letter("gossip", body))
    assert said.startswith("{")
    assert "s3cret" not in said
    assert "s3cret" not in letters.shown(letter("gossip", b'{"report_token": "s3cret'))


def test_secrets_are_not_shown() -> None:
    failed = RunFailed(run_id=UNKNOWN, stage="inner", reason="No.").canonical()
    assert UNKNOWN in letters.shown(letter("run-failed", failed))
    report = json.dumps({"run_id": UNKNOWN, "report_token": "s3cret-s3cret-s3cret"}).encode()
    assert "s3cret" not in letters.shown(letter("outer-install-completed", report))
    token = "eyJhbGciOiJSUzI1.eyJpc3MiOiJodHRwcz.c2lnbmF0dXJlLXg"
    for topic, body in (("manifest-published", {"deep": [{"token": token}]}), ("gossip", {"other": token})):
        assert token not in letters.shown(letter(topic, json.dumps(body).encode()))
    assert "s3cret" not in letters.shown(letter("outer-install-completed", b'{"report_token": "s3cret'))
