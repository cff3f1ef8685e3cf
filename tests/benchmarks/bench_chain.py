"""Where the seconds of a run go, stage by stage.

    .venv/bin/python -m tests.benchmarks.bench_chain [WORKLOAD] [ROUNDS]

Each round starts from empty repositories (a state directory of its own) with the root image cached, as a first run
does, then runs a second time on what the first one left: there sync has nothing to transfer. Needs the network.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_STAGES = ("platform", "outer", "scanner", "sync", "inner", "attestation")


def _run(workload: str, home: Path) -> dict[str, float]:
    report = home / "report.json"
    command = [_ROOT / "dmz", "run", workload, "--report", report]
    done = subprocess.run(command, env=os.environ | {"DMZ_HOME": str(home)}, capture_output=True, text=True)
    result = json.loads(report.read_text()) if report.exists() else {}
    if done.returncode or result.get("state") != "completed":
        raise SystemExit(f"The run did not complete: {result.get('reason') or done.stdout + done.stderr}")
    # A workload without data services has nothing attested.
    return {
        **{stage: seconds or 0.0 for stage, seconds in result["stages"].items()},
        "all": result["seconds"],
    }


def main(workload: str, rounds: int) -> None:
    first: list[dict[str, float]] = []
    again: list[dict[str, float]] = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(prefix="bench-chain-") as home:
            first.append(_run(workload, Path(home)))
            again.append(_run(workload, Path(home)))
    print(f"{workload}, median of {rounds}, {os.cpu_count()} CPUs, seconds")
    print(f"{'':12}{'first':>8}{'again':>8}")
    for stage in (*_STAGES, "all"):
        medians = [statistics.median(run[stage] for run in runs) for runs in (first, again)]
        print(f"{stage:12}{medians[0]:8.1f}{medians[1]:8.1f}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "quickstart", int(sys.argv[2]) if len(sys.argv) > 2 else 3)
