"""submit, status, logs, cancel, dead-letters as they are typed, over the stages of a small world."""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from functions.ctl import cli, submit, watching
from functions.ctl.held import LocalHeld
from functions.ctl.logs import _PIECE, Tail
from functions.local.layout import Layout
from functions.local.pubsub import HOLD, PubSub
from shared import letters
from shared.dead_letters import Letter
from shared.events import DEAD_LETTERS, Delivery, Event, RunFailed, VerdictsWritten, decode, run_id_of
from shared.machines import vm_name
from shared.memory.pulled import PullSubscription
from shared.model.value import sha256
from shared.ports.store import Put
from tests.ctl.answering import answering
from tests.stages.world import OWN, WORKLOAD, World
from tests.support.samples import SOME

FILE = """
name: small
runtime_version: tpu-ubuntu2204-base
accelerator_type: v5litepod-1
install: dmz-fetch https://files.test/data.bin /opt/w/data.bin
smoke: "true"
"""
UNKNOWN = "run-000000000000"
Dmz = Callable[..., tuple[int, str, str]]


@dataclasses.dataclass
class Place:
    world: World
    layout: Layout
    address: str

    def letters(self) -> list[Letter]:
        held = LocalHeld(PubSub(self.address, "dmz-local"))
        found = list(held.pull())
        held.release(found)
        return found


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A world with its stages, which answers where a platform that is up would."""
    (tmp_path / "world").mkdir()
    world = World(tmp_path / "world")
    world.bus.pulled[HOLD] = PullSubscription(DEAD_LETTERS)
    with answering(world, tmp_path, monkeypatch) as (layout, address):
        yield Place(world, layout, address)


@pytest.fixture
def dmz(capsys: pytest.CaptureFixture[str]) -> Dmz:
    def run(*words: str) -> tuple[int, str, str]:
        try:
            code = cli.main(list(words))
        except SystemExit as error:  # argparse's own
            code = int(error.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def workload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The world's own workload as a file, with its wheel beside it; the staging repository is the world's memory."""
    path = tmp_path / "small.yaml"
    path.write_text(WORKLOAD.model_dump_json())
    (tmp_path / OWN.filename).write_bytes(OWN.content)
    monkeypatch.setattr(submit, "_staging", lambda *_: ("dmz-staging", Staging()))
    UPLOADED.clear()
    return str(path)


UPLOADED: list[tuple[str, ...]] = []


class Staging:
    def upload_generic(self, *given: object) -> None:
        UPLOADED.append(tuple(str(each) for each in given[:4]))


def silent(_config: object) -> None:
    """A VM that never reports."""


# --- submit, status, cancel ---


def test_a_run_is_submitted_and_waited_for(place: Place, dmz: Dmz, workload: str) -> None:
    code, out, err = dmz("submit", workload, "--wait", "--id", "mine")
    run_id = run_id_of("mine")
    assert (code, out) == (0, f"{run_id}\n")
    assert "inner done" in err, "what happens is told beside the id"
    assert list(UPLOADED) == [("dmz-staging", "wheels", OWN.sha256.removeprefix("sha256:"), OWN.filename)]
    assert dmz("submit", workload, "--id", "mine", "--json")[0] == 0
    place.world.quiet()
    assert [name for name in place.world.vms.created if name == vm_name("outer", run_id)] != []
    assert len(place.world.store.find("runs", "state", "completed")) == 1, "under one id it is one run"
    place.world.inner = lambda config: {**place.world.install_inner(config), "egress": "open"}
    code, out, _ = dmz("submit", workload, "--wait", "--json")
    said = json.loads(out)
    assert (code, said["state"]) == (1, "failed")
    assert said["reason"]


@pytest.mark.parametrize(
    ("text", "said"),
    [("name: [\n", "line 2"), (FILE + "smok: x\n", "smok"), (FILE.replace("true", ""), "smoke")],
)
def test_a_mistake_in_the_file_is_named_and_nothing_is_sent(
    place: Place, dmz: Dmz, tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    code, out, err = dmz("submit", str(path))
    assert (code, out) == (2, "")
    assert said in err
    assert place.world.vms.created == []


def test_a_run_that_does_not_begin_is_not_waited_for_for_ever(
    place: Place, dmz: Dmz, workload: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.world.bus.subscribe("outer", lambda _: True)
    monkeypatch.setattr(watching, "_UNHEARD", 0.3)
    code, _, err = dmz("submit", workload, "--wait")
    assert code == 1
    assert "has not begun within" in err
    assert "./dmz dead-letters" in err


def test_the_status_of_one_run(place: Place, dmz: Dmz) -> None:
    run_id = place.world.request()
    code, out, _ = dmz("status", run_id)
    assert code == 0
    assert out.startswith(f"{run_id} small completed (inner)\n")
    assert "  scanner     done" in out
    assert "./dmz cancel" not in out
    code, out, _ = dmz("status", run_id, "--json")
    assert (code, json.loads(out)["state"], json.loads(out)["run_id"]) == (0, "completed", run_id)
    code, out, _ = dmz("status", run_id, "--watch", "--json")
    assert code == 0
    assert json.loads(out.splitlines()[-1])["stages"]["inner"] == "done"
    place.world.store.put([Put("runs", run_id, {"state": "failed", "reason": "No.\x1b[2J"}, merge=True)])
    code, out, _ = dmz("status", run_id, "--watch")
    assert code == 1
    assert "  why         No.\\u001b[2J" in out
    assert dmz("status", UNKNOWN)[0] == 2
    assert dmz("status", "--watch")[0] == 2, "none goes on"
    assert dmz("status", "no-run")[0] == 2


def test_a_run_is_cancelled_once(place: Place, dmz: Dmz) -> None:
    place.world.inner = silent
    run_id = place.world.request()
    reason = "The run was cancelled by ada: the wrong workload."
    code, out, _ = dmz("cancel", run_id, "--why", "the wrong workload", "--by", "ada")
    assert (code, out) == (0, f"{run_id} failed: {reason}\n")
    place.world.quiet()
    assert place.world.vms.all() == []
    code, out, _ = dmz("cancel", run_id, "--why", "again", "--by", "bob")
    assert (code, out) == (0, f"{run_id} had failed already: {reason}\n")
    place.world.inner = None
    completed = place.world.request()
    code, out, _ = dmz("cancel", completed, "--why", "too late", "--json")
    assert (code, json.loads(out)["state"], json.loads(out)["had_ended"]) == (1, "completed", True)
    assert len(place.world.events("cancel-requested")) == 0, "nothing was published for what had ended"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("cancel", UNKNOWN, "--why", "x"), 2),
        (("cancel", "17", "--why", "x"), 2),
        (("cancel", UNKNOWN), 2),
        (("cancel", UNKNOWN, "--why", "two\nlines"), 2),
        (("dead-letters", "drop", "17"), 2),
        (("dead-letters", "drop", "17", "--why", "x"), 2),
        (("dead-letters", "show"), 2),
        (("dead-letters", "list", "17"), 2),
        (("dead-letters", "replay", "17", "--why", "x"), 2),
        (("submit", "no-such-workload"), 2),
        (("submit", "quickstart", "--id", "two words"), 2),
        (("logs", "nonsense"), 1),
    ],
)
def test_what_is_wrong_is_one_sentence(place: Place, dmz: Dmz, words: tuple[str, ...], code: int) -> None:
    found, out, err = dmz(*words)
    assert (found, out) == (code, "")
    assert err
    assert "Traceback" not in err


def test_without_a_platform_it_is_said(
    dmz: Dmz, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workload: str
) -> None:
    monkeypatch.setenv("DMZ_HOME", os.fspath(tmp_path / "none"))
    for words in (
        ("submit", workload),
        ("status", UNKNOWN),
        ("cancel", UNKNOWN, "--why", "x"),
        ("dead-letters",),
    ):
        code, _, err = dmz(*words)
        assert code == 3, words
        assert "not up" in err
    code, out, _ = dmz("status", "--json")
    assert (code, json.loads(out)["platform"]) == (3, None)


@pytest.mark.parametrize("command", ["submit", "status", "logs", "cancel", "dead-letters"])
def test_the_help_has_an_example_and_the_exit_codes(dmz: Dmz, command: str) -> None:
    code, out, _ = dmz(command, "--help")
    assert code == 0
    assert f"  ./dmz {command}" in out
    assert "exit codes: 0 done, 1" in out


# --- logs ---


def test_the_console_of_a_run_is_followed_to_its_end(place: Place, dmz: Dmz) -> None:
    run_id = place.world.request()
    console = place.layout.machines / "vms" / vm_name("outer", run_id) / "serial.log"
    console.parent.mkdir(parents=True)
    console.write_text("one\ntwo \x1b[31m\n")
    code, out, _ = dmz("logs", run_id, "--follow")
    assert (code, out) == (0, "one\ntwo \\u001b[31m\n")
    code, out, _ = dmz("logs", run_id, "--json")
    assert json.loads(out.splitlines()[0]) == {"log": vm_name("outer", run_id), "line": "one"}


class CloudLogging:
    """What of Cloud Logging's `entries.list` gcloud uses (https://cloud.google.com/logging/docs/reference/v2/rest)."""

    def __init__(self, entries: list[dict[str, object]]) -> None:
        self.asked: list[dict[str, object]] = []
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                stand_in.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                body = json.dumps({"entries": entries}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()


def test_what_the_stages_of_a_deployment_say_is_read_by_gcloud(
    dmz: Dmz, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real gcloud, in front of a stand-in for Cloud Logging."""
    said = {"message": "judged \x1b[2J", "stage": "scanner", "run_id": UNKNOWN}
    entry = {"insertId": "1", "timestamp": "2026-11-22T10:00:00Z", "severity": "INFO", "jsonPayload": said}
    cloud = CloudLogging([entry])
    for name, value in {
        "CLOUDSDK_CONFIG": os.fspath(tmp_path / "gcloud"),
        "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_LOGGING": f"http://127.0.0.1:{cloud.server.server_address[1]}/",
        "no_proxy": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    code, out, err = dmz("logs", UNKNOWN, "--project", "my-outer")
    cloud.server.shutdown()
    cloud.server.server_close()
    assert (code, out) == (0, "2026-11-22T10:00:00Z INFO scanner: judged \\u001b[2J\n"), err
    (asked,) = cloud.asked
    assert asked["resourceNames"] == ["projects/my-outer"]
    assert f'jsonPayload.run_id="{UNKNOWN}"' in str(asked["filter"])
    assert dmz("logs", "scanner", "--project", "my-outer")[0] == 2, (
        "a run's id, which cannot be a flag or a filter"
    )


def test_a_line_that_never_ends_is_not_kept_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "serial.log"
    path.write_bytes(b"begun\n")
    tail = Tail(path)
    assert tail.lines() == ["begun"]
    for _ in range(4):
        with path.open("ab") as file:
            file.write(b"x" * _PIECE)
        tail.lines()
    assert len(tail.rest) <= 2 * _PIECE


def test_a_log_is_read_on_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text("".join(f"{number}\n" for number in range(300)))
    tail = Tail(path)
    assert tail.lines() == [str(number) for number in range(100, 300)]
    with path.open("a") as file:
        file.write("half")
        file.flush()
        assert tail.lines() == []
        file.write(" done\nnext\n")
    assert tail.lines() == ["half done", "next"]
    path.write_text("anew\n")
    assert tail.lines() == ["anew"]


# --- dead letters ---


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
