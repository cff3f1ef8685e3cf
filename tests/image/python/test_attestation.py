"""The sample's `attestation`: a challenge becomes a token becomes an event; failures pass, secrets do not."""

from __future__ import annotations

import importlib.util
import json
import logging
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from shared.image import spec as specs
from shared.model.attestation_payloads import AttestationRequested, NonceIssued
from tests.image.python.tee import ACCESS, TOKEN, Google

ENV = {"DMZ_SERVICE": "demo_service", "DMZ_PROJECT": "demo-project", "DMZ_SUBSCRIPTION": "demo-sub"}


@pytest.fixture(scope="module")
def attestation() -> ModuleType:
    spec = importlib.util.spec_from_file_location("attestation", specs.BUILT_IN / "python/attestation.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["attestation"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def google(tmp_path: Path) -> Iterator[Google]:
    made = Google(tmp_path / "tee.sock")
    yield made
    made.close()


@pytest.fixture
def attester(attestation: ModuleType, google: Google, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(attestation, "_IDLE", 0.01)
    return attestation.Attester(attestation.Settings.read(ENV), endpoints(attestation, google))


def endpoints(attestation: ModuleType, google: Google) -> Any:
    return attestation.Endpoints(metadata=google.url, pubsub=google.url, launcher=google.socket)


def test_a_challenge_is_answered_with_a_token_of_the_launcher(attester: Any, google: Google) -> None:
    event = google.challenge()
    assert attester.once()
    assert google.token_requests == [
        {"audience": event["audience"], "token_type": "PKI", "nonces": [event["nonce"]]}
    ]
    [(text, body, attributes)] = google.published
    assert body == {
        "run_id": event["run_id"],
        "service": "demo_service",
        "nonce_id": event["nonce_id"],
        "token": TOKEN,
    }
    assert text == json.dumps(body, sort_keys=True, separators=(",", ":"))
    assert AttestationRequested.read(text, "the event").canonical() == text.encode()
    assert set(attributes) == {"ce-id"}
    assert google.acknowledged == ["m1"]
    assert not attester.once()


def test_it_reads_what_the_attestation_stage_writes(attestation: ModuleType) -> None:
    issued = NonceIssued(
        service="demo_service",
        nonce_id="0123456789abcdef",
        nonce="n" * 43,
        audience="https://dmz.example",
        token_type="OIDC",
        expires=4_000_000_000,
    )
    challenge = attestation.Challenge.read(issued.canonical())
    assert {name: getattr(challenge, name) for name in challenge.__dataclass_fields__} == issued.model_dump()


@pytest.mark.parametrize(
    "changes",
    [
        {"service": "somebody_else"},
        {"expires": 1_000_000_000},
        {"expires": "4000000000"},
        {"expires": True},
        {"nonce": "short"},
        {"nonce": "n" * 75},
        {"nonce": 5},
        {"audience": ""},
        {"token_type": "AWS_PRINCIPALTAGS"},
    ],
)
def test_what_it_does_not_answer_is_taken_away(
    attester: Any, google: Google, changes: dict[str, object]
) -> None:
    google.challenge(**changes)
    assert attester.once()
    assert not google.token_requests
    assert not google.published
    assert google.acknowledged == ["m1"]


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"\xff", b"nonsense", b"[" * 100_000])
def test_a_message_that_is_none(attester: Any, google: Google, body: bytes) -> None:
    google.messages["m1"] = body
    assert attester.once()
    assert google.acknowledged == ["m1"]
    assert not google.published


@pytest.mark.parametrize(
    ("where", "answer"),
    [
        ("pull", (503, b"")),
        ("pull", (200, b"[]")),
        ("pull", (403, b'{"error": {"status": "' + TOKEN.encode() + b'"}}')),
        ("metadata", (404, b"no account " + ACCESS.encode())),
        ("metadata", (200, b'{"access_token": "a\\r\\nb"}')),
        ("metadata", (200, b"{")),
        ("token", (500, b"no evidence " + TOKEN.encode())),
        ("token", (200, b"<html>")),
        ("token", (200, b"")),
        ("acknowledge", (429, b"{}")),
    ],
)
def test_a_failure_leaves_the_message_for_another_try(
    attester: Any, attestation: ModuleType, google: Google, where: str, answer: tuple[int, bytes]
) -> None:
    google.challenge()
    google.failures[where] = [answer]
    with pytest.raises(attestation.Failed) as found:
        attester.once()
    assert TOKEN not in str(found.value)
    assert google.acknowledged == []
    assert attester.once()
    assert google.acknowledged == ["m1"]
    assert len(google.published) == 1  # also where the acknowledgement failed: a nonce is good for one token


@pytest.mark.parametrize("where", ["pull", "metadata"])
def test_no_redirect_is_followed(attester: Any, attestation: ModuleType, google: Google, where: str) -> None:
    google.failures[where] = [(302, f"{google.url}/elsewhere".encode())]
    with pytest.raises(attestation.Failed, match="answered 302"):
        attester.once()
    assert not any(path == "/elsewhere" for path, _ in google.asked)


def test_the_launcher_is_asked_again_when_it_is_there(
    attestation: ModuleType, google: Google, tmp_path: Path
) -> None:
    google.challenge()
    away = attestation.Endpoints(google.url, google.url, str(tmp_path / "not-yet.sock"))
    lonely = attestation.Attester(attestation.Settings.read(ENV), away)
    with pytest.raises(attestation.Failed, match="The launcher gave no token: FileNotFoundError"):
        lonely.once()
    assert google.acknowledged == []


def test_a_publication_is_repeated_as_it_was(attester: Any, google: Google) -> None:
    google.challenge()
    google.failures["publish"] = [(503, b""), (500, b"")]
    assert attester.once()
    assert len(google.published) == 1
    assert len(google.token_requests) == 1


def test_a_publication_is_given_up(attester: Any, attestation: ModuleType, google: Google) -> None:
    google.challenge()
    google.failures["publish"] = [(503, b"")] * 5
    with pytest.raises(attestation.Failed, match="503"):
        attester.once()
    assert google.acknowledged == []


def test_no_proxy_of_the_environment_sees_a_token(
    attestation: ModuleType, google: Google, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
        monkeypatch.setenv(name.upper(), "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    google.challenge()
    assert attestation.Attester(attestation.Settings.read(ENV), endpoints(attestation, google)).once()
    assert len(google.published) == 1


def test_in_the_background_through_failures_and_without_a_secret_in_the_log(
    attestation: ModuleType,
    google: Google,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(attestation, "_IDLE", 0.01)
    monkeypatch.setattr(attestation, "_LONGEST_PAUSE", 0.05)
    caplog.set_level(logging.DEBUG)
    said = TOKEN.encode() + b" " + ACCESS.encode()
    denied = b'{"error": {"status": "PERMISSION_DENIED"}}'
    google.failures = {
        "pull": [
            (503, said),
            (200, b'{"receivedMessages": [{}]}'),
            (403, denied),
        ],
        "metadata": [(500, said), (200, said)],
        "token": [(500, said), (200, said)],
        "publish": [(500, said)] * 6,
        "acknowledge": [(500, said)],
    }
    for number in range(3):
        google.challenge(f"m{number}")
    stop = attestation.start(ENV, endpoints(attestation, google))
    assert isinstance(stop, threading.Event)
    google.wait(lambda: len(google.acknowledged) == 3)
    stop.set()
    assert len(google.published) == 3
    out = capfd.readouterr()
    printed = caplog.text + out.out + out.err + "".join(str(record.exc_info) for record in caplog.records)
    assert "PERMISSION_DENIED" in printed
    assert "handed in for nonce nonce-id-of-m2-0" in printed
    for secret in (TOKEN, ACCESS, TOKEN.rpartition(".")[2], "Bearer"):
        assert secret not in printed


def test_it_runs_without_attestation(attestation: ModuleType) -> None:
    assert attestation.start({}) is None
    with pytest.raises(ValueError, match="DMZ_SUBSCRIPTION is missing"):
        attestation.start({**ENV, "DMZ_SUBSCRIPTION": ""})
    with pytest.raises(ValueError, match="DMZ_PROJECT is missing or no plain name"):
        attestation.start({**ENV, "DMZ_PROJECT": "../x"})
