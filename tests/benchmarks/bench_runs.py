"""So many runs requested at once on the local platform: all end, none twice, nothing lost.

    .venv/bin/python -m tests.benchmarks.bench_runs [RUNS]

Google's Pub/Sub and Firestore emulators, the stages under functions-framework, the Artifact Registry and TPU emulators,
real VMs in their namespaces; the packages are made here and come over loopback, so no network is needed. Every run
installs two packages that all share, one that every fifth shares, and one of its own. Says seconds, runs per minute,
events, duplicates, retries and the peak memory of the stages. Exits 1, with a sentence for each, if anything does not
add up (tests/chain/reconcile.py).
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from shared.errors import DmzError
from shared.events import SUBSCRIBERS
from shared.ports.store import Document
from tests.chain import reconcile
from tests.chain import world as goods
from tests.chain.goods import module
from tests.chain.reconcile import Heard
from tests.chain.system import System
from tests.chain.world import World
from tests.upstream.conftest import make_signer, stop_agent

RUNS = 20
_GROUPS = 5
_TOLD = {"duplicate": "duplicates", "retried": "retries", "failed": "given up"}
_PATIENCE = 120.0
"""Seconds for each run: the VMs of all of them share this machine's processors."""


def requested(system: System, world: World, runs: int) -> list[str]:
    """The ids of the runs."""
    names = [f"group{group}" for group in range(_GROUPS)] + [f"single{number}" for number in range(runs)]
    for name in names:
        world.shelf.add(name, module(name, "1.0", ""))
    return [
        system.request(
            f"run{number}",
            install=goods.INSTALL.replace(" depot", f" depot group{number % _GROUPS} single{number}"),
            install_minutes=60,
        )
        for number in range(runs)
    ]


def peaks(system: System) -> dict[str, int]:
    """Stage to the peak of its greatest process, MiB: one of its group serves, and shares pages with its leader."""
    found: dict[str, int] = {}
    for stage in SUBSCRIBERS:
        leader = system.pid(stage)
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and os.getpgid(int(entry.name)) == leader:
                    status = (entry / "status").read_text()
                    if peak := re.search(r"VmHWM:\s+([0-9]+) kB", status):
                        found[stage] = max(found.get(stage, 0), int(peak[1]) >> 10)
            except OSError:
                continue  # it has ended meanwhile
    return found


def said(runs: Mapping[str, Document], seconds: float, counted: reconcile.Counted, heard: Heard) -> str:
    """The figures."""
    states = Counter(str(run.get("state")) for run in runs.values())
    how = ", ".join(f"{number} {state}" for state, number in sorted(states.items()))
    messages = sum(map(len, heard.messages.values()))
    outcomes, twice = counted.outcomes, heard.twice()
    again = ", ".join(f"{number} {topic}" for topic, number in sorted(twice.items())) or "none"
    rest = (f"{outcomes.get(how, 0)} {word}" for how, word in _TOLD.items())
    return (
        f"{len(runs)} runs at once: {how}; {seconds:.0f} s, {60 * len(runs) / seconds:.1f} runs a minute\n"
        f"{messages} messages ({again} of them once more), {counted.events} events handled, {', '.join(rest)}"
    )


def ended(troubles: Sequence[str]) -> int:
    """Says what does not hold; the exit code."""
    for trouble in troubles:
        print(f"WRONG: {trouble}")
    if not troubles:
        print("all ended, none twice, nothing lost")
    return int(bool(troubles))


def main(runs: int) -> int:
    """The exit code."""
    print(f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}", flush=True)
    with tempfile.TemporaryDirectory(prefix="bench-runs-") as name:
        folder = Path(name)
        signer = make_signer(folder / "archive")
        (folder / "world").mkdir()
        world = World(folder / "world", signer)
        try:
            # Leases and patience as they are in production: the tests' short ones would make retries of a busy machine.
            longer = {"DMZ_LEASE_SECONDS": "20", "DMZ_REPORT_GRACE_SECONDS": "3600"}
            system = System.start(folder / "state", world, **longer)
            try:
                return _measured(system, world, runs)
            finally:
                system.stop()
        finally:
            world.close()
            stop_agent(signer)


def _measured(system: System, world: World, runs: int) -> int:
    heard, before = Heard.begin(system), system.stored()
    begun = time.time()
    ids = requested(system, world, runs)
    documents = reconcile.ended(system, ids, _PATIENCE * runs)
    last = max((float(run.get("ended") or time.time()) for run in documents.values()), default=begun)
    troubles = reconcile.troubles(system, documents, heard, before)
    print(said(documents, last - begun, reconcile.counted(system), heard))
    print("peak memory: " + ", ".join(f"{stage} {mib} MiB" for stage, mib in peaks(system).items()))
    return ended(troubles)


if __name__ == "__main__":
    try:
        sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else RUNS))
    except DmzError as error:
        sys.exit(str(error))
