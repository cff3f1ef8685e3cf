"""300 packages held against a whole zip of OSV's, beside pip-audit.

    python -m tests.benchmarks.bench_matching DIRECTORY [ROUNDS]

DIRECTORY holds PyPI/all.zip as OSV publishes it. The 300 are packages that advisories name, at a version from the
middle of those that they list: nearly every one has findings, which is the most work. In processes of their own:

- *index*: made once from the zip;
- *matched*: from the file of the index to the findings, as the first event of a new instance sees it, imports aside;
- *cold*: `./dmz match` as a whole, from the start of its process to the last line;
- *function*: the scanner as Cloud Run starts it, from the start of its process over every import to those findings;
- pip-audit as a whole, asking a stand-in for OSV's API on loopback that has every answer ready (its cache is empty).

Seconds are of the processor (user and system) of the process that is measured: each works alone and waits for nobody,
so on an idle machine the clock shows the same, and beside other work the clock would measure that.
Exits 1 if the best round passes a limit: matched 0.1 s, index 1 s, 60 MiB of memory, or cold behind pip-audit.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

COUNT = 300
PEER = "pip-audit==2.10.1"
MATCHED, INDEXED, MEMORY = 0.1, 1.0, 60.0

_CHILD = """
import json, sys, time
what = sys.argv[2]
if what == "function":
    import functions.scanner.main
from pathlib import Path
from shared.advisories.archive import prepare
from shared.advisories.zips import ZipAdvisories
from shared.model.package import Package, Release
release = Release(id="debian", version_id="13", codename="trixie", architecture="amd64")
directory = Path(sys.argv[1])
packages = [Package(ecosystem="pypi", name=n, version=v) for n, v in json.loads(sys.argv[3])]
started = 0 if what == "function" else time.process_time()
found = prepare(directory / "PyPI" / "all.zip", "PyPI") if what == "index" else (
    ZipAdvisories(directory, ["PyPI"]).known(packages, release).findings)
seconds = time.process_time() - started
# ru_maxrss would be that of the process that this one was forked from, if that is larger.
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM:"))
print(json.dumps([seconds, int(peak.split()[1]) / 1024, len(found or ())]))
"""


@dataclass
class Round:
    """Seconds; MiB."""

    index: float
    matched: float
    memory: float
    cold: float
    function: float
    peer: float


def subjects(path: Path) -> tuple[list[tuple[str, str]], dict[str, list[dict[str, Any]]]]:
    """(name, version) of the packages, and every record about each name."""
    records: dict[str, list[dict[str, Any]]] = {}
    versions: dict[str, str] = {}
    with zipfile.ZipFile(path) as archive:
        for member in sorted(archive.namelist()):
            record = json.loads(archive.read(member))
            for entry in record.get("affected") or ():
                package = entry.get("package") or {}
                if package.get("ecosystem") != "PyPI":
                    continue
                name = canonicalize_name(package["name"])
                records.setdefault(name, []).append(record)
                listed = entry.get("versions") or []
                if listed and not record["id"].startswith("MAL-"):
                    versions.setdefault(name, listed[len(listed) // 2])
    names = sorted(versions)[:: max(1, len(versions) // COUNT)][:COUNT]
    return [(name, versions[name]) for name in names], records


@contextmanager
def osv(records: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    """The address of a stand-in for `POST /v1/query`; the answers are made before anybody asks."""
    answers = {name: json.dumps({"vulns": found}).encode() for name, found in records.items()}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            body = answers.get(asked["package"]["name"], b"{}")
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
    finally:
        server.shutdown()
        server.server_close()


def child(directory: Path, what: str, packages: list[tuple[str, str]]) -> list[float]:
    argv = [sys.executable, "-c", _CHILD, str(directory), what, json.dumps(packages)]
    done = subprocess.run(argv, capture_output=True, check=True)
    return list(json.loads(done.stdout))


def timed(argv: list[str], given: bytes, environment: dict[str, str]) -> float:
    """Seconds of the processor; pip-audit exits with 1 when it finds something."""
    before = os.times()
    done = subprocess.run(argv, input=given, capture_output=True, check=False, env=os.environ | environment)
    after = os.times()
    seconds = after.children_user - before.children_user + after.children_system - before.children_system
    if done.returncode not in (0, 1) or not done.stdout:
        raise SystemExit(f"{argv[0]} failed: {done.stderr.decode()[-500:]}")
    return seconds


def measured(directory: Path, packages: list[tuple[str, str]], url: str, folder: Path) -> Round:
    index = child(directory, "index", packages)[0]
    matched, memory, found = child(directory, "match", packages)
    if found < len(packages) / 2:
        raise SystemExit(
            f"Of {len(packages)} packages only {found:.0f} have findings: not the work that is meant."
        )
    lines = [
        json.dumps({"id": n, "ecosystem": "PyPI", "name": name, "version": version})
        for n, (name, version) in enumerate(packages)
    ]
    given = "\n".join(lines).encode()
    cache = {"XDG_CACHE_HOME": str(folder / "cache")}
    cold = timed([sys.executable, "-m", "functions.ctl", "match", "--osv", str(directory)], given, cache)
    pinned = folder / "requirements.txt"
    pinned.write_text("\n".join(f"{name}=={version}" for name, version in packages))
    audit = [str(folder / "peer" / "bin" / "pip-audit"), "-r", str(pinned), "--no-deps", "--disable-pip"]
    shutil.rmtree(folder / "audit-cache", ignore_errors=True)
    service = ["-s", "osv", "--osv-url", url, "--cache-dir", str(folder / "audit-cache"), "-f", "json"]
    peer = timed([*audit, "--progress-spinner", "off", *service], b"", {})
    return Round(index, matched, memory, cold, child(directory, "function", packages)[0], peer)


def ended(rounds: list[Round]) -> int:
    """Says the best of each; the exit code."""
    index, matched = min(one.index for one in rounds), min(one.matched for one in rounds)
    memory, cold = max(one.memory for one in rounds), min(one.cold for one in rounds)
    peer, function = min(one.peer for one in rounds), min(one.function for one in rounds)
    print(
        f"index {index:.3f} s (limit {INDEXED:.0f}), matched {matched:.3f} s (limit {MATCHED}), {memory:.0f} MiB "
        f"(limit {MEMORY:.0f}), cold {cold:.2f} s, function {function:.2f} s, pip-audit {peer:.2f} s "
        f"({peer / cold:.1f} times ours)"
    )
    return int(index >= INDEXED or matched >= MATCHED or memory >= MEMORY or cold >= peer)


def main(directory: Path, count: int) -> int:
    packages, records = subjects(directory / "PyPI" / "all.zip")
    print(f"{len(packages)} packages, {(directory / 'PyPI' / 'all.zip').stat().st_size / 1e6:.1f} MB")
    with tempfile.TemporaryDirectory() as name, osv(records) as url:
        folder, copy = Path(name), Path(name) / "osv"
        (copy / "PyPI").mkdir(parents=True)
        shutil.copy(directory / "PyPI" / "all.zip", copy / "PyPI" / "all.zip")
        subprocess.run([sys.executable, "-m", "venv", str(folder / "peer")], check=True)
        pip = [
            str(folder / "peer" / "bin" / "pip"),
            "install",
            "--quiet",
            "--disable-pip-version-check",
            PEER,
        ]
        subprocess.run(pip, check=True)
        rounds = []
        for number in range(1, count + 1):
            rounds.append(one := measured(copy, packages, url, folder))
            print(f"round {number}: {one}", flush=True)
        return ended(rounds)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 3))
