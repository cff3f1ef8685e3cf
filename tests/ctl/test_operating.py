"""submit, status, logs, cancel as they are typed, over the stages of a small world."""

from __future__ import annotations

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from functions.ctl import submit, watching
from functions.ctl.logs import _PIECE, Tail
from shared.events import run_id_of
from shared.machines import vm_name
from shared.ports.store import Put
from tests.ctl.operating import UNKNOWN, Dmz, Place
from tests.ctl.operating import dmz as dmz
from tests.ctl.operating import place as place
from tests.stages.failing import silent
from tests.stages.world import OWN, WORKLOAD

FILE = """
name: small
runtime_version: tpu-ubuntu2204-base
accelerator_type: v5litepod-1
install: dmz-fetch https://files.test/data.bin /opt/w/data.bin
smoke: "true"
"""


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
