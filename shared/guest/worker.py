"""Which host of its slice this is: every host of a multi-host TPU boots with the same metadata but for two attributes.

`agent-worker-number` is its number, from 0; `worker-network-endpoints` lists all of them, `id:port:address` each,
joined by commas (both as JAX reads them:
https://github.com/jax-ml/jax/blob/main/jax/_src/clusters/cloud_tpu_cluster.py). What a VM says of itself here decides
what it does; how many must report, its stage knows by itself.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from dataclasses import dataclass, replace

from shared.guest.config import Config
from shared.guest.failure import GuestError
from shared.guest.metadata import Metadata

NUMBER, ENDPOINTS = "agent-worker-number", "worker-network-endpoints"
_DIGITS = re.compile(r"[0-9]{1,5}", re.ASCII)
_PATIENCE = 120.0
"""Seconds for an attribute that TPU's own agent writes while the host boots."""


@dataclass(frozen=True)
class Worker:
    number: int = 0
    count: int = 1

    @property
    def is_alone(self) -> bool:
        return self.count == 1


ALONE = Worker()


def read(metadata: Metadata, expected: int) -> Worker:
    """Number and count, from the metadata server; GuestError if they make no sense.

    A host without these attributes is alone, unless its stage expects several.
    """
    end = time.monotonic() + (_PATIENCE if expected > 1 else 0.0)
    while True:
        number, endpoints = metadata.optional(NUMBER), metadata.optional(ENDPOINTS)
        if (number is not None and endpoints) or time.monotonic() > end:
            return _worker(number, endpoints, expected)
        time.sleep(2)


def placed(config: Config, worker: Worker) -> Config:
    """`config` as this host follows it: its scripts see where they run, its report has an id of its own."""
    environment = {
        **config.workload.environment,
        "DMZ_WORKER": str(worker.number),
        "DMZ_WORKERS": str(worker.count),
    }
    workload = replace(config.workload, environment=environment)
    event_id = _event_id(config, worker) if worker.number else config.event_id
    return replace(config, workload=workload, event_id=event_id)


def _worker(number: str | None, endpoints: str | None, expected: int) -> Worker:
    if expected > 1 and (number is None or not endpoints):
        raise GuestError(
            f"The metadata of this host have no {NUMBER if number is None else ENDPOINTS}, and its slice has "
            f"{expected} hosts: it cannot tell which of them it is."
        )
    given, count = number if number is not None else "0", len(endpoints.split(",")) if endpoints else 1
    if not _DIGITS.fullmatch(given) or int(given) >= count:
        raise GuestError(f"The metadata of this host call it number {given[:20]!r} of {count}.")
    return Worker(int(given), count)


def _event_id(config: Config, worker: Worker) -> str:
    """The id by which the system knows this host's report: content-derived, like every event's."""
    subject = f"{hashlib.sha256(config.report_token.encode()).hexdigest()} {worker.number}"
    content = [config.run_id, config.topic, subject, config.attributes.get("replay-id", "")]
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
