"""What alerts and metrics speak of is what the code does: filters are held against lines that stages really write."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast, get_args

import pytest
from cloudevents.http import CloudEvent
from werkzeug.exceptions import ServiceUnavailable

import shared.data.advisories
from shared import logs, serving
from shared.delivery import Desk, Outcome
from shared.errors import Permanent, Transient
from shared.events import SUBSCRIBERS
from shared.judgement import advisories
from shared.model.package import Package, Release
from shared.model.trace import Attribute
from shared.settings import Settings
from tests.attestation.world import SERVICE, Attested, silent, token
from tests.delivery.office import Office, raising
from tests.stages.world import World
from tests.terraform import entries, watch_checks
from tests.terraform.plans import resources

Captured = pytest.CaptureFixture[str]
METRICS = [
    "dmz/bytes",
    "dmz/dead_letters",
    "dmz/decisions",
    "dmz/lacking_data",
    "dmz/lost_notifications",
    "dmz/lost_traces",
    "dmz/misconfigured",
    "dmz/package_alarms",
    "dmz/refused_attestations",
    "dmz/refused_packages",
    "dmz/retries",
    "dmz/stage_seconds",
]


@pytest.fixture
def filters(outer_plan: dict[str, Any]) -> dict[str, str]:
    """Metric to its filter."""
    return {
        one.values["name"]: str(one.values["filter"])
        for one in resources(outer_plan, "google_logging_metric")
    }


@pytest.fixture
def inner_filters(inner_plan: dict[str, Any]) -> dict[str, str]:
    return {
        one.values["name"]: str(one.values["filter"])
        for one in resources(inner_plan, "google_logging_metric")
    }


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Attested]:
    made = Attested(tmp_path, answer=silent)
    made.agreed()
    yield made
    made.bus.close()


def counted(filters: dict[str, str], line: str, service: str) -> set[str]:
    return {name for name, words in filters.items() if entries.fits(words, entries.entry(line, service))}


def written(captured: Captured, event: str) -> list[str]:
    lines = [line for line in captured.readouterr().err.splitlines() if line.startswith("{")]
    return [line for line in lines if json.loads(line).get("event") == event]


def test_each_metric_is_of_an_event_that_stages_log(filters: dict[str, str]) -> None:
    asked = {words.partition('jsonPayload.event="')[2].partition('"')[0] for words in filters.values()}
    assert sorted(filters) == METRICS
    assert asked == set(get_args(logs.Event))


def test_data_that_nobody_set_up_is_not_counted_and_what_cannot_be_read_is(
    filters: dict[str, str], tmp_path: Path, capsys: Captured
) -> None:
    package = Package(ecosystem="pypi", name="lib", version="1.0")
    release = Release(id="debian", version_id="13", codename="trixie", architecture="amd64")
    settings = Settings(
        project="test", advisories=shared.data.advisories.__path__[0], kev=str(tmp_path / "gone.json")
    )
    advisories(settings, "scanner").known([package], release)
    lines = {json.loads(line)["severity"]: line for line in written(capsys, "data-lacking")}
    assert counted(filters, lines["WARNING"], "scanner") == {"dmz/lacking_data"}
    assert counted(filters, lines["INFO"], "scanner") == set()


def test_a_decision_that_is_logged_is_counted(filters: dict[str, str], capsys: Captured) -> None:
    logs.line("decision-logged", "INFO", "words", "scanner")
    (line,) = written(capsys, "decision-logged")
    assert counted(filters, line, "scanner") == {"dmz/decisions"}


def test_a_refused_token_is_counted(world: Attested, filters: dict[str, str], capsys: Captured) -> None:
    told = world.ask()
    spoilt = token(told)[:-8] + "AAAAAAAA"
    world.hand_in(told, spoilt)
    assert world.appraised()[-1].decision == "refused"
    (line,) = written(capsys, "attestation-appraised")
    assert counted(filters, line, "attestation") == {"dmz/refused_attestations"}
    said = json.loads(line)
    assert (said["severity"], said["stage"], said["service"]) == ("WARNING", "attestation", SERVICE)
    assert said["policy"] == world.result(world.appraised()[-1]).policy
    failed = world.result(world.appraised()[-1]).failed
    assert said["failed_checks"] == [f"{check.number} {check.name}" for check in failed] != []
    assert failed[0].name in said["message"]


def test_an_accepted_token_is_not_counted(world: Attested, filters: dict[str, str], capsys: Captured) -> None:
    told = world.ask()
    world.hand_in(told)
    assert world.appraised()[-1].decision == "accepted"
    (line,) = written(capsys, "attestation-appraised")
    assert counted(filters, line, "attestation") == set()
    said = json.loads(line)
    assert (said["severity"], said["accepted"], said["failed_checks"]) == ("INFO", True, [])


def test_no_line_holds_a_token_or_a_nonce(world: Attested, capsys: Captured) -> None:
    told = world.ask()
    handed = token(told)
    world.hand_in(told, handed)
    other = world.ask()
    world.hand_in(other, handed)  # a token that is used twice, for a nonce that is not in it
    lines = "\n".join(written(capsys, "attestation-appraised"))
    assert lines.count("\n") == 1
    for secret in (
        handed,
        *handed.split("."),
        *(each[name] for each in (told, other) for name in ("nonce", "nonce_id")),
    ):
        assert secret not in lines


@pytest.mark.parametrize(
    ("trouble", "event", "metric"),
    [
        (Transient("The store is away."), "delivery-postponed", "dmz/retries"),
        (Permanent("DMZ_X is wrong."), "stage-misconfigured", "dmz/misconfigured"),
    ],
)
@pytest.mark.parametrize("stage", sorted(SUBSCRIBERS))
def test_a_delivery_that_fails_is_counted(
    stage: str,
    trouble: Exception,
    event: str,
    metric: str,
    filters: dict[str, str],
    inner_filters: dict[str, str],
    capsys: Captured,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def deliver(_delivery: object) -> None:
        raise trouble

    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "dmz-test")
    handle = serving.entry_point(stage, lambda _settings: cast(Desk, SimpleNamespace(deliver=deliver)))
    with pytest.raises(ServiceUnavailable):
        handle(_message())
    (line,) = written(capsys, event)
    mine, others = (inner_filters, filters) if stage == "inner" else (filters, inner_filters)
    assert counted(mine, line, stage) == {metric}
    assert counted(others, line, stage) == counted(mine, line, "somebody-elses") == set()
    assert json.loads(line)["message"] == str(trouble)


def _message() -> CloudEvent:
    attributes = {
        "type": "google.cloud.pubsub.topic.v1.messagePublished",
        "source": "//pubsub/projects/p/topics/sweep-requested",
    }
    return CloudEvent(
        attributes, {"message": {"data": "e30=", "messageId": "1", "publishTime": "2026-11-22T00:00:00Z"}}
    )


def test_every_field_that_metrics_ask_for_is_written(filters: dict[str, str], capsys: Captured) -> None:
    """And `watch_checks` knows no field that a line does not have."""
    logs.line("attestation-appraised", "INFO", "words", "attestation", accepted=True)
    told: dict[str, Attribute] = {"bytes": 1, "refused": 2}
    office = Office(lambda _: Outcome(told=told))
    office.deliver()
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert set().union(*lines) >= watch_checks.WRITTEN
    assert set().union(*(entries.fields(words) for words in filters.values())) <= watch_checks.WRITTEN


def test_an_event_that_is_handled_is_measured(
    filters: dict[str, str], inner_filters: dict[str, str], capsys: Captured
) -> None:
    """Its seconds once it has ended, whatever became of it; its bytes and its refusals where it has some."""
    office = Office(raising(Transient("The index is away.")))
    with pytest.raises(Transient):
        office.deliver()
    office.handle = lambda _: Outcome(told={"bytes": 1788, "files": 2})
    office.deliver_later()
    office.deliver()
    retried, done, duplicate = written(capsys, "event-handled")
    assert counted(filters, done, "sync") == {"dmz/bytes", "dmz/stage_seconds"}
    assert counted(inner_filters, done, "inner") == {"dmz/stage_seconds"}
    assert counted(filters, retried, "sync") == counted(filters, duplicate, "sync") == set()
    assert (json.loads(done)["bytes"], type(json.loads(done)["seconds"])) == (1788, float)


def test_what_the_scanner_refuses_is_measured(
    tmp_path: Path, filters: dict[str, str], capsys: Captured
) -> None:
    world = World(tmp_path)
    world.request()
    world.bus.close()
    (line,) = [each for each in written(capsys, "event-handled") if '"refused"' in each]
    assert counted(filters, line, "scanner") == {"dmz/refused_packages", "dmz/stage_seconds"}
    (told,) = world.events("verdicts-written")
    assert json.loads(line)["refused"] == told.hold + told.block > 0


def test_a_dead_letter_is_counted(
    filters: dict[str, str], inner_filters: dict[str, str], capsys: Captured
) -> None:
    office = Office(raising(Permanent("It is no manifest.")))
    office.deliver()
    (line,) = written(capsys, "dead-lettered")
    assert counted(filters, line, "sync") == counted(inner_filters, line, "inner") == {"dmz/dead_letters"}


def test_the_reader_of_filters_tells_apart() -> None:
    line = json.dumps({"severity": "ERROR", "event": "e", "accepted": False, "text": "false"})
    found = entries.entry(line, "outer")
    for words in (
        'jsonPayload.event="e"',
        "severity=ERROR",
        "jsonPayload.accepted=false AND jsonPayload.event:*",
        'resource.labels.service_name=("inner" OR "outer") AND resource.type="cloud_run_revision"',
    ):
        assert entries.fits(words, found), words
    for words in (
        'jsonPayload.event="f"',
        "jsonPayload.severity=ERROR",
        "jsonPayload.accepted=true",
        "jsonPayload.text=false",
        'jsonPayload.accepted="false"',
        "jsonPayload.absent:*",
        'resource.labels.service_name=("inner" OR "sync") AND jsonPayload.event="e"',
    ):
        assert not entries.fits(words, found), words
    with pytest.raises(ValueError, match="does not know"):
        entries.fits('jsonPayload.event=~"e"', found)
