"""What is told of an event, and how it gets to the sink: a CloudEvent without secrets, whatever that answers."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Literal

import pytest

from shared import notices
from shared.errors import Transient
from shared.events import AttestationAppraised, Event
from shared.upstream.sink import HttpSink, Unanswered
from tests.stages.noticing import CONSOLE, NOW, Answer, Server, answering, changed, event, failed, told
from tests.support.samples import RUN, SOME

TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzb21lYm9keSJ9.c2lnbmF0dXJlLW9mLWl0"


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
