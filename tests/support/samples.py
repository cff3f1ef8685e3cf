"""Small valid events for tests that do not care what is in them."""

from __future__ import annotations

from shared.events import Event, ManifestPublished, SyncShardPlanned, VerdictsWritten, derive, derived_id
from shared.model.value import sha256

RUN = "run-0123456789ab"
SOME = sha256(b"some content")


def manifest_published(run: str = RUN, *, replay: str = "") -> Event:
    data = ManifestPublished(run_id=run, manifest=SOME)
    return Event(
        type="manifest-published",
        id=derived_id(run, "manifest-published", "", replay),
        source="/package-dmz/outer",
        time="2026-11-21T20:00:00.000Z",
        data=data,
        replay_id=replay,
        traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    )


def verdicts_written(run: str = RUN) -> Event:
    data = VerdictsWritten(run_id=run, manifest=SOME, verdicts=SOME, allow=3, hold=0, block=1)
    return Event(
        "verdicts-written",
        derived_id(run, "verdicts-written"),
        "/package-dmz/scanner",
        "2026-11-21T20:00:01Z",
        data,
    )


def shard_planned(shard: int, run: str = RUN) -> Event:
    data = SyncShardPlanned(run_id=run, plan=SOME, shard=shard)
    return derive(verdicts_written(run), "sync-shard-planned", data, stage="sync", now=1_795_291_202)
