"""What a run asks of Firestore and Pub/Sub, counted while all four stages carry one through over the twins in memory.

    .venv/bin/python -m tests.benchmarks.tally [PACKAGES ...]

Counted as Google bills: a document read, written or deleted is one each, however small
(https://cloud.google.com/firestore/docs/understand-billing); a query counts what it finds, and one if that is nothing.
"""

from __future__ import annotations

import gzip
import json
import math
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from shared.delivery import Desk
from shared.events import SUBSCRIBERS
from shared.gcp.firestore import _CHUNK
from shared.settings import Settings
from tests.stages.world import World
from tests.support import claims


class Tally:
    """Of one run: `reads`, `writes`, `deletes` and `stored` bytes, `messages` and `delivered` ones."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def add(self, **more: int) -> None:
        with self._lock:
            self.counts.update(more)

    def through(self, name: str, port: Any) -> Any:
        """A port that counts, in place of one that does not."""
        watched = {"store": _store, "blobs": _blobs}.get(name)
        return _Watched(port, watched, self) if watched else port


Watch = Callable[[str, tuple[Any, ...], Any], dict[str, int]]
"""(method, arguments, answer) to what was asked of Firestore."""


class _Watched:
    def __init__(self, port: Any, watch: Watch, tally: Tally) -> None:
        self._port, self._watch, self._tally = port, watch, tally

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)

        def call(*given: Any, **more: Any) -> Any:
            answer = method(*given, **more)
            self._tally.add(**self._watch(name, given, answer))
            return answer

        return call


def _size(fields: object) -> int:
    return len(json.dumps(fields, default=str))


def _store(method: str, given: tuple[Any, ...], answer: Any) -> dict[str, int]:
    """As `shared.gcp.firestore.FirestoreStore` does it."""
    match method:
        case "claim":
            return {"writes": 1, "reads": int(answer.state != "won"), "stored": 200}
        case "renew" | "release":
            return {"reads": 1, "writes": 1}
        case "finish":
            _, writes, outbox, _ = given
            held = sum(_size(dict(one.fields)) for one in writes if hasattr(one, "fields"))
            return {"reads": 1, "writes": 1 + len(writes) + len(outbox), "stored": held}
        case "sent":
            return {"deletes": 1}
        case "get":
            return {"reads": 1}
        case "put":
            held = sum(_size(dict(one.fields)) for one in given[0] if hasattr(one, "fields"))
            return {"writes": len(given[0]), "stored": held}
        case "put_many":
            return {"writes": len(given[1]), "stored": sum(map(_size, given[1].values()))}
        case _:
            return {"reads": max(1, len(answer))}


def _blobs(method: str, given: tuple[Any, ...], answer: Any) -> dict[str, int]:
    """A head, and as many chunks as the compressed bytes need."""
    data = given[0] if method == "put" else answer
    chunks = math.ceil(len(gzip.compress(data, mtime=0)) / _CHUNK)
    if method == "put":
        return {"reads": 1, "writes": 1 + chunks, "stored": len(gzip.compress(data, mtime=0))}
    return {"reads": 1 + chunks}


@dataclass
class _Sized(World):
    """A world whose shards are as large as on the platform, or as the test wants them."""

    shard_bytes: int = Settings.shard_bytes

    def _desks(self) -> list[Desk]:
        self.settings = replace(self.settings, shard_bytes=self.shard_bytes)
        return super()._desks()


def counted(packages: int, folder: Path, shard_bytes: int = Settings.shard_bytes) -> Counter[str]:
    """A whole run of a workload with so many Python packages, from its request to its end."""
    tally = Tally()
    world = _Sized(folder, through=tally.through, shard_bytes=shard_bytes, lease=60)
    made = [
        claims.python(name, "1.0", world.market.wheel(name, "1.0"), requested=True)
        for name in (f"pkg{number}" for number in range(packages))
    ]
    world.environments = (claims.environment(*made),)
    run = world.run(world.request())
    if run.get("state") != "completed":
        raise RuntimeError(f"The run did not complete: {run.get('reason')}")
    sent = Counter(event.type for event in {event.id: event for event in world.bus.published}.values())
    tally.add(
        messages=sum(sent.values()),
        delivered=sum(
            count * sum(topic in heard for heard in SUBSCRIBERS.values()) for topic, count in sent.items()
        ),
        shards=sent["sync-shard-planned"],
    )
    return tally.counts


if __name__ == "__main__":
    for size in map(int, sys.argv[1:] or ("20", "120")):
        with tempfile.TemporaryDirectory(prefix="tally-") as name:
            print(size, dict(counted(size, Path(name))))
