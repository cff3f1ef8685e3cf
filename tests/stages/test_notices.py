"""Who wants to be told is told once, by a CloudEvent, and no run waits for a sink, whatever that does."""

from __future__ import annotations

import itertools
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

import pytest

from shared import notices
from shared.errors import Transient
from shared.events import AttestationAppraised, Delivery, Event, RunFailed, VerdictChanged, decode
from shared.memory.store import MemoryStore
from shared.ports.store import Put
from shared.upstream.sink import HttpSink, Unanswered
from tests.stages import guests
from tests.stages.world import World
from tests.support.samples import RUN, SOME

NOW = 1_800_000_000.0
CONSOLE = "https://console.test/"
TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzb21lYm9keSJ9.c2lnbmF0dXJlLW9mLWl0"
Answer = Callable[[BaseHTTPRequestHandler], None]


class Server:
    """A sink on loopback, which answers as it is told and keeps what came."""

    def __init__(self, answer: Answer) -> None:
        self.came: list[tuple[str, dict[str, str], bytes]] = []
        self.answer = answer
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.came.append(
                    (self.path, {name.lower(): value for name, value in self.headers.items()}, body)
                )
                outer.answer(self)

            def log_message(self, *_: object) -> None:
                """Nobody reads it."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/in?key=sesame"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def answering(status: int, **headers: str) -> Answer:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.end_headers()

    return answer


def raw(content: bytes) -> Answer:
    return lambda request: (request.wfile.write(content), None)[1]


def endless(request: BaseHTTPRequestHandler) -> None:
    """An answer with a body that never ends."""
    answering(200)(request)
    try:
        while True:
            request.wfile.write(b"x" * 65536)
    except OSError:
        return


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server(answering(204))
    yield made
    made.close()


class Recorded:
    """A sink in memory."""

    def __init__(self, *troubles: Transient) -> None:
        self.troubles = list(troubles)
        self.came: list[tuple[Mapping[str, str], dict[str, Any]]] = []

    def send(self, attributes: Mapping[str, str], body: bytes) -> None:
        if self.troubles:
            raise self.troubles.pop(0)
        self.came.append((attributes, json.loads(body)))


def event(data: RunFailed | VerdictChanged | AttestationAppraised, topic: str) -> Event:
    return decode(Delivery(data.canonical(), topic, {}, "1", "2026-11-22T10:00:00Z"))


def failed(reason: str = "The disk is full.") -> Event:
    return event(RunFailed(run_id=RUN, stage="sync", reason=reason), "run-failed")


def changed() -> Event:
    data = VerdictChanged(
        purl="pkg:pypi/lib@1.0", before="allow", after="block", reason="GHSA-1", verdicts=SOME
    )
    return event(data, "verdict-changed")


def appraised(decision: Literal["accepted", "refused"], run_id: str = RUN) -> Event:
    data = AttestationAppraised(
        run_id=run_id,
        service="reader",
        nonce_id="n" * 20,
        decision=decision,
        failed_checks=("4 image: unknown",) if decision == "refused" else (),
        image_digest="",
        builders=(),
        token=SOME,
        result=SOME,
        summary=None,
        checks=20,
    )
    return event(data, "attestation-appraised")


def told(about: Event, console: str = CONSOLE) -> dict[str, Any]:
    (write,) = notices.about(about, console, NOW)
    return dict(write.fields["data"])


def kept(store: MemoryStore, about: Event, now: float = NOW) -> str:
    (write,) = notices.about(about, CONSOLE, now)
    store.put([write])
    return write.id


# --- what is told -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("about", "sentence", "path"),
    [
        (failed(), f"{RUN} failed in the stage sync: The disk is full.", f"runs/{RUN}"),
        (changed(), "pkg:pypi/lib@1.0 was allow and is block now: GHSA-1", "watch"),
        (
            appraised("refused"),
            "The token of the data service reader was refused: 4 image: unknown",
            f"runs/{RUN}/attestation",
        ),
        (
            appraised("refused", ""),
            "The token of the data service reader was refused: 4 image: unknown",
            "images",
        ),
    ],
    ids=["run", "verdict", "attestation", "attestation of no run"],
)
def test_a_sentence_and_a_link(about: Event, sentence: str, path: str) -> None:
    assert (told(about)["sentence"], told(about)["link"]) == (sentence, CONSOLE + path)
    assert told(about, "")["link"] == ""


def test_an_accepted_token_is_no_news() -> None:
    assert notices.about(appraised("accepted"), CONSOLE, NOW) == ()


def test_nothing_secret_and_nothing_long_leaves() -> None:
    reason = f"Got {TOKEN}\nfrom https://bob:hunter2@index.test/ with ya29.a0AfH6SMBxxxxxx " + "x" * 15_000
    sentence = str(told(failed(reason))["sentence"])
    assert len(sentence) <= 501
    assert "\n" not in sentence
    for secret in (TOKEN, "eyJ", "hunter2", "ya29"):
        assert secret not in sentence
    assert "https://…index.test/" in sentence


@pytest.mark.parametrize(
    "secret",
    [
        "Authorization: Bearer abcdefghijk123456",
        "Authorization: Basic Ym9iOmh1bnRlcjJzZXNhbWU=",
        "https://bob:hunter2@bucket.test/x?token=deadbeef",
        "https://bucket.test/x?X-Goog-Signature=deadbeef&n=1",
        "github_pat_11ABCDEFG0abcdef",
        "glpat-abcdefghijkl",
        "pypi-AgEIcHlwaS5vcmcabcdef",
        "AIzaSyA1234567890abcdef",
        "-----BEGIN PRIVATE KEY----- MIIEvQIBADAN",
    ],
)
def test_what_lets_in_is_known_by_its_form(secret: str) -> None:
    sentence = str(told(failed(f"It said {secret}"))["sentence"])
    assert sentence.partition("It said ")[2].endswith("…")
    assert secret.split()[-1].partition("?")[2] or secret.split()[-1] not in sentence
    assert not re.search("deadbeef|hunter2", sentence)


def test_a_purl_is_told_whole() -> None:
    purl = "pkg:deb/debian/libc6@2.36?arch=amd64"
    assert purl in str(told(failed(f"{purl} is gone."))["sentence"])


# --- how it gets there ------------------------------------------------------------------------------------------


def test_a_cloudevent_in_binary_mode(server: Server) -> None:
    """https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md, section 3.1."""
    HttpSink(server.url).send({"id": "a b%\u20ac", "type": "t"}, b'{"sentence":"x"}')
    ((path, headers, body),) = server.came
    assert path == "/in?key=sesame"
    assert (headers["ce-id"], headers["ce-type"]) == ("a%20b%25%E2%82%AC", "t")
    assert headers["content-type"] == "application/json"
    assert body == b'{"sentence":"x"}'


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (answering(500), "HTTP status 500"),
        (answering(302, Location="/elsewhere"), "HTTP status 302"),
        (raw(b"\x00\x01 this is no HTTP\r\n\r\n"), "cannot be reached"),
        (raw(b""), "cannot be reached"),
        (lambda _request: threading.Event().wait(2) and None, "does not answer within"),
    ],
    ids=["error", "redirect", "garbage", "nothing", "silence"],
)
def test_what_is_no_success_says_why_and_not_where(server: Server, answer: Answer, reason: str) -> None:
    server.answer = answer
    with pytest.raises(Transient, match=reason) as found:
        HttpSink(server.url, patience=0.5).send({"id": "1"}, b"{}")
    assert len(server.came) == 1, "a redirect was followed"
    assert "sesame" not in str(found.value)


def test_an_endless_answer_is_a_success_that_nobody_reads(server: Server) -> None:
    server.answer = endless
    HttpSink(server.url).send({"id": "1"}, b"{}")


def test_a_sink_that_cannot_be_reached_is_left_alone_for_a_while(server: Server) -> None:
    server.answer = raw(b"")
    sink = HttpSink(server.url)
    for _ in range(3):
        with pytest.raises(Unanswered):
            sink.send({"id": "1"}, b"{}")
    assert len(server.came) == 1


# --- and when ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("copies", [1, 3])
def test_a_run_that_fails_is_told_once(copies: int, tmp_path: Path) -> None:
    sink = Recorded()
    world = World(
        tmp_path, copies=copies, sink=sink, outer=lambda config: guests.outer_failed(config, "no disk\n")
    )
    run_id = world.request()
    world.sweep()
    world.bus.close()
    ids = {attributes["id"] for attributes, _ in sink.came}
    assert len(ids) == 1, "duplicates carry one id"
    attributes, data = sink.came[0]
    assert (attributes["specversion"], attributes["type"]) == ("1.0", notices.TYPE)
    assert data["run_id"] == run_id
    assert data["sentence"].startswith(f"{run_id} failed in the stage outer: ")


def test_a_sink_that_is_away_stops_no_run_and_is_told_later(tmp_path: Path) -> None:
    sink = Recorded(Transient("It is away."), Unanswered("It is away."))
    world = World(tmp_path, sink=sink, outer=lambda config: guests.outer_failed(config, "no disk\n"))
    run_id = world.request()
    assert world.run(run_id)["state"] == "failed"
    assert world.vms.all() == []
    assert sink.came == []
    for minutes in (2, 60):
        world.ahead = minutes * 60
        world.sweep()
    world.bus.close()
    assert world.raised == []
    assert len(sink.came) == 1
    assert [fields["tries"] for _, fields in world.store.find("notices", "state", "sent")] == [3]


def test_who_dies_before_the_sink_was_asked_is_succeeded_by_the_watchdog() -> None:
    store, sink = MemoryStore(), Recorded()
    name = kept(store, failed())
    list(notices.again(store, sink, NOW))
    list(notices.again(store, sink, NOW))
    notices.send(failed(), store, sink, NOW)
    assert [attributes["id"] for attributes, _ in sink.came] == [name]


def test_a_day_later_it_is_given_up_with_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    store = MemoryStore()
    name = kept(store, failed())
    away = [Transient("It is away.")] * 100
    sink, now = Recorded(*away), NOW
    while (store.get("notices", name) or {})["state"] == "waiting":
        list(notices.again(store, sink, now))
        now += 300
    assert notices.GIVE_UP <= now - NOW <= notices.GIVE_UP + 2 * 3600
    tries = len(away) - len(sink.troubles)
    assert 20 <= tries <= 40, "it pauses longer and longer, up to an hour"
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["severity"] for line in lines].count("ERROR") == 1
    assert lines[-1]["event"] == "notification"
    assert RUN in lines[-1]["message"]
    list(notices.again(store, Recorded(), now + 86_400))
    assert (store.get("notices", name) or {})["state"] == "lost"


def test_one_that_is_refused_keeps_no_other_back_and_silence_ends_the_round() -> None:
    store = MemoryStore()
    kept(store, failed("first"))
    kept(store, changed(), NOW + 1)
    refusing, silent = Recorded(Transient("HTTP status 400")), Recorded(Unanswered("Nobody."))
    list(notices.again(store, silent, NOW + 1))
    assert silent.came == []
    list(notices.again(store, refusing, NOW + 61))
    assert len(refusing.came) == 1


def test_a_round_has_a_bound() -> None:
    store, sink = MemoryStore(), Recorded()
    for number in range(notices.AT_ONCE + 5):
        (write,) = notices.about(changed(), CONSOLE, NOW)
        store.put([Put("notices", f"{number}", write.fields)])
    list(notices.again(store, sink, NOW))
    assert len(sink.came) == notices.AT_ONCE


class Counting(MemoryStore):
    """Counts the documents that questions give."""

    read = 0

    def find(self, *args: Any, **more: Any) -> Any:
        found = super().find(*args, **more)
        self.read += len(found)
        return found


def many(store: MemoryStore, number: int, since: float = NOW) -> None:
    (write,) = notices.about(changed(), CONSOLE, since)
    store.put_many("notices", {f"{since} {each}": dict(write.fields) for each in range(number)})


def test_a_round_reads_a_few_however_many_wait() -> None:
    store = Counting()
    many(store, 20_000)
    for minutes in range(5):
        list(notices.again(store, Recorded(*[Unanswered("Nobody.")] * 10), NOW + minutes * 60))
    assert store.read <= 5 * (notices.AT_ONCE + notices.GIVEN_UP_AT_ONCE)


def test_a_sink_that_does_not_answer_is_asked_less_and_less_often_whoever_waits() -> None:
    store, dead = MemoryStore(), Recorded(*[Unanswered("Nobody.")] * 1000)
    many(store, 100)
    for minutes in range(60):
        list(notices.again(store, dead, NOW + minutes * 60))
        notices.send(failed(), store, dead, NOW + minutes * 60)
    asked = 1000 - len(dead.troubles)
    assert 6 <= asked <= 12
    back = Recorded()
    for minutes in range(60, 76):
        list(notices.again(store, back, NOW + minutes * 60))
    assert len(back.came) == 100
    assert (store.get("progress", "notifications") or {})["tries"] == 0


def test_ones_that_are_refused_stand_in_nobodys_way() -> None:
    store, refusing = MemoryStore(), Recorded(*[Transient("HTTP status 400")] * notices.AT_ONCE)
    many(store, notices.AT_ONCE)
    many(store, 1, NOW + 1)
    list(notices.again(store, refusing, NOW + 2))
    list(notices.again(store, refusing, NOW + 3))
    assert len(refusing.came) == 1


def test_what_is_given_up_leaves_an_alarm_until_the_sink_takes_something(
    capsys: pytest.CaptureFixture[str],
) -> None:
    store, dead = MemoryStore(), Recorded(*[Unanswered("The sink is away.")] * 1000)
    many(store, notices.GIVEN_UP_AT_ONCE + 5)
    list(notices.again(store, dead, NOW))
    late = NOW + notices.GIVE_UP
    list(notices.again(store, dead, late))
    assert len(store.find("notices", "state", "lost")) == notices.GIVEN_UP_AT_ONCE
    list(notices.again(store, dead, late + 60))
    assert store.find("notices", "state", "waiting") == []
    ((_, alarm),) = store.find("alarms", "kind", "untold")
    assert (alarm["open"], alarm["subject"]) == (True, "notifications")
    assert alarm["message"].startswith("5 notifications were given up now")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["severity"] for line in lines].count("ERROR") == notices.GIVEN_UP_AT_ONCE + 5
    many(store, 1, late + 3000)
    list(notices.again(store, Recorded(), late + 4000))
    ((_, alarm),) = store.find("alarms", "kind", "untold")
    assert alarm["open"] is False


def test_a_slow_sink_does_not_hold_up_the_watchdog() -> None:
    """It answers just before patience ends, each time with a refusal: nothing says that it is away."""
    store, sink, clock = MemoryStore(), Recorded(), itertools.count(0.0, 9.9)
    for number in range(notices.AT_ONCE):
        (write,) = notices.about(changed(), CONSOLE, NOW)
        store.put([Put("notices", f"{number}", write.fields)])
    list(notices.again(store, sink, NOW, lambda: next(clock)))
    assert len(sink.came) == int(notices.ROUND / 9.9)
